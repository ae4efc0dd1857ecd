-- Reads what a check depends on: one row for each code of the contact and address that is live or can still be told
-- apart, the newest first; one row without a code if there is none; no row at all if the portal is not connected or has
-- no settings.
SELECT
    settings.wrong_attempts_limit, settings.lock_minutes, settings.longest_lock_minutes,
    guard.id AS guard_id, guard.version AS guard_version, guard.wrong_attempts, guard.lock_count, guard.locked_until,
    earlier.id AS earlier,
    code.id AS code_id, code.digest AS code_digest, code.code_type, code.code_length,
    code.wrong_attempts AS code_wrong_attempts, code.expires_at AS code_expires_at, code.ended_at AS code_ended_at,
    code.end_reason AS code_end_reason
FROM hubspot_integration_portal AS portal
JOIN otp_otpsettings AS settings ON settings.portal_id = portal.id
LEFT JOIN otp_contactguard AS guard
       ON guard.portal_id = portal.id AND guard.contact_id = %(submission.contact_id)s
LEFT JOIN otp_verification AS earlier
       ON earlier.portal_id = portal.id AND earlier.request_key = %(submission.request_key)s
LEFT JOIN otp_onetimecode AS code
       ON code.portal_id = portal.id AND code.contact_id = %(submission.contact_id)s
      AND code.address_digest = ANY (%(address_digests)s)
      AND code.created_at > %(submission.remembered_since)s AND code.expires_at > %(expired_after)s
WHERE portal.id = %(submission.portal_id)s AND portal.disconnected_at IS NULL
ORDER BY code.created_at DESC, code.id DESC
