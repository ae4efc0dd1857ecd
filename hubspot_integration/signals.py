"""What the platform tells whoever listens. Receivers live with the product."""

from django.dispatch import Signal

# After an installation has been committed. Arguments: portal (Portal), scopes (set of str), member (PortalMember: who
# installed it).
portal_connected = Signal()
# The first time HubSpot refuses a portal something that only its admin can mend.
# Arguments: portal_id (int), feature (str, see models.RefusedFeature).
feature_refused = Signal()
# After a portal was disconnected: HubSpot refused its refresh token for good, or somebody asked for it.
# Arguments: portal (Portal), asked_by (str: that person's e-mail address, empty when HubSpot refused), by_staff (bool:
# asked_by is the user name of somebody in support staff).
portal_disconnected = Signal()
# HubSpot says that contacts were deleted, for privacy's sake or not. Argument: contacts (list of pairs of portal id and
# contact id, of portals that are known). A receiver that raises makes HubSpot tell again.
contacts_deleted = Signal()
