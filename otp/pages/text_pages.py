"""The portal admin's pages for the texts of the mail: every language, preview, test mail, one file for all."""

from typing import Any, Final

from csp.constants import NONE, SELF, UNSAFE_INLINE
from csp.decorators import csp_replace
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.clickjacking import xframe_options_sameorigin
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from emails import languages
from hubspot_integration import access
from hubspot_integration.models import Portal, PortalMember
from otp.mails import to_contacts
from otp.models import EmailTexts, OTPSettings
from otp.pages import email_texts
from otp.pages.email_texts import TextsChangedMeanwhile, UnusableFile
from otp.pages.forms import EmailTextsForm

LOOKS: Final = {"light": "Light", "dark": "Dark", "text": "Plain text"}
# What the mail's style sheet asks for; a frame cannot answer for itself, so the preview says it.
_DARK_QUERY: Final = "(prefers-color-scheme: dark)"
_DOWNLOAD_NAME: Final = "opsagent-otp-texts.json"


@never_cache
@require_safe
@access.portal_required
def email_texts_page(request: HttpRequest, portal: Portal) -> HttpResponse:
    """Show in which languages the portal has texts of its own, and lead to the others."""
    wanted = languages.normalise(request.GET.get("language", ""))
    if wanted:
        return redirect("email_texts_of", language=wanted)
    return _overview(request, portal)


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@access.member_required
def email_texts_of(request: HttpRequest, member: PortalMember, language: str) -> HttpResponse:
    """Show the texts of one language; save what is posted."""
    portal = member.portal
    code = _code(language)
    if request.method != "POST":
        return _editor(request, portal, _form(portal, code))
    form = _form(portal, code, request.POST)
    if not form.is_valid():
        form.focus_first_error()
        return _editor(request, portal, form, seen=request.POST.get("seen", ""))
    values = form.cleaned_data
    if reset := request.POST.get("reset"):
        if reset not in email_texts.FIELDS:
            raise Http404
        values = {**{name: getattr(email_texts.of_language(portal, code), name) for name in values}, reset: ""}
    try:
        email_texts.change(
            portal=portal,
            language=code,
            values=values,
            seen=request.POST.get("seen", ""),
            actor=member.name,
            now=timezone.now(),
        )
    except TextsChangedMeanwhile:
        return _editor(request, portal, form, status=409, saved=email_texts.of_language(portal, code))
    messages.success(request, "Your texts are saved. They hold from the next code on.")
    return redirect("email_texts_of", language=code)


@never_cache
@xframe_options_sameorigin
@csp_replace(  # type: ignore[arg-type]  # typed for views without arguments only
    {"default-src": [NONE], "style-src": [UNSAFE_INLINE], "img-src": ["data:"], "frame-ancestors": [SELF]}
)
@require_http_methods(["GET", "HEAD", "POST"])
@access.portal_required
def email_texts_preview(request: HttpRequest, portal: Portal, language: str) -> HttpResponse:
    """Show the mail in one language: as it is saved, or with the texts that are posted. Nothing is saved or sent."""
    code = _code(language)
    form = _form(portal, code, request.POST if request.method == "POST" else None)
    if form.is_bound and not form.is_valid():
        sentences = "\n".join(str(sentence) for errors in form.errors.values() for sentence in errors)
        return HttpResponse(f"There is no preview yet.\n\n{sentences}\n", content_type="text/plain; charset=utf-8")
    content = to_contacts.preview(
        portal=portal,
        settings=OTPSettings.of(portal),
        own=_own(portal, form),
        language=code,
        now=timezone.now(),
    )
    look = request.POST.get("look", "light")
    if look == "text":
        return HttpResponse(content.text, content_type="text/plain; charset=utf-8")
    shown, query = ("dark", "all") if look == "dark" else ("light", "not all")
    return HttpResponse(content.html.replace(_DARK_QUERY, query).replace("light dark", shown))


@never_cache
@require_POST
@access.member_required
def email_texts_test(request: HttpRequest, member: PortalMember, language: str) -> HttpResponse:
    """Mail the posted texts to whoever is signed in. Nothing is saved."""
    portal = member.portal
    code = _code(language)
    form = _form(portal, code, request.POST)
    seen = request.POST.get("seen", "")
    if not form.is_valid():
        form.focus_first_error()
        return _editor(request, portal, form, seen=seen)
    try:
        to_contacts.send_test(
            member=member,
            settings=OTPSettings.of(portal),
            own=_own(portal, form),
            language=code,
            now=timezone.now(),
        )
    except (to_contacts.TooManyTestMails, to_contacts.TestMailRefused) as error:
        messages.error(request, str(error))
    else:
        messages.success(request, f"A test mail is on its way to {member.email}.")
    return _editor(request, portal, form, seen=seen)


@never_cache
@require_safe
@access.portal_required
def email_texts_export(request: HttpRequest, portal: Portal) -> HttpResponse:  # noqa: ARG001 (Django passes the request)
    """Hand out all the portal's texts as one file."""
    return HttpResponse(
        email_texts.as_file(portal),
        content_type="application/json",
        headers={"Content-Disposition": f'attachment; filename="{_DOWNLOAD_NAME}"'},
    )


@never_cache
@require_POST
@access.member_required
def email_texts_import(request: HttpRequest, member: PortalMember) -> HttpResponse:
    """Replace all the portal's texts by those of a file, or none of them."""
    uploaded = request.FILES.get("texts")
    data = uploaded.read(email_texts.MAXIMUM_FILE + 1) if uploaded else b""
    try:
        found = email_texts.read_file(data, portal=member.portal)
    except UnusableFile as error:
        return _overview(request, member.portal, status=400, reasons=error.reasons)
    email_texts.replace_all(
        portal=member.portal,
        texts=found,
        actor=member.name,
        now=timezone.now(),
    )
    messages.success(
        request, f"The texts of {len(found)} {'language' if len(found) == 1 else 'languages'} are taken over."
    )
    return redirect("email_texts")


def _code(language: str) -> str:
    """Return the language of an address. Raises Http404 where it is none, or spelled otherwise."""
    if languages.normalise(language) != language:
        raise Http404
    return language


def _form(portal: Portal, code: str, data: QueryDict | None = None) -> EmailTextsForm:
    others = EmailTexts.objects.filter(portal=portal).exclude(language=code)
    settings = OTPSettings.of(portal)
    chosen = to_contacts.Letterhead(portal, settings, others).texts(code, settings.expiry_minutes)
    return EmailTextsForm(data, instance=email_texts.of_language(portal, code), underlying=chosen)


def _own(portal: Portal, form: EmailTextsForm) -> list[EmailTexts]:
    """Return the portal's texts, the form's language with what the form holds."""
    return [*EmailTexts.objects.filter(portal=portal).exclude(language=form.instance.language), form.instance]


def _overview(request: HttpRequest, portal: Portal, *, status: int = 200, **context: Any) -> HttpResponse:
    own = list(EmailTexts.objects.filter(portal=portal))
    settings = OTPSettings.of(portal)
    context |= {
        "portal": portal,
        "own": [
            {
                "code": texts.language,
                "name": languages.name_of(texts.language),
                "written": [label for name, label in email_texts.FIELDS.items() if getattr(texts, name)],
            }
            for texts in own
        ],
        "choices": languages.choices(),
        "default_code": settings.default_language,
        "default_name": languages.name_of(settings.default_language),
        "sends_email": settings.send_email,
    }
    return render(request, "otp/email_texts.html", context, status=status)


def _editor(
    request: HttpRequest, portal: Portal, form: EmailTextsForm, *, status: int = 200, seen: str = "", **context: Any
) -> HttpResponse:
    code = form.instance.language
    context |= {
        "portal": portal,
        "form": form,
        "code": code,
        "name": languages.name_of(code),
        "tag": languages.html_tag(code),
        "direction": "rtl" if languages.right_to_left(code) else "ltr",
        "seen": seen or email_texts.mark_of(email_texts.of_language(portal, code)),
        "looks": LOOKS,
    }
    return render(request, "otp/email_texts_of.html", context, status=status)
