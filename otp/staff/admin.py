"""What support staff see at /admin/: everything but codes, digests, tokens and, in lists, whole addresses.

Nothing can be added, changed or deleted here. What staff may do are actions, each with a right of its own and a page
that asks first.
"""

import datetime as dt
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Final

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from hubspot_integration.models import Portal
from opsagent.staff.proof import ask_again
from otp import audit
from otp.audit import Action
from otp.codes import mask_address
from otp.contact.verifying import lift_lock
from otp.models import AuditEvent, AuditLink, ChannelName, ContactGuard, Delivery, OneTimeCode, OTPSettings
from otp.pages import activity
from otp.pages.activity_pages import log_as_csv, trail_as_csv
from otp.staff import support
from otp.staff.support import Search

LIST_LIMIT: Final = 10_000
"""How many rows a list leads to; what lies behind them is found by searching."""
LONGEST_SEARCH: Final = 300
_SHOWN: Final = 50
_SECRETS: Final = ("code", "digest", "address_digest", "first_name")
_SEARCH_HELP: Final = (
    "A portal id, a contact id (contact:123 where a portal has the same number), a whole e-mail address or a reference; "
    "or several of them."
)

if TYPE_CHECKING:
    _Paginator = Paginator[Any]
    _ModelAdmin = admin.ModelAdmin[Any]
else:
    _Paginator = Paginator
    _ModelAdmin = admin.ModelAdmin


class BoundedPaginator(_Paginator):
    """Pages of the first LIST_LIMIT rows: neither counting nor leafing ever reads more."""

    @cached_property
    def count(self) -> int:
        """How many rows there are to leaf through."""
        rows = self.object_list
        assert isinstance(rows, QuerySet)  # noqa: S101 (the admin hands over nothing else)
        return rows.order_by()[:LIST_LIMIT].count()


class ReadOnly(_ModelAdmin):
    """A list and a page for each row; nobody, not even a superuser, changes anything."""

    show_full_result_count = False
    paginator = BoundedPaginator
    list_per_page = 50
    sortable_by = ()
    search_help_text = _SEARCH_HELP

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Never."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never."""
        return False

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Turn a posted search into an address of the list that holds no e-mail address."""
        if "typed" in request.POST:
            query = request.GET.copy()
            query.pop("p", None)
            if len(request.POST["typed"]) > LONGEST_SEARCH:
                message = f"Nothing was searched: that is longer than {LONGEST_SEARCH} characters."
                self.message_user(request, message, messages.ERROR)
                return redirect(request.path)
            query["q"] = Search.sealed(request.POST["typed"])
            return redirect(f"{request.path}?{query.urlencode()}")
        return super().changelist_view(request, extra_context)

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Offer the row's page what the list offers: the actions that this member of staff may take."""
        context["page_actions"] = [action[1:] for action in self.get_actions(request).values() if action]
        context["list_url"] = reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist")
        return super().render_change_form(request, context, *args, **kwargs)


def _confirmed(
    model_admin: _ModelAdmin,
    request: HttpRequest,
    chosen: QuerySet[Any],
    *,
    action: str,
    question: str,
    consequence: str,
    do: Callable[[Any], bool],
    done: str,
    not_done: str,
) -> HttpResponse | None:
    """Ask first; when that was confirmed, do it to each chosen row and say what came of it."""
    if request.POST.get("confirmed") != "yes":
        context = {
            **model_admin.admin_site.each_context(request),
            "title": question,
            "consequence": consequence,
            "chosen": list(chosen[:_SHOWN]),
            "number": chosen.count(),
            "action": action,
            "checkbox": ACTION_CHECKBOX_NAME,
            "selected": request.POST.getlist(ACTION_CHECKBOX_NAME),
            "opts": model_admin.opts,
        }
        return TemplateResponse(request, "admin/confirm_action.html", context)
    results = [do(row) for row in chosen]
    if any(results):
        model_admin.message_user(request, f"{done}: {sum(results)}.", messages.SUCCESS)
    if not all(results):
        model_admin.message_user(request, f"{not_done}: {len(results) - sum(results)}.", messages.WARNING)
    return None


def _staff(request: HttpRequest) -> str:
    return str(request.user.get_username())


def _reference(reference: object, *, of: str = "onetimecode") -> SafeString:
    return format_html('<a href="{}">{}</a>', reverse(f"admin:otp_{of}_change", args=[reference]), reference)


def _contact(guard: ContactGuard | None, contact_id: int) -> SafeString | int:
    if guard is None:
        return contact_id
    return format_html('<a href="{}">{}</a>', reverse("admin:otp_contactguard_change", args=[guard.pk]), contact_id)


@admin.register(Portal)
class PortalAdmin(ReadOnly):
    """HubSpot accounts."""

    list_display = ("id", "hub_domain", "state", "installed_at", "disconnected_at")
    search_fields = ("id__exact", "hub_domain__istartswith")
    search_help_text = "A portal id, or how its domain begins"
    fields = (
        "id", "hub_domain", "ui_domain", "time_zone", "account_type", "state", "installed_at", "disconnected_at",
        "token", "refused", "its_settings",
    )  # fmt: skip
    readonly_fields = fields
    actions = ("disconnect",)
    change_form_template = "admin/otp/with_actions.html"

    def get_urls(self) -> list[URLPattern]:
        """Add the download of a portal's audit log."""
        export = path("<int:pk>/audit.csv", self.admin_site.admin_view(self.export), name="portal_audit_export")
        return [export, *super().get_urls()]

    def export(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        """Download a portal's whole audit log, recorded."""
        portal = Portal.objects.filter(pk=pk).first()
        if portal is None or not request.user.has_perm("otp.view_auditevent"):
            raise Http404
        if request.method != "POST":
            return redirect("admin:hubspot_integration_portal_change", pk)
        now = timezone.now()
        support.record_export_of_all(portal=portal, staff=_staff(request), now=now)
        return log_as_csv(portal.pk, now)

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Offer the download."""
        portal = kwargs.get("obj")
        if portal is not None and request.user.has_perm("otp.view_auditevent"):
            context["export_url"] = reverse("admin:portal_audit_export", args=[portal.pk])
        return super().render_change_form(request, context, *args, **kwargs)

    def has_disconnect_permission(self, request: HttpRequest) -> bool:
        """Whether the member of staff may disconnect portals."""
        return request.user.has_perm("hubspot_integration.disconnect_portal")

    @admin.display(description="connected", boolean=True)
    def state(self, portal: Portal) -> bool:
        """Whether the app is installed there."""
        return portal.is_connected

    @admin.display(description="access token")
    def token(self, portal: Portal) -> str:
        """How the token does; never the token."""
        grant = getattr(portal, "grant", None)
        if grant is None:
            return "none"
        return f"{'valid' if grant.is_fresh(timezone.now()) else 'expired'}; refreshed {grant.refreshed_at:%Y-%m-%d %H:%M} UTC"

    @admin.display(description="HubSpot refuses")
    def refused(self, portal: Portal) -> str:
        """What only the portal's admin can mend."""
        return "; ".join(f"{one.feature}: {one.reason}" for one in portal.refused_features.all()) or "nothing"

    @admin.display(description="settings")
    def its_settings(self, portal: Portal) -> SafeString | str:
        """Lead to the portal's settings."""
        if not OTPSettings.objects.filter(portal=portal).exists():
            return "none yet"
        return format_html('<a href="{}">show</a>', reverse("admin:otp_otpsettings_change", args=[portal.pk]))

    @admin.action(description="Disconnect …", permissions=["disconnect"])
    def disconnect(self, request: HttpRequest, portals: QuerySet[Portal]) -> HttpResponse | None:
        """End the connection to the chosen portals, for whoever has just shown both factors."""
        return ask_again(request, then=request.path) or _confirmed(
            self, request, portals, action="disconnect",
            question="Disconnect?",
            consequence=(
                "Their tokens are wiped and their workflows get no codes until an admin of theirs installs the app again. "
                "Their settings are kept. HubSpot is asked to uninstall the app; where it refuses, their admin removes it there."
            ),
            do=lambda portal: support.disconnect(portal=portal, staff=_staff(request)),
            done="Disconnected", not_done="Not connected anyway",
        )  # fmt: skip


@admin.register(OTPSettings)
class SettingsAdmin(ReadOnly):
    """How portals want their codes."""

    list_display = ("portal_id", "code_type", "code_length", "expiry_minutes", "store_in_property", "send_email")
    search_fields = ("portal__id__exact",)
    search_help_text = "A portal id"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Order by portal."""
        return super().get_queryset(request).order_by("portal_id")


class _Searchable(ReadOnly):
    """A list that is searched as `Search` understands it, through indexes."""

    search_fields = ("pk",)  # shows the box; get_search_results does the work
    ordered_when_searched: ClassVar[tuple[str, ...]] = ()

    def get_ordering(self, request: HttpRequest) -> tuple[str, ...]:
        """Order by what an index has: all rows by their key, those of a portal by their time."""
        return self.ordered_when_searched if request.GET.get("q", "").strip() else ("-pk",)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Find what was typed."""
        return (self.found(Search.parse(search_term), queryset) if search_term.strip() else queryset), False

    def found(self, search: Search, rows: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows that a search means."""
        raise NotImplementedError


@admin.register(OneTimeCode)
class CodeAdmin(_Searchable):
    """Codes, by reference: never the code."""

    list_display = ("id", "portal_id", "contact_id", "recipient", "source", "created_at", "expires_at", "outcome")
    ordered_when_searched = ("-created_at", "-id")
    fields = (
        "id", "portal", "contact", "whole_address", "source", "workflow_id", "language", "code_type", "code_length",
        "expiry_minutes", "created_at", "expires_at", "outcome", "ended_at", "wrong_attempts", "its_deliveries", "its_checks",
        "its_reveals",
    )  # fmt: skip
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Leave in the database what nobody is to see."""
        return super().get_queryset(request).defer(*_SECRETS)

    def found(self, search: Search, rows: QuerySet[Any]) -> QuerySet[Any]:
        """Return the codes that a search means."""
        return search.codes(rows)  # type: ignore[arg-type]

    def change_view(self, request: HttpRequest, object_id: str, *args: Any, **kwargs: Any) -> HttpResponse:
        """Show one code, address included, and record that."""
        response = super().change_view(request, object_id, *args, **kwargs)
        _record_view(request, response, lambda code: code)
        return response

    @admin.display(description="recipient")
    def recipient(self, code: OneTimeCode) -> str:
        """The address, masked."""
        return mask_address(code.address)

    @admin.display(description="recipient")
    def whole_address(self, code: OneTimeCode) -> SafeString:
        """The address."""
        return format_html("{} <span>(that you see it is recorded)</span>", code.recipient)

    @admin.display(description="contact")
    def contact(self, code: OneTimeCode) -> SafeString | int:
        """Lead to the contact."""
        guard = ContactGuard.objects.filter(portal_id=code.portal_id, contact_id=code.contact_id).first()
        return _contact(guard, code.contact_id)

    @admin.display(description="result")
    def outcome(self, code: OneTimeCode) -> str:
        """What became of the code."""
        reason = code.end_reason_at(timezone.now())
        return "live" if reason is None else reason.value

    @admin.display(description="deliveries")
    def its_deliveries(self, code: OneTimeCode) -> SafeString | str:
        """How the code was delivered."""
        lines = [
            (
                reverse("admin:otp_delivery_change", args=[delivery.pk]),
                delivery.get_channel_display(),
                f"{activity.words_of_delivery(delivery)}, attempts: {delivery.attempts}, {delivery.error or 'no error'}",
            )
            for delivery in code.deliveries.all()
        ]
        return format_html_join("", '<div><a href="{}">{}</a>: {}</div>', lines) or "none"

    @admin.display(description="checks")
    def its_checks(self, code: OneTimeCode) -> SafeString | str:
        """How the code was checked."""
        lines = [
            (f"{check.created_at:%Y-%m-%d %H:%M:%S} UTC", check.reason.replace("_", " "), check.attempts_remaining)
            for check in code.verifications.all()[:_SHOWN]
        ]
        return format_html_join("", "<div>{}: {}, {} attempts left</div>", lines) or "none"

    @admin.display(description="revealed")
    def its_reveals(self, code: OneTimeCode) -> SafeString | str:
        """Who revealed the code, and the reasons that they typed: shown here only, where looking is recorded."""
        lines = [
            (f"{event.at:%Y-%m-%d %H:%M:%S} UTC", event.actor, reason)
            for event, reason in activity.reveals(code=code)[:_SHOWN]
        ]
        return format_html_join("", "<div>{} {}: {}</div>", lines) or "never"


@admin.register(Delivery)
class DeliveryAdmin(_Searchable):
    """Deliveries, and why they failed."""

    list_display = ("id", "portal_id", "reference", "recipient", "channel", "status", "attempts", "error", "settled_at")
    list_filter = ("status",)
    ordered_when_searched = ("-id",)
    fields = (
        "portal", "reference", "whole_address", "channel", "where", "status", "attempts", "error", "next_attempt_at",
        "settled_at",
    )  # fmt: skip
    readonly_fields = fields
    actions = ("retry",)
    change_form_template = "admin/otp/with_actions.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Bring the codes along, without what nobody is to see."""
        rows = super().get_queryset(request).select_related("code")
        return rows.defer(*(f"code__{name}" for name in _SECRETS))

    def found(self, search: Search, rows: QuerySet[Any]) -> QuerySet[Any]:
        """Return the deliveries that a search means."""
        return search.deliveries(rows)

    def change_view(self, request: HttpRequest, object_id: str, *args: Any, **kwargs: Any) -> HttpResponse:
        """Show one delivery, address included, and record that."""
        response = super().change_view(request, object_id, *args, **kwargs)
        _record_view(request, response, lambda delivery: delivery.code)
        return response

    def has_retry_permission(self, request: HttpRequest) -> bool:
        """Whether the member of staff may retry deliveries."""
        return request.user.has_perm("otp.retry_delivery")

    @admin.display(description="reference")
    def reference(self, delivery: Delivery) -> SafeString:
        """Lead to the code."""
        return _reference(delivery.code_id)

    @admin.display(description="recipient")
    def recipient(self, delivery: Delivery) -> str:
        """The address, masked."""
        return mask_address(delivery.code.address)

    @admin.display(description="recipient")
    def whole_address(self, delivery: Delivery) -> SafeString:
        """The address."""
        return format_html("{} <span>(that you see it is recorded)</span>", delivery.code.recipient)

    @admin.display(description="contact property")
    def where(self, delivery: Delivery) -> str:
        """The property's name; other targets are HubSpot's business."""
        return delivery.target if delivery.channel == ChannelName.CONTACT_PROPERTY else ""

    @admin.action(description="Retry …", permissions=["retry"])
    def retry(self, request: HttpRequest, deliveries: QuerySet[Delivery]) -> HttpResponse | None:
        """Make the chosen deliveries due again."""
        now = timezone.now()
        return _confirmed(
            self, request, deliveries, action="retry",
            question="Retry?",
            consequence="They are tried again at once. Only failed deliveries of codes that are still live can be retried.",
            do=lambda delivery: support.retry_delivery(delivery_id=delivery.pk, staff=_staff(request), now=now),
            done="Retried", not_done="Not failed, or the code has ended, or the portal is not connected",
        )  # fmt: skip


@admin.register(ContactGuard)
class ContactAdmin(_Searchable):
    """Contacts: their locks, their codes, their audit trail."""

    list_display = ("contact_id", "portal_id", "is_locked", "locked_until", "wrong_attempts", "lock_count")
    ordered_when_searched = ("-id",)
    fields = (
        "portal", "contact_id", "pseudonym", "is_locked", "locked_until", "wrong_attempts", "lock_count", "its_codes",
        "its_trail",
    )  # fmt: skip
    readonly_fields = fields
    actions = ("lift",)
    change_form_template = "admin/otp/with_actions.html"

    def found(self, search: Search, rows: QuerySet[Any]) -> QuerySet[Any]:
        """Return the contacts that a search means."""
        return search.contacts(rows)

    def get_urls(self) -> list[URLPattern]:
        """Add the download of a contact's audit trail."""
        export = path(
            "<int:pk>/audit.csv", self.admin_site.admin_view(self.export), name="otp_contactguard_audit_export"
        )
        return [export, *super().get_urls()]

    def export(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        """Download a contact's audit trail, recorded."""
        guard = ContactGuard.objects.select_related("portal").filter(pk=pk).first()
        if guard is None or not request.user.has_perm("otp.view_auditevent"):
            raise Http404
        if request.method != "POST":
            return redirect("admin:otp_contactguard_change", pk)
        support.record_export(guard=guard, staff=_staff(request), now=timezone.now())
        return trail_as_csv(guard)

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Offer the download."""
        guard = kwargs.get("obj")
        if guard is not None and request.user.has_perm("otp.view_auditevent"):
            context["export_url"] = reverse("admin:otp_contactguard_audit_export", args=[guard.pk])
        return super().render_change_form(request, context, *args, **kwargs)

    def has_lift_permission(self, request: HttpRequest) -> bool:
        """Whether the member of staff may lift locks."""
        return request.user.has_perm("otp.lift_lock")

    @admin.display(description="locked", boolean=True)
    def is_locked(self, guard: ContactGuard) -> bool:
        """Whether nothing that the contact submits is compared with a code now."""
        return guard.is_locked(timezone.now())

    @admin.display(description="latest codes")
    def its_codes(self, guard: ContactGuard) -> SafeString | str:
        """The contact's latest codes."""
        latest = OneTimeCode.objects.filter(portal_id=guard.portal_id, contact_id=guard.contact_id).defer(
            "address", *_SECRETS
        )
        now = timezone.now()
        lines = [
            (_reference(code.pk), f"{code.created_at:%Y-%m-%d %H:%M:%S} UTC", code.end_reason_at(now) or "live")
            for code in latest.order_by("-created_at", "-id")[:_SHOWN]
        ]
        return format_html_join("", "<div>{} {}, {}</div>", lines) or "none"

    @admin.display(description="audit trail")
    def its_trail(self, guard: ContactGuard) -> SafeString | str:
        """What people did and saw that concerned the contact."""
        lines = [
            (f"{event.at:%Y-%m-%d %H:%M:%S} UTC", event.actor, activity.words_of_event(event))
            for event in activity.trail_of(guard=guard, before=None).events
        ]
        return format_html_join("", "<div>{} {}: {}</div>", lines) or "empty"

    @admin.action(description="Lift the lock …", permissions=["lift"])
    def lift(self, request: HttpRequest, guards: QuerySet[ContactGuard]) -> HttpResponse | None:
        """Let the chosen contacts verify again."""
        now = timezone.now()
        return _confirmed(
            self, request, guards.select_related("portal"), action="lift",
            question="Lift the lock?",
            consequence="These contacts can verify again at once, with all their attempts. Codes that are locked stay locked.",
            do=lambda guard: lift_lock(
                portal=guard.portal, contact_id=guard.contact_id, lifted_by=_staff(request), now=now
            ),
            done="Lifted", not_done="Not locked anyway",
        )  # fmt: skip


@admin.register(AuditEvent)
class AuditAdmin(_Searchable):
    """What people did and saw."""

    list_display = ("at", "portal_id", "actor", "actor_kind", "action", "reference")
    ordered_when_searched = ("-at", "-id")
    fields = (
        "at", "recorded_at", "keep_until", "place", "portal_id", "actor", "actor_kind", "action", "contact", "reference",
        "detail", "texts",
    )  # fmt: skip
    readonly_fields = fields

    def found(self, search: Search, rows: QuerySet[Any]) -> QuerySet[Any]:
        """Return the lines that a search means."""
        return search.events(rows)

    @admin.display(description="place in the chain")
    def place(self, event: AuditEvent) -> str:
        """Which line of its portal it is, and how its hash begins; an export has the whole one."""
        link = AuditLink.objects.filter(pk=event.pk).first()
        return "none yet" if link is None else f"{link.sequence}, {bytes(link.hash).hex()[:16]}…"

    @admin.display(description="typed texts")
    def texts(self, event: AuditEvent) -> str:
        """The texts of settings, from what to what; a reason to reveal a code stands on the code's page."""
        if "note" not in event.detail:
            return "none"
        if event.action != Action.SETTINGS_CHANGED:
            return "on the page of the code, where looking is recorded"
        typed = audit.typed_in([event])[event.pk]
        if typed is None:
            return activity.ERASED
        return "; ".join(f"{name}: “{before}” → “{after}”" for name, (before, after) in typed.items())


def _record_view(request: HttpRequest, response: HttpResponse, code_of: Callable[[Any], OneTimeCode]) -> None:
    """Write down that somebody saw the address on a page that is about to be shown."""
    context = response.context_data if isinstance(response, TemplateResponse) else None
    row: Model | None = (context or {}).get("original")
    if row is not None:
        now: dt.datetime = timezone.now()
        support.record_address_view(code=code_of(row), staff=_staff(request), now=now)
