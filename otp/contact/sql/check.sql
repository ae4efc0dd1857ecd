-- Writes a decision about a submitted code and its line in the audit log; nothing at all if `guard` has no row.
WITH {first},
event AS (
    INSERT INTO otp_auditevent (portal_id, at, actor, actor_kind, action, contact, reference, detail)
    SELECT
        %(submission.portal_id)s, %(submission.now)s, %(submission.actor.name)s, %(submission.actor.kind)s,
        'code_checked', guard.pseudonym, guard.code_id, jsonb_build_object('reason', %(answer.reason)s::text)
    FROM guard
)
INSERT INTO otp_verification (
    portal_id, contact_id, request_key, source, code_id, result, reason, attempts_remaining, verified_at, created_at)
SELECT
    %(submission.portal_id)s, %(submission.contact_id)s, %(submission.request_key)s, %(submission.source)s,
    guard.code_id, %(answer.reason.result)s, %(answer.reason)s, %(answer.attempts_remaining)s, %(verified_at)s,
    %(submission.now)s
FROM guard
RETURNING id, code_id
