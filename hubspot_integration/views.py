"""The portal admin's way in: landing page, installation, signing in and out, changing portals."""

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST, require_safe

from hubspot_integration import access, oauth
from hubspot_integration.oauth import Purpose


@require_safe
def landing(request: HttpRequest) -> HttpResponse:
    """Say what the app is and offer to install it."""
    return render(request, "hubspot_integration/landing.html")


@require_GET
@never_cache
def install(request: HttpRequest) -> HttpResponse:
    """Send the browser to HubSpot's authorize page, to install the app or to connect it anew."""
    return redirect(oauth.begin(request.session, Purpose.INSTALL))


@require_GET
@never_cache
def sign_in(request: HttpRequest) -> HttpResponse:
    """Send the browser to HubSpot's authorize page, to come back as a portal's admin."""
    return redirect(oauth.begin(request.session, Purpose.SIGN_IN))


@require_GET
@never_cache
def oauth_callback(request: HttpRequest) -> HttpResponse:
    """Finish what the browser went to HubSpot for and show it the portal's settings."""
    if "error" in request.GET:
        sentence = "HubSpot did not connect the account, because the request was declined. Nothing was changed."
        return render(request, "hubspot_integration/installation_failed.html", {"sentence": sentence}, status=400)
    state, code = request.GET.get("state", ""), request.GET.get("code", "")
    if not state or not code:
        # HubSpot's Marketplace opens this address without our state: a proper installation starts with one.
        return redirect("hubspot_install")
    try:
        member = oauth.finish(session=request.session, state=state, code=code)
    except oauth.NotInstalled as error:
        return render(request, "hubspot_integration/not_installed.html", {"portal_name": error.portal_name}, status=400)
    except oauth.InstallationError as error:
        context = {"sentence": str(error)}
        return render(request, "hubspot_integration/installation_failed.html", context, status=400)
    access.sign_in(request, member)
    return redirect("settings")


@never_cache
@require_POST
def choose_portal(request: HttpRequest) -> HttpResponse:
    """Go on in another portal that this browser has signed in to."""
    if not access.choose(request, request.POST.get("portal", "")):
        raise Http404
    return redirect("settings")


@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    """End the session."""
    request.session.flush()
    return redirect("landing")
