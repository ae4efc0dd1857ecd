"""Every change of a portal's settings raises their version, whoever makes it and however."""

import pytest

from otp.models import OTPSettings
from tests import factories

pytestmark = pytest.mark.django_db


def test_it_rises_with_a_save_and_with_an_update() -> None:
    otp_settings = factories.OTPSettingsFactory.create()
    first = otp_settings.version
    otp_settings.code_length = 8
    otp_settings.save()
    OTPSettings.objects.update(expiry_minutes=5)
    otp_settings.refresh_from_db()
    assert otp_settings.version == first + 2


def test_settings_made_anew_are_not_taken_for_earlier_ones() -> None:
    portal = factories.PortalFactory.create()
    versions = set()
    for _ in range(3):
        versions.add(OTPSettings.objects.create(portal=portal).version)
        OTPSettings.objects.all().delete()
    assert len(versions) == 3
