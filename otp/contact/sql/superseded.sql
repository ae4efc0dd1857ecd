-- The contact's older live codes end, if the portal wants it so; the database wipes what ends.
superseded AS (
    UPDATE otp_onetimecode
    SET ended_at = %(order.now)s, end_reason = 'superseded'
    FROM guard
    WHERE %(made.replaces_older)s AND portal_id = %(order.portal_id)s AND contact_id = %(order.contact_id)s
      AND ended_at IS NULL AND expires_at > %(order.now)s
)
