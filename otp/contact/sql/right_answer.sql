-- Ends in `guard`: one row (pseudonym, code_id), locked and one version on, with its whole guess budget, of a contact who
-- is not locked and whose newest code is live and has one of the digests, which stand for code and address; by a request
-- that is new, in a portal that is connected; or none if any of that is not so, or if somebody was faster: the guard's
-- version is compared with the one that this statement saw. How long the comparing of digests takes tells nothing to
-- somebody who does not know the pepper.
seen AS (
    SELECT newest.id AS code_id, guard.id AS guard_id, guard.version
    FROM hubspot_integration_portal AS portal
    JOIN otp_contactguard AS guard
      ON guard.portal_id = portal.id AND guard.contact_id = %(submission.contact_id)s
    CROSS JOIN LATERAL (
        SELECT id, digest, ended_at, expires_at FROM otp_onetimecode
        WHERE portal_id = %(submission.portal_id)s AND contact_id = %(submission.contact_id)s
          AND created_at > %(submission.remembered_since)s
        ORDER BY created_at DESC, id DESC LIMIT 1
    ) AS newest
    WHERE portal.id = %(submission.portal_id)s AND portal.disconnected_at IS NULL
      AND (guard.locked_until IS NULL OR guard.locked_until <= %(submission.now)s)
      AND newest.digest = ANY (%(digests)s)
      AND newest.ended_at IS NULL AND newest.expires_at > %(submission.now)s
      AND NOT EXISTS (
          SELECT FROM otp_verification
          WHERE portal_id = %(submission.portal_id)s AND request_key = %(submission.request_key)s)
),
guard AS (
    UPDATE otp_contactguard AS guard
    SET version = guard.version + 1, wrong_attempts = 0, lock_count = 0, locked_until = NULL
    FROM seen WHERE guard.id = seen.guard_id AND guard.version = seen.version
    RETURNING guard.pseudonym, seen.code_id
)
