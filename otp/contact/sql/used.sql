-- A success ends every live code of the contact; the database wipes what ends. The sweep may have ended one a moment ago,
-- by a clock that was ahead of ours; when the customer answered, it was live.
used AS (
    UPDATE otp_onetimecode
    SET ended_at = %(submission.now)s, end_reason = 'used',
        clears_property_on_success = %(submission.clear_property)s
    FROM guard
    WHERE portal_id = %(submission.portal_id)s AND contact_id = %(submission.contact_id)s
      AND expires_at > %(submission.now)s AND (ended_at IS NULL OR end_reason = 'expired')
)
