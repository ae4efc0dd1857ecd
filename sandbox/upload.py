"""Reading a developer project from its folder, as an upload to HubSpot does.

Layout and variables: https://developers.hubspot.com/docs/developer-tooling/platform/versioning and the templates in
https://github.com/HubSpot/hubspot-project-components.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sandbox.project import (
    Card,
    Choice,
    Dependency,
    ExecutionRule,
    InputField,
    OutputField,
    Project,
    Webhooks,
    WorkflowAction,
)

JSON = dict[str, Any]
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


class ProjectError(Exception):
    """The folder is not a developer project that HubSpot would accept; the message says what to mend."""


def load(folder: Path, profile: str, overrides: Mapping[str, str]) -> Project:
    """Read a project folder with the variables of one profile, single variables overridden.

    Without the profile's file only the overrides count. Raises ProjectError.
    """
    root = folder / str(_read(folder / "hsproject.json").get("srcDir", "src"))
    profile_file = root / f"hsprofile.{profile}.json"
    variables = dict(_read(profile_file).get("variables", {})) if profile_file.exists() else {}
    variables.update(overrides)

    def components(where: str) -> list[JSON]:
        return [_component(path, variables) for path in sorted((root / where).glob("*-hsmeta.json"))]

    apps = components("app")
    if len(apps) != 1:
        raise ProjectError(f"{root / 'app'} must hold exactly one app-hsmeta.json, found {len(apps)}")
    try:
        config = apps[0]["config"]
        auth = config["auth"]
        actions = [_action(component) for component in components("app/workflow-actions")]
        webhooks = [_webhooks(component["config"]) for component in components("app/webhooks")]
        project = Project(
            name=config["name"],
            description=config.get("description", ""),
            redirect_urls=tuple(auth["redirectUrls"]),
            required_scopes=tuple(auth["requiredScopes"]),
            conditional_scopes=tuple(auth.get("conditionallyRequiredScopes", [])),
            optional_scopes=tuple(auth.get("optionalScopes", [])),
            fetch_urls=tuple(config.get("permittedUrls", {}).get("fetch", [])),
            distribution=config.get("distribution", "private"),
            actions={action.uid: action for action in actions},
            webhooks=webhooks[0] if webhooks else None,
            cards=tuple(
                Card(
                    component["uid"],
                    component["config"]["name"],
                    component["config"]["location"],
                    component["config"]["entrypoint"],
                )
                for component in components("app/cards")
            ),
            variables=variables,
        )
    except KeyError as missing:
        raise ProjectError(f"A component below {root / 'app'} lacks the key {missing}") from None
    if len(actions) != len(project.actions):
        raise ProjectError(f"Two workflow actions below {root / 'app'} have the same uid")
    if not project.redirect_urls:
        raise ProjectError("The app needs at least one entry in config.auth.redirectUrls")
    return project


def _read(path: Path) -> JSON:
    try:
        content = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ProjectError(f"Cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise ProjectError(f"{path} is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise ProjectError(f"{path} must hold a JSON object")
    return content


def _component(path: Path, variables: Mapping[str, Any]) -> JSON:
    def resolve(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: resolve(item) for key, item in value.items()}
        if isinstance(value, list):
            return [resolve(item) for item in value]
        if not isinstance(value, str):
            return value
        # A string that is one variable and nothing else takes over the variable's type.
        if whole := _VARIABLE.fullmatch(value):
            return lookup(whole)
        return _VARIABLE.sub(lambda match: str(lookup(match)), value)

    def lookup(match: re.Match[str]) -> Any:
        try:
            return variables[match[1]]
        except KeyError:
            raise ProjectError(f"{path} uses ${{{match[1]}}}, which neither the profile nor --set defines") from None

    component = _read(path)
    if not isinstance(component.get("uid"), str):
        raise ProjectError(f"{path} needs a uid")
    return {**component, "uid": resolve(component["uid"]), "config": resolve(component.get("config", {}))}


def _action(component: JSON) -> WorkflowAction:
    config = component["config"]
    labels = config["labels"]["en"]
    option_labels = labels.get("inputFieldOptionLabels", {})

    def choices(definition: JSON) -> tuple[Choice, ...]:
        words = option_labels.get(definition["name"], {})
        options = sorted(definition.get("options", []), key=lambda option: option.get("displayOrder", 0))
        return tuple(
            Choice(option["value"], words.get(option["value"], option.get("label", option["value"])))
            for option in options
        )

    inputs = tuple(
        InputField(
            name=field["typeDefinition"]["name"],
            type=field["typeDefinition"]["type"],
            label=labels.get("inputFieldLabels", {}).get(field["typeDefinition"]["name"], ""),
            description=labels.get("inputFieldDescriptions", {}).get(field["typeDefinition"]["name"], ""),
            required=field["isRequired"],
            from_property="OBJECT_PROPERTY" in field["supportedValueTypes"],
            choices=choices(field["typeDefinition"]),
            options_url=field["typeDefinition"].get("optionsUrl", ""),
        )
        for field in config["inputFields"]
    )
    outputs = [
        OutputField(
            name=field["typeDefinition"]["name"],
            type=field["typeDefinition"]["type"],
            label=labels.get("outputFieldLabels", {}).get(field["typeDefinition"]["name"], ""),
            choices=choices(field["typeDefinition"]),
        )
        for field in config.get("outputFields", [])
    ]
    return WorkflowAction(
        uid=component["uid"],
        name=labels["actionName"],
        description=labels.get("actionDescription", ""),
        card_content=labels.get("actionCardContent", ""),
        url=config["actionUrl"],
        object_properties=tuple(config.get("objectRequestOptions", {}).get("properties", [])),
        inputs=inputs,
        outputs={output.name: output for output in outputs},
        dependencies=tuple(
            Dependency(
                item["controllingFieldName"],
                item.get("controllingFieldValue"),
                tuple(item["dependentFieldNames"]),
            )
            for item in config.get("inputFieldDependencies", [])
        ),
        rules=tuple(_rule(rule, labels.get("executionRules", {})) for rule in config.get("executionRules", [])),
    )


def _rule(rule: JSON, messages: Mapping[str, str]) -> ExecutionRule:
    conditions = {
        name: tuple(expected) if isinstance(expected, list) else (expected,)
        for name, expected in rule["conditions"].items()
    }
    return ExecutionRule(conditions, messages[rule["labelName"]])


def _webhooks(config: JSON) -> Webhooks:
    groups = config.get("subscriptions", {}).values()
    active = {item["subscriptionType"] for group in groups for item in group if item.get("active", True)}
    return Webhooks(config["settings"]["targetUrl"], frozenset(active))
