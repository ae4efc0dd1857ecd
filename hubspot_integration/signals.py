"""What the platform tells whoever listens. Receivers live with the product."""

from django.dispatch import Signal

# After an installation has been committed. Arguments: portal (Portal), scopes (set of str).
portal_connected = Signal()
# The first time HubSpot refuses a portal something that only its admin can mend.
# Arguments: portal_id (int), feature (str, see models.RefusedFeature), reason (str).
feature_refused = Signal()
# After HubSpot refused a portal's refresh token for good. Argument: portal (Portal).
portal_disconnected = Signal()
