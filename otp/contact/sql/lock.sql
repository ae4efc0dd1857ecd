-- Locks a contact's guard until the transaction ends, and raises its version. One statement for new and known contacts:
-- whoever meets the conflict waits until the other transaction ends, and gets the row as that one left it.
INSERT INTO otp_contactguard AS guard (portal_id, contact_id) VALUES (%(portal_id)s, %(contact_id)s)
ON CONFLICT (portal_id, contact_id) DO UPDATE SET version = guard.version + 1
RETURNING id, version, wrong_attempts, lock_count, locked_until
