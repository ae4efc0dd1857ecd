"""The pages for people: they show what is there, work without scripts, and escape what they show."""

import re
import smtplib
from email.message import EmailMessage
from html.parser import HTMLParser

import pytest

from sandbox.local.waiting import eventually
from tests.sandbox.app import App, Reply, outputs
from tests.sandbox.client import Sandbox

EVIL = "<script>alert('x')</script>"


class Outline(HTMLParser):
    """What has to fit together in a page: ids, labels, headings, forms."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.labelled: set[str] = set()
        self.controls: list[str] = []
        self.headings = 0
        self.scripts: list[str | None] = []
        self.links: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        if "id" in found:
            self.ids.append(found["id"])
        if tag == "label" and "for" in found:
            self.labelled.add(found["for"])
        if tag in ("select", "textarea") or (tag == "input" and found.get("type") not in ("hidden", "radio")):
            self.controls.append(found.get("id", ""))
        if tag == "script":
            self.scripts.append(found.get("src"))
        if tag == "a" and found.get("href", "").startswith("/"):
            self.links.add(found["href"])
        self.headings += tag == "h1"


@pytest.fixture
def busy(sandbox: Sandbox, app: App) -> Sandbox:
    """A sandbox in which something has happened, with hostile values everywhere a person may put one."""
    token = sandbox.token()
    path = f"/portals/{sandbox.portal}/contacts/{sandbox.contact}"
    sandbox.patch(path, properties={"firstname": EVIL, "city": EVIL, "email": "ada@example.com"})
    sandbox.put(
        f"/workflows/{sandbox.workflow}", name=EVIL, steps=sandbox.get(f"/workflows/{sandbox.workflow}")["steps"]
    )
    app.answer(Reply(status=503), outputs(token=EVIL, result="good", colour=3))
    sandbox.execution(sandbox.enrol(), "SUCCESS")
    body = {"properties": {"otp_code": EVIL}}
    sandbox.api("PATCH", f"/crm/objects/2026-09/contacts/{sandbox.contact}", token, json=body)
    message = EmailMessage()
    message["Subject"], message["To"], message["From"] = EVIL, "ada@example.com", "codes@app.example"
    message.set_content(EVIL)
    message.add_alternative(f"<p>Hello</p>{EVIL}", subtype="html")
    with smtplib.SMTP(sandbox.process.smtp_host, sandbox.process.smtp_port) as smtp:
        smtp.send_message(message)
    sandbox.fault("smtp.rcpt", "refuse", text=EVIL, match=EVIL)
    return sandbox


def _mail(sandbox: Sandbox) -> str:
    return f"/mailbox/{sandbox.get('/mails')['mails'][0]['mailId']}"


def _pages(sandbox: Sandbox) -> list[str]:
    workflow = f"/workflows/{sandbox.portal}/flow/{sandbox.workflow}"
    return [
        "/", f"/contacts/{sandbox.portal}", f"/contacts/{sandbox.portal}?q=ada",
        f"/contacts/{sandbox.portal}/record/0-1/{sandbox.contact}", workflow, f"{workflow}/history",
        f"{workflow}/history?state=SUCCESS", "/bursts/1", "/mailbox", _mail(sandbox), "/calls",
        "/calls?route=contacts", "/faults",
    ]  # fmt: skip


def test_every_page_is_whole(busy: Sandbox) -> None:
    links = set()
    for path in _pages(busy):
        response = busy.web.get(path)
        assert response.status_code == 200, path
        assert EVIL not in response.text, path
        assert "script-src" not in response.headers["Content-Security-Policy"]
        assert response.headers["Content-Security-Policy"].startswith("default-src 'self';")
        page = Outline(response.text)
        assert page.headings == 1, path
        assert len(page.ids) == len(set(page.ids)), path
        assert set(page.controls) <= page.labelled, path
        assert page.scripts == ["/static/live.js"], path
        links |= page.links
    for link in links:
        assert busy.web.get(link).status_code == 200, link


def test_a_contacts_page_tells_its_story(busy: Sandbox) -> None:
    page = busy.web.get(f"/contacts/{busy.portal}/record/0-1/{busy.contact}").text
    for words in ("HTTP 503", "HTTP 200", "Succeeded", "Badge &lt;script&gt;", "Branch:", "result = good"):
        assert words in page
    assert "colour is int, every output must be a string" in page
    assert "INTEGRATION" in page


def test_a_mail_is_shown_in_a_frame_that_can_do_nothing(busy: Sandbox) -> None:
    page = busy.web.get(_mail(busy)).text
    frame = re.search(r"<iframe[^>]*>", page)
    assert frame is not None
    assert 'sandbox=""' in frame[0]
    assert "&lt;p&gt;Hello&lt;/p&gt;" in frame[0]


def test_times_are_utc_with_seconds(busy: Sandbox) -> None:
    page = busy.web.get("/mailbox").text
    assert re.search(r'datetime="\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ">\d{4}-\d\d-\d\d \d\d:\d\d:\d\d<', page)


@pytest.mark.parametrize(
    "path",
    ["/contacts/1", "/contacts/51000001/record/0-1/1", "/workflows/51000001/flow/1", "/bursts/99", "/mailbox/99"],
)
def test_what_is_not_there_has_a_page_too(sandbox: Sandbox, path: str) -> None:
    response = sandbox.web.get(path)
    assert response.status_code == 404
    assert "<h1>Not found</h1>" in response.text


def test_the_portal_page_installs_and_uninstalls(sandbox: Sandbox, app: App) -> None:
    path = f"/contacts/{sandbox.portal}"
    assert f'href="{app.url}/hubspot/install"' in sandbox.web.get(path).text
    sandbox.token()
    page = sandbox.web.get(path).text
    assert "Uninstall" in page
    assert "ines@aurora-outdoor.example" in page
    sandbox.web.post(f"{path}/uninstall")
    assert "Install app" in sandbox.web.get(path).text


def test_contacts_are_created_searched_and_paged(sandbox: Sandbox) -> None:
    path = f"/contacts/{sandbox.portal}"
    made = sandbox.web.post(path, data={"email": "grace@example.com", "firstname": "Grace", "lastname": ""})
    assert made.status_code == 303
    assert "Grace" in sandbox.web.get(made.headers["Location"]).text
    assert "grace@example.com" in sandbox.web.get(f"{path}?q=grace").text
    assert "No contact matches" in sandbox.web.get(f"{path}?q=nobody-at-all").text
    for email, words in (("grace@example.com", "Contact already exists"), ("grace", "is invalid")):
        refused = sandbox.web.post(path, data={"email": email})
        assert refused.status_code == 400
        assert words in refused.text
    sandbox.post(f"/portals/{sandbox.portal}/contacts", count=100)
    assert "Page 3 of 3" in sandbox.web.get(f"{path}?page=99").text
    assert "Page 1 of 3" in sandbox.web.get(f"{path}?page=x").text


def test_a_contact_is_changed_enrolled_and_deleted(sandbox: Sandbox, app: App) -> None:
    path = f"/contacts/{sandbox.portal}/record/0-1/{sandbox.contact}"
    sandbox.web.post(path, data={"property": "submitted_code", "value": "482913"})
    assert sandbox.history(sandbox.contact, "submitted_code") == ["482913"]
    refused = sandbox.web.post(path, data={"property": "loyalty_points", "value": "many"})
    assert refused.status_code == 400
    assert "many was not a valid number" in refused.text
    assert sandbox.web.post(f"{path}/enrol", data={"workflow": str(sandbox.workflow)}).status_code == 303
    eventually(lambda: sandbox.get("/executions", state="SUCCESS")["total"] == 1)
    assert sandbox.web.post(f"{path}/enrol", data={"workflow": "1"}).status_code == 404
    assert sandbox.web.post(f"{path}/delete", data={"kind": "ordinary"}).status_code == 303
    assert sandbox.web.get(path).status_code == 404


def test_the_editor_offers_what_the_action_declares(sandbox: Sandbox, app: App) -> None:
    app.answer(Reply({"options": [{"label": "Top shelf", "value": "top"}]}))
    page = sandbox.web.get(f"/workflows/{sandbox.portal}/flow/{sandbox.workflow}").text
    for words in (
        "Address", "Where to &lt;b&gt;send&lt;/b&gt; it.", "Yes, please", "Top shelf", "Sent only while Custom is Yes, please",
        "Outputs without a label cannot be picked in later steps: unlabelled", '<optgroup label="Contact properties">',
    ):  # fmt: skip
        assert words in page


def test_the_editor_saves_adds_and_removes_steps(sandbox: Sandbox, app: App) -> None:
    path = f"/workflows/{sandbox.portal}/flow/{sandbox.workflow}"
    first = {"name": "Badges", "step1.email": "property:email", "step1.custom": "yes", "step1.colour": "red"}
    sandbox.web.post(path, data={**first, "step1:branch": "", "do": "add:check_badge"})
    second = {"step2.token": "output:1:token", "step2:branch": "verdict"}
    sandbox.web.post(path, data={**first, **second, "do": "save"})
    shown = sandbox.get(f"/workflows/{sandbox.workflow}")
    assert shown["name"] == "Badges"
    assert shown["steps"][0]["inputs"] == {
        "email": {"type": "OBJECT_PROPERTY", "propertyName": "email"},
        "custom": {"type": "STATIC_VALUE", "value": "yes"},
        "colour": {"type": "STATIC_VALUE", "value": "red"},
    }
    assert shown["steps"][0]["branchOn"] == ""
    assert shown["steps"][1]["inputs"] == {"token": {"type": "FIELD_DATA", "actionId": 1, "dataKey": "token"}}
    assert 'value="output:1:token" selected' in sandbox.web.get(path).text
    sandbox.web.post(path, data={**first, "do": "remove"})
    assert len(sandbox.get(f"/workflows/{sandbox.workflow}")["steps"]) == 1


def test_enrolling_leads_to_the_progress(sandbox: Sandbox, app: App) -> None:
    path = f"/workflows/{sandbox.portal}/flow/{sandbox.workflow}/enrol"
    response = sandbox.web.post(path, data={"count": "30", "property": "otp_code"})
    assert response.headers["Location"] == "/bursts/1"
    eventually(lambda: sandbox.get("/bursts/1")["completed"] == 30)
    page = sandbox.web.get("/bursts/1").text
    assert page.count('max="30" value="30"') == 3  # enrolled, answered, completed
    assert page.count('max="30" value="0"') == 2  # written, mailed
    assert 'data-burst="/sandbox/api/bursts/1"' in page
    for count in ("", "0", "x", "1000000"):
        assert sandbox.web.post(path, data={"count": count}).status_code == 400


def test_faults_are_switched_on_and_off(sandbox: Sandbox) -> None:
    form = {
        "route": "contacts", "kind": "status", "portalId": "", "match": "", "times": "2", "status": "502", "body": "",
        "retryAfter": "", "seconds": "3", "code": "451", "text": "",
    }  # fmt: skip
    assert sandbox.web.post("/faults", data=form).status_code == 303
    assert sandbox.web.post("/faults", data={"route": "contacts", "kind": "slow", "seconds": "0.5"}).status_code == 303
    faults = sandbox.get("/faults")["faults"]
    assert [(fault["kind"], fault["times"]) for fault in faults] == [("status", 2), ("slow", None)]
    assert faults[1]["seconds"] == 0.5
    page = sandbox.web.get("/faults").text
    assert "2 faults on" in page
    assert "answers with this status: 502" in page
    refused = sandbox.web.post("/faults", data={**form, "status": "99"})
    assert refused.status_code == 400
    assert "status: must be between 200 and 599" in refused.text
    assert 'value="99"' in refused.text
    sandbox.web.post(f"/faults/{faults[0]['faultId']}/remove")
    assert len(sandbox.get("/faults")["faults"]) == 1
    sandbox.web.post("/faults/clear")
    assert "Everything works as it should" in sandbox.web.get("/faults").text


def test_every_preset_is_a_fault(sandbox: Sandbox) -> None:
    page = sandbox.web.get("/faults").text
    presets = re.findall(r'<form class="card" method="post" action="/faults">(.*?)</form>', page, re.DOTALL)
    for preset in presets:
        fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', preset))
        assert sandbox.web.post("/faults", data=fields).status_code == 303, fields
    assert len(sandbox.get("/faults")["faults"]) == len(presets) == 9


def test_the_mailbox_is_searched_and_emptied(busy: Sandbox) -> None:
    assert "1 message" in busy.web.get("/mailbox?to=ADA").text
    assert "No mail to" in busy.web.get("/mailbox?to=nobody").text
    busy.web.post("/mailbox")
    assert "No mail yet" in busy.web.get("/mailbox").text


def test_static_files_are_served(sandbox: Sandbox) -> None:
    for name in ("sandbox.css", "live.js", "icon.svg"):
        assert sandbox.web.get(f"/static/{name}").status_code == 200
    assert sandbox.web.get("/static/../hubspot.py").status_code == 404
