"""Addresses of the product: what HubSpot calls, and the portal admin's pages."""

from django.urls import path
from django.views.generic import TemplateView

from otp.hubspot import schema  # noqa: F401 (registers what the OpenAPI schema says)
from otp.hubspot.generate_otp_action import GenerateOTPAction
from otp.hubspot.otp_card import (
    GenerateFromCard,
    OTPCard,
    PortalSettings,
    ResendFromCard,
    RevealFromCard,
    VerifyFromCard,
)
from otp.hubspot.verify_otp_action import VerifyOTPAction
from otp.pages import activity_pages, member_pages, settings_pages, text_pages

urlpatterns = [
    path("hubspot/actions/generate-otp", GenerateOTPAction.as_view(), name="generate_otp_action"),
    path("hubspot/actions/verify-otp", VerifyOTPAction.as_view(), name="verify_otp_action"),
    path("hubspot/cards/otp", OTPCard.as_view(), name="otp_card"),
    path("hubspot/cards/otp/generate", GenerateFromCard.as_view(), name="otp_card_generate"),
    path("hubspot/cards/otp/resend", ResendFromCard.as_view(), name="otp_card_resend"),
    path("hubspot/cards/otp/verify", VerifyFromCard.as_view(), name="otp_card_verify"),
    path("hubspot/cards/otp/reveal", RevealFromCard.as_view(), name="otp_card_reveal"),
    path("hubspot/cards/settings", PortalSettings.as_view(), name="card_settings"),
    path("settings/", settings_pages.settings_page, name="settings"),
    path("settings/properties/sync", settings_pages.sync_properties, name="sync_properties"),
    path("settings/properties/create", settings_pages.create_property, name="create_property"),
    path("settings/disconnect", settings_pages.disconnect, name="disconnect"),
    path("settings/members", member_pages.member_list, name="members"),
    path("settings/members/<int:member_id>/end-sessions", member_pages.end_sessions, name="end_sessions"),
    path("settings/members/<int:member_id>/remove", member_pages.remove_member, name="remove_member"),
    path("settings/texts", text_pages.email_texts_page, name="email_texts"),
    path("settings/texts/export", text_pages.email_texts_export, name="email_texts_export"),
    path("settings/texts/import", text_pages.email_texts_import, name="email_texts_import"),
    path("settings/texts/in/<str:language>", text_pages.email_texts_of, name="email_texts_of"),
    path("settings/texts/in/<str:language>/preview", text_pages.email_texts_preview, name="email_texts_preview"),
    path("settings/texts/in/<str:language>/test", text_pages.email_texts_test, name="email_texts_test"),
    path("settings/policy", settings_pages.policy_panel, name="policy_panel"),
    path("help", TemplateView.as_view(template_name="otp/help.html"), name="help"),
    path("privacy", settings_pages.privacy, name="privacy"),
    path("terms", TemplateView.as_view(template_name="otp/terms.html"), name="terms"),
    path("settings/log", activity_pages.activity_log, name="activity_log"),
    path("settings/log/export", activity_pages.activity_export, name="activity_export"),
    path("settings/log/audit/export", activity_pages.audit_log_export, name="audit_log_export"),
    path("settings/log/<uuid:reference>", activity_pages.activity_detail, name="activity_detail"),
    path("settings/log/<uuid:reference>/send-again", activity_pages.activity_send_again, name="activity_send_again"),
    path("settings/log/contacts/<int:contact_id>", activity_pages.activity_contact, name="activity_contact"),
    path(
        "settings/log/contacts/<int:contact_id>/export",
        activity_pages.activity_contact_export,
        name="activity_contact_export",
    ),
]
