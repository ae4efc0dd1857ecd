"""The actions as HubSpot's workflow editor knows them, held against the code that answers."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.urls import resolve

from hubspot_integration.models import Portal
from otp import codes
from otp.hubspot.verify_otp_action import NOT_CHECKED
from otp.models import VerificationReason, VerificationResult
from otp.words import NoCheck
from otp.workflow_outputs import DeliverySummary, Failure, delivery_status
from tests import generating as generate
from tests.otp import test_verify_otp_action as verify

FOLDER = Path(__file__).parents[2] / "hubspot_integration" / "project" / "src" / "app" / "workflow-actions"
DEFINITIONS = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*-hsmeta.json"))}
EXECUTIONS = {"/hubspot/actions/generate-otp": generate, "/hubspot/actions/verify-otp": verify}

# What the code says the options are, by the field's name.
TRUTH = {"true", "false"}
OPTIONS: dict[str, set[str]] = {
    "override_settings": TRUTH,
    "code_length": set(map(str, codes.LENGTHS)),
    "expires_in_minutes": set(map(str, codes.EXPIRY_MINUTES)),
    "code_type": {kind.value for kind in codes.CodeType},
    "otp_status": {"success", "failed"},
    "otp_error": {error.value for error in Failure},
    "otp_property_status": {"written", "failed", "pending", "off"},
    "otp_email_status": {"sent", "failed", "bounced", "pending", "off"},
    "delete_after_success": TRUTH,
    "otp_delivery_status": {status.value for status in DeliverySummary},
    "otp_result": {result.value for result in VerificationResult} | {NOT_CHECKED},
    "otp_reason": {reason.value for reason in VerificationReason} | {reason.value for reason in NoCheck},
}
SECRETS = {"otp_code", "submitted_code"}

each_definition = pytest.mark.parametrize("definition", DEFINITIONS.values(), ids=DEFINITIONS)


def fields(definition: dict[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    """Return the type definitions of an action's inputs or outputs by name."""
    return {field["typeDefinition"]["name"]: field["typeDefinition"] for field in definition["config"][kind]}


def path(definition: dict[str, Any]) -> str:
    """Return where HubSpot calls."""
    url: str = definition["config"]["actionUrl"]
    assert url.startswith("${API_BASE}/")
    return url.removeprefix("${API_BASE}")


def test_there_is_one_definition_for_each_action() -> None:
    assert {path(definition) for definition in DEFINITIONS.values()} == set(EXECUTIONS)


@each_definition
def test_it_is_called_where_it_answers(definition: dict[str, Any]) -> None:
    assert resolve(path(definition)).url_name == definition["uid"].removeprefix("opsagent_") + "_action"


@each_definition
def test_it_declares_exactly_the_outputs_it_gives(definition: dict[str, Any], portal: Portal) -> None:
    caller = EXECUTIONS[path(definition)]
    for changes in ({}, {"origin": {"portalId": 999}}):
        answer = caller.outputs(caller.execution(portal, **changes))
        assert set(answer) - {"hs_execution_state"} == set(fields(definition, "outputFields"))


@each_definition
def test_it_reads_exactly_the_inputs_it_declares(definition: dict[str, Any], portal: Portal) -> None:
    caller = EXECUTIONS[path(definition)]
    for name in fields(definition, "inputFields"):
        inputs = {"override_settings": "true"} if name != "override_settings" else {}
        answer = caller.outputs(caller.execution(portal, inputs={**inputs, name: {}}))
        assert "invalid_input" in answer.values(), name


@each_definition
def test_it_calls_its_inputs_by_their_labels(
    definition: dict[str, Any], portal: Portal, logged: Callable[[], str]
) -> None:
    caller = EXECUTIONS[path(definition)]
    for name, label in definition["config"]["labels"]["en"]["inputFieldLabels"].items():
        logged()
        answer = caller.outputs(caller.execution(portal, inputs={"override_settings": "true", name: {}}))
        # where there is no output for a sentence, it stands in the log
        assert label in answer.get("otp_error_message", logged())


@each_definition
@pytest.mark.parametrize("kind", ["inputFields", "outputFields"])
def test_its_options_are_those_of_the_code(definition: dict[str, Any], kind: str) -> None:
    for name, field in fields(definition, kind).items():
        offered = [option["value"] for option in field.get("options", [])]
        assert set(offered) == OPTIONS.get(name, set()), name
        assert len(offered) == len(set(offered))
        assert (field["type"] == "enumeration") == bool(offered), name
        assert [option["displayOrder"] for option in field.get("options", [])] == list(range(len(offered)))


@each_definition
def test_everything_has_a_label(definition: dict[str, Any]) -> None:
    config, labels = definition["config"], definition["config"]["labels"]["en"]
    inputs, outputs = fields(definition, "inputFields"), fields(definition, "outputFields")
    for key in ("inputFieldLabels", "inputFieldDescriptions"):
        assert set(labels[key]) == set(inputs)
        assert all(labels[key].values())
    assert set(labels["outputFieldLabels"]) == set(outputs)
    assert all(labels["outputFieldLabels"].values())
    words = labels["inputFieldOptionLabels"]
    assert {name: set(options) for name, options in words.items()} == {
        name: {option["value"] for option in field["options"]} for name, field in inputs.items() if field["options"]
    }
    rules = [rule["labelName"] for rule in config["executionRules"]]
    assert len(rules) == len(set(rules))
    assert set(labels["executionRules"]) == set(rules)
    assert all(labels["executionRules"].values())
    for key in ("actionName", "actionDescription", "actionCardContent", "appDisplayName"):
        assert labels[key]


@each_definition
def test_its_rules_name_outputs_and_values_that_exist(definition: dict[str, Any]) -> None:
    outputs = fields(definition, "outputFields")
    for rule in definition["config"]["executionRules"]:
        for name, values in rule["conditions"].items():
            assert set(values) <= {option["value"] for option in outputs[name]["options"]}, rule


@each_definition
def test_every_outcome_has_a_line_without_a_code(definition: dict[str, Any]) -> None:
    config = definition["config"]
    outcomes = "otp_reason" if "otp_reason" in fields(definition, "outputFields") else "otp_error"
    told = {value for rule in config["executionRules"] for value in rule["conditions"].get(outcomes, [])}
    catch_all = any(rule["conditions"] == {"otp_status": ["failed"]} for rule in config["executionRules"])
    assert told == OPTIONS[outcomes] or catch_all
    for line in config["labels"]["en"]["executionRules"].values():
        placeholders = {part.partition("}}")[0].strip() for part in line.split("{{")[1:]}
        assert placeholders <= set(fields(definition, "outputFields")) - SECRETS


@pytest.mark.parametrize("stored", ["written", "failed", "pending", "off"])
@pytest.mark.parametrize("emailed", ["sent", "failed", "bounced", "pending", "off"])
def test_the_history_says_what_became_of_the_deliveries(stored: str, emailed: str) -> None:
    outputs = {
        "otp_status": "success",
        "otp_error": "",
        "otp_property_status": stored,
        "otp_email_status": emailed,
        "otp_delivery_status": delivery_status(stored, emailed),
    }
    rules = DEFINITIONS["generate-otp-hsmeta"]["config"]["executionRules"]
    told = next(  # the first rule that matches, as HubSpot chooses it
        rule["labelName"]
        for rule in rules
        if all(outputs.get(name) in values for name, values in rule["conditions"].items())
    )
    assert told == {
        ("off", "off"): "no_delivery_on",
        ("written", "sent"): "delivered",
        ("written", "off"): "delivered",
        ("off", "sent"): "delivered",
        ("written", "failed"): "stored_but_not_emailed",
        ("written", "bounced"): "stored_but_not_emailed",
        ("failed", "sent"): "emailed_but_not_stored",
        ("off", "failed"): "not_emailed",
        ("off", "bounced"): "not_emailed",
        ("failed", "off"): "not_stored",
        ("failed", "failed"): "neither_stored_nor_emailed",
        ("failed", "bounced"): "neither_stored_nor_emailed",
    }.get((stored, emailed), "pending")


@each_definition
def test_it_is_for_contacts_in_workflows(definition: dict[str, Any]) -> None:
    config = definition["config"]
    assert (config["objectTypes"], config["supportedClients"]) == (["CONTACT"], [{"client": "WORKFLOWS"}])
