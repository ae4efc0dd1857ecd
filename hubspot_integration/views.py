"""The portal admin's way in: install, callback, landing page."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from hubspot_integration import access, oauth


@require_GET
def landing(request: HttpRequest) -> HttpResponse:
    """Say what the app is and offer to install it."""
    return render(request, "hubspot_integration/landing.html", {"member": access.signed_in_member(request)})


@require_GET
@never_cache
def install(request: HttpRequest) -> HttpResponse:
    """Send the browser to HubSpot's authorize page."""
    return redirect(oauth.begin_installation(request.session))


@require_GET
@never_cache
def oauth_callback(request: HttpRequest) -> HttpResponse:
    """Finish the installation and sign the installer in."""
    if "error" in request.GET:
        sentence = "HubSpot did not connect the account, because the request was declined. Nothing was changed."
        return render(request, "hubspot_integration/installation_failed.html", {"sentence": sentence}, status=400)
    state, code = request.GET.get("state", ""), request.GET.get("code", "")
    if not state or not code:
        # HubSpot's Marketplace opens this address without our state: a proper installation starts with one.
        return redirect("hubspot_install")
    try:
        installation = oauth.finish_installation(session=request.session, state=state, code=code)
    except oauth.InstallationError as error:
        context = {"sentence": str(error)}
        return render(request, "hubspot_integration/installation_failed.html", context, status=400)
    access.sign_in(request, installation.member)
    return redirect("settings")


@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    """End the session."""
    request.session.flush()
    return redirect("landing")
