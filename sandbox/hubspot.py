"""Everything the sandbox knows: one object, held by the server, handed to every request."""

from itertools import count, islice

from sandbox import catalogue
from sandbox.accounts import Contact, Install, Portal
from sandbox.bursts import Burst
from sandbox.calls import CallLog
from sandbox.cards import CardFetcher
from sandbox.choices import ChoiceFetcher
from sandbox.executions import Enrolment
from sandbox.executor import Executor
from sandbox.faults import Faults
from sandbox.mailbox import Mail, Mailbox
from sandbox.options import Options
from sandbox.outgoing import Outgoing
from sandbox.project import Project
from sandbox.times import now
from sandbox.tokens import Authorization, Tokens
from sandbox.webhooks import WebhookSender
from sandbox.workflows import Workflow, default_workflows

FIRST_CONTACTS = 24


class HubSpot:
    """The whole of HubSpot: portals, the app's connections to them, and what runs."""

    def __init__(self, options: Options, project: Project) -> None:
        self.options = options
        self.project = project
        self.outgoing = Outgoing(options)
        self.faults = Faults()
        self.mailbox = Mailbox(self._note_mail)
        self.log = CallLog()
        self._open()

    def _open(self) -> None:
        self.portals: dict[int, Portal] = {portal.id: portal for portal in catalogue.portals()}
        self.workflows: dict[int, Workflow] = {}
        self.bursts: dict[int, Burst] = {}
        self._burst_ids = count(1)
        self._burst_of_contact: dict[tuple[int, int], Burst] = {}
        self._burst_of_address: dict[str, Burst] = {}
        self.tokens = Tokens()
        self.executor = Executor(self.portals, self.project, self.options, self.outgoing)
        self.webhooks = WebhookSender(self.project, self.options, self.outgoing)
        self.cards = CardFetcher(self.project, self.options, self.outgoing)
        self.choices = ChoiceFetcher(self.outgoing)
        for portal in self.portals.values():
            self.workflows.update(default_workflows(portal, self.project))
            self.add_contacts(portal, FIRST_CONTACTS)

    def add_contacts(self, portal: Portal, number: int) -> list[Contact]:
        """Add so many made-up contacts to a portal."""
        start = portal.next_contact_id
        return [
            portal.create(catalogue.person(portal, start + offset), at=now(), source="IMPORT")
            for offset in range(number)
        ]

    def first_contacts(self, portal: Portal, number: int) -> list[Contact]:
        """Return the first so many contacts of a portal, adding what is missing."""
        if number > len(portal.contacts):
            self.add_contacts(portal, number - len(portal.contacts))
        return list(islice(portal.contacts.values(), number))

    def delete_contact(self, portal: Portal, contact: Contact, *, privacy: bool) -> int:
        """Delete a contact, tell the app, and return how many events are on their way to it."""
        portal.delete(contact)
        user_id = next(iter(portal.users))
        return self.webhooks.contact_deleted(portal.id, contact.id, user_id=user_id, privacy=privacy)

    def enrol(
        self, workflow: Workflow, contacts: list[Contact], *, copies: int = 1, written_property: str = ""
    ) -> tuple[Burst, list[Enrolment]]:
        """Enrol contacts in a workflow; the burst counts what becomes of them."""
        portal = self.portals[workflow.portal_id]
        burst = Burst(next(self._burst_ids), portal.id, workflow.id, now(), written_property)
        self.bursts[burst.id] = burst
        for contact in contacts:
            self._burst_of_contact[portal.id, contact.id] = burst
            self._burst_of_address[contact.values.get("email", "")] = burst
        return burst, self.executor.enrol(portal, workflow, contacts, burst, copies=copies)

    def note_write(self, portal: Portal, contact: Contact, values: dict[str, str]) -> None:
        """Count a write by the app towards the burst in which the contact was enrolled last."""
        burst = self._burst_of_contact.get((portal.id, contact.id))
        if burst is not None:
            burst.note_write(contact.id, values, contact.updated_at)

    def _note_mail(self, mail: Mail) -> None:
        for recipient in mail.recipients:
            if burst := self._burst_of_address.get(recipient):
                burst.note_mail(mail.received_at)

    def workflows_of(self, portal: Portal) -> list[Workflow]:
        """Return the workflows of one portal."""
        return [workflow for workflow in self.workflows.values() if workflow.portal_id == portal.id]

    def install(self, authorization: Authorization) -> None:
        """Note that the app is now connected to a portal."""
        portal = self.portals[authorization.portal_id]
        portal.install = Install(authorization.user_id, frozenset(authorization.scopes), now())

    def uninstall(self, portal: Portal) -> None:
        """Remove the app from a portal: all its tokens are void, and no webhook tells the app.

        https://developers.hubspot.com/docs/api-reference/latest/webhooks-journal/guide
        """
        portal.install = None
        self.tokens.uninstall(portal.id)

    async def reset(self, *, keep_installs: bool) -> None:
        """Return to the first state; installs and their tokens survive if asked."""
        await self._stop_work()
        installs = {portal.id: portal.install for portal in self.portals.values()}
        tokens = self.tokens
        self.mailbox.clear()
        self.log.clear()
        self._open()
        if keep_installs:
            self.tokens = tokens
            for portal in self.portals.values():
                portal.install = installs[portal.id]

    async def close(self) -> None:
        """Abandon everything under way and close the connections to the app."""
        await self._stop_work()
        self.outgoing.close()

    async def _stop_work(self) -> None:
        self.faults.clear()
        await self.executor.stop()
        await self.webhooks.stop()

    def authorization(self, portal: Portal, user_id: int, scopes: tuple[str, ...]) -> Authorization:
        """Return what a user of a portal grants; scopes that the subscription lacks are dropped."""
        offered = tuple(scope for scope in scopes if scope not in portal.withheld_scopes)
        return Authorization(portal.id, user_id, offered, portal.hublet)
