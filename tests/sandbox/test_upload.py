"""Reading a developer project."""

import json
from pathlib import Path

import pytest

from sandbox.upload import ProjectError, load
from tests.sandbox.app import write_project


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_project(tmp_path)


def test_it_resolves_variables_and_overrides(folder: Path) -> None:
    project = load(folder, "test", {"BASE": "https://badges.example"})
    assert project.name == "Badges"
    assert project.redirect_urls == ("https://badges.example/oauth/callback",)
    assert project.app_origin == "https://badges.example"
    assert [action.url for action in project.actions.values()] == [
        "https://badges.example/actions/issue",
        "https://badges.example/actions/check",
    ]
    assert project.webhooks is not None
    assert project.webhooks.subscriptions == {"object.deletion", "contact.privacyDeletion"}
    assert [card.name for card in project.cards] == ["Badge"]


def test_labels_come_from_the_english_ones(folder: Path) -> None:
    action = load(folder, "test", {}).actions["issue_badge"]
    assert [item.label for item in action.inputs] == [
        "Address", "Preferred Language Property", "Custom", "Colour", "Shelf",
    ]  # fmt: skip
    assert [choice.label for choice in action.inputs[2].choices] == ["No", "Yes, please"]
    assert [output.name for output in action.outputs.values() if not output.label] == ["unlabelled"]
    assert [output.name for output in action.branch_outputs] == ["result"]


def test_a_missing_profile_leaves_only_the_overrides(folder: Path) -> None:
    with pytest.raises(ProjectError, match=r"\$\{NAME\}, which neither the profile nor --set defines"):
        load(folder, "nobody", {"BASE": "http://x"})
    overrides = {"BASE": "http://x", "NAME": "N", "MAX": "6", "PUBLISHED": "true"}
    assert load(folder, "nobody", overrides).name == "N"


def _break(folder: Path, name: str, content: str) -> None:
    (folder / name).write_text(content)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("hsproject.json", "{", "is not JSON"),
        ("hsproject.json", "[]", "must hold a JSON object"),
        ("src/app/app-hsmeta.json", '{"uid": "a", "config": {"name": "a"}}', "lacks the key 'auth'"),
        ("src/app/app-hsmeta.json", "{}", "needs a uid"),
        ("src/app/second-hsmeta.json", '{"uid": "b"}', "exactly one app-hsmeta.json, found 2"),
        ("src/app/workflow-actions/3-hsmeta.json", '{"uid": "x", "config": {}}', "lacks the key 'labels'"),
    ],
)
def test_it_says_what_to_mend(folder: Path, name: str, content: str, message: str) -> None:
    _break(folder, name, content)
    with pytest.raises(ProjectError, match=message):
        load(folder, "test", {})


def test_two_actions_with_one_uid_are_refused(folder: Path) -> None:
    first = folder / "src/app/workflow-actions/1-issue-hsmeta.json"
    _break(folder, "src/app/workflow-actions/3-copy-hsmeta.json", first.read_text())
    with pytest.raises(ProjectError, match="same uid"):
        load(folder, "test", {})


def test_a_variable_that_is_the_whole_string_keeps_its_type(folder: Path) -> None:
    path = folder / "src/app/workflow-actions/1-issue-hsmeta.json"
    component = json.loads(path.read_text())
    component["config"]["inputFields"][0]["isRequired"] = "${PUBLISHED}"
    path.write_text(json.dumps(component))
    assert load(folder, "test", {}).actions["issue_badge"].inputs[0].required is True


def test_a_folder_that_is_no_project_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match=r"Cannot read .*hsproject\.json"):
        load(tmp_path, "test", {})
