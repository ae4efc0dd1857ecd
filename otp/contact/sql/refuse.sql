-- Writes the line in the audit log that says which limit stands against a code, and until when; nothing at all if
-- `guard` has no row.
WITH {first}
INSERT INTO otp_auditevent (portal_id, at, actor, actor_kind, action, contact, reference, detail)
SELECT
    %(order.portal_id)s, %(order.now)s, %(order.actor.name)s, %(order.actor.kind)s, 'code_refused',
    guard.pseudonym, guard.code_id, jsonb_build_object('limit', %(reached.limit)s::text, 'retry_at', %(retry_at)s::text)
FROM guard
RETURNING id
