-- A wrong answer counts against every code that it could have been. Those that it locks end, and the database wipes them.
-- That, and a lock of the contact, has a line of its own in the audit log.
counted AS (
    UPDATE otp_onetimecode
    SET wrong_attempts = wrong_attempts + 1,
        ended_at = CASE WHEN id = ANY (%(verdict.locked)s::uuid[]) THEN %(submission.now)s ELSE ended_at END,
        end_reason = CASE WHEN id = ANY (%(verdict.locked)s::uuid[]) THEN 'locked' ELSE end_reason END
    FROM guard
    WHERE id = ANY (%(verdict.counted)s::uuid[])
),
locked AS (
    INSERT INTO otp_auditevent (portal_id, at, actor, actor_kind, action, contact, reference, detail)
    SELECT
        %(submission.portal_id)s, %(submission.now)s, %(submission.actor.name)s, %(submission.actor.kind)s,
        line.action, guard.pseudonym, line.reference, line.detail
    FROM guard, (
        SELECT 'code_locked', code.id, jsonb_build_object()
        FROM unnest(%(verdict.locked)s::uuid[]) AS code (id)
        UNION ALL
        SELECT 'contact_locked', NULL, jsonb_build_object('until', %(until)s::text)
        WHERE %(verdict.contact_locked)s
    ) AS line (action, reference, detail)
)
