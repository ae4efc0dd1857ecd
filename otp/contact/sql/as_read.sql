-- Ends in `guard`: one row (pseudonym, code_id), locked and one version on, with the guess budget that was decided; or
-- none if the guard is not what it was when it was read. Without an id there was no guard, and one is made.
guard AS (
    INSERT INTO otp_contactguard AS guard (portal_id, contact_id, wrong_attempts, lock_count, locked_until)
    VALUES (
        %(guard.portal_id)s, %(guard.contact_id)s, %(guard.wrong_attempts)s, %(guard.lock_count)s,
        %(guard.locked_until)s)
    ON CONFLICT (portal_id, contact_id) DO UPDATE
    SET version = guard.version + 1, wrong_attempts = EXCLUDED.wrong_attempts, lock_count = EXCLUDED.lock_count,
        locked_until = EXCLUDED.locked_until
    WHERE guard.id = %(guard.id)s::bigint AND guard.version = %(guard.version)s::bigint
    RETURNING guard.pseudonym, %(code_id)s::uuid AS code_id
)
