-- Reads what an order depends on: one row, or none if the portal is not connected or has no settings. made_at: when the
-- contact's codes of the last 24 hours were made, the newest first; NULL if there are none.
SELECT
    settings.version, COALESCE('automation' = ANY (oauth.scopes), FALSE) AS may_complete, settings.code_type,
    settings.code_length, settings.expiry_minutes, settings.output_code, settings.store_in_property,
    settings.property_name, settings.send_email, settings.wait_until_delivered, settings.resend_policy,
    settings.contact_limit_10_minutes, settings.contact_limit_day, settings.resend_cooldown_seconds,
    settings.portal_limit_minute,
    guard.id AS guard_id, guard.version AS guard_version, guard.wrong_attempts, guard.lock_count, guard.locked_until,
    made.made_at, earlier.id AS earlier
FROM hubspot_integration_portal AS portal
JOIN otp_otpsettings AS settings ON settings.portal_id = portal.id
LEFT JOIN hubspot_integration_oauthgrant AS oauth ON oauth.portal_id = portal.id
LEFT JOIN otp_contactguard AS guard ON guard.portal_id = portal.id AND guard.contact_id = %(contact_id)s
LEFT JOIN otp_onetimecode AS earlier ON earlier.portal_id = portal.id AND earlier.request_key = %(request_key)s
CROSS JOIN LATERAL (
    SELECT array_agg(code.created_at ORDER BY code.created_at DESC) AS made_at
    FROM otp_onetimecode AS code
    WHERE code.portal_id = portal.id AND code.contact_id = %(contact_id)s AND code.created_at > %(day_ago)s
) AS made
WHERE portal.id = %(portal_id)s AND portal.disconnected_at IS NULL
