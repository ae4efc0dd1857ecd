-- Ends in `guard`: one row (pseudonym, code_id), locked and one version on, of a contact that was given no code for 24
-- hours, by a request that is new, in a portal that is connected and as this process remembers it; or none if any of
-- that is not so, or if somebody was faster: the guard's version is compared with the one that this statement saw.
seen AS (
    SELECT guard.id, guard.version
    FROM hubspot_integration_portal AS portal
    JOIN otp_otpsettings AS settings ON settings.portal_id = portal.id
    LEFT JOIN hubspot_integration_oauthgrant AS oauth ON oauth.portal_id = portal.id
    LEFT JOIN otp_contactguard AS guard ON guard.portal_id = portal.id AND guard.contact_id = %(order.contact_id)s
    WHERE portal.id = %(order.portal_id)s AND portal.disconnected_at IS NULL
      AND settings.version = %(rules.settings_version)s
      AND COALESCE('automation' = ANY (oauth.scopes), FALSE) = %(rules.may_complete)s
      AND NOT EXISTS (
          SELECT FROM otp_onetimecode
          WHERE portal_id = %(order.portal_id)s AND contact_id = %(order.contact_id)s
            AND created_at > %(order.day_ago)s)
      AND NOT EXISTS (
          SELECT FROM otp_onetimecode
          WHERE portal_id = %(order.portal_id)s AND request_key = %(order.request_key)s)
),
guard AS (
    INSERT INTO otp_contactguard AS guard (portal_id, contact_id)
    SELECT %(order.portal_id)s, %(order.contact_id)s FROM seen
    ON CONFLICT (portal_id, contact_id) DO UPDATE SET version = guard.version + 1
    WHERE (guard.id, guard.version) = (SELECT id, version FROM seen)
    RETURNING guard.pseudonym, %(code_id)s::uuid AS code_id
)
