-- Writes a new code, its deliveries and its line in the audit log; nothing at all if `guard` has no row.
WITH {first},
delivery AS (
    INSERT INTO otp_delivery (
        code_id, portal_id, channel, target, next_attempt_at, not_before, status, attempts, error)
    SELECT
        guard.code_id, %(order.portal_id)s, wanted.channel, wanted.target, wanted.due, wanted.not_before,
        'pending', 0, ''
    FROM guard, (VALUES
        ('contact_property', %(made.deliveries.contact_property)s, %(order.now)s, NULL::timestamptz),
        ('email', %(made.deliveries.email)s, %(order.now)s, NULL),
        -- due when the others have settled (otp.delivery sees to it), at the latest when the code expires
        ('workflow_completion', %(made.deliveries.workflow_completion)s, %(made.code.expires_at)s,
            %(made.deliveries.complete_not_before)s)
    ) AS wanted (channel, target, due, not_before)
    WHERE wanted.target IS NOT NULL
),
code AS (
    INSERT INTO otp_onetimecode (
        id, portal_id, contact_id, request_key, source, workflow_id, address, address_digest, first_name, language,
        code, digest, code_type, code_length, expiry_minutes, outputs_code, created_at, expires_at)
    SELECT
        guard.code_id, %(order.portal_id)s, %(order.contact_id)s, %(order.request_key)s, %(order.source)s,
        %(order.workflow_id)s, %(sealed.address)s, %(sealed.address_digest)s, %(sealed.first_name)s,
        %(order.language)s, %(sealed.code)s, %(sealed.digest)s, %(made.code.code_type)s, %(made.code.code_length)s,
        %(made.code.expiry_minutes)s, %(made.code.outputs_code)s, %(order.now)s, %(made.code.expires_at)s
    FROM guard
)
INSERT INTO otp_auditevent (portal_id, at, actor, actor_kind, action, contact, reference, detail)
SELECT
    %(order.portal_id)s, %(order.now)s, %(order.actor.name)s, %(order.actor.kind)s, %(order.action)s,
    guard.pseudonym, guard.code_id, '{}'
FROM guard
RETURNING id
