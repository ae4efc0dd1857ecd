"""What operators see of the connections, at the moment they ask."""

from collections import Counter
from collections.abc import Iterator

from django.db.models import Count, Q

from hubspot_integration.models import Portal, RefusedFeature
from opsagent.metrics import Gauge, gauges


@gauges
def portals() -> Iterator[Gauge]:
    """Tell how many portals are connected, and what HubSpot refuses them until their admins act."""
    numbers = Portal.objects.aggregate(
        connected=Count("pk", filter=Q(disconnected_at__isnull=True)),
        disconnected=Count("pk", filter=Q(disconnected_at__isnull=False)),
    )
    values: dict[tuple[str, ...], float] = {(state,): float(number) for state, number in numbers.items()}
    yield Gauge("opsagent_portals", "Portals that have the app, and portals that had it.", values, ("state",))
    refused: Counter[str] = Counter()
    for feature, number in RefusedFeature.objects.values_list("feature").annotate(number=Count("pk")):
        refused[feature.partition(":")[0]] += number  # the name of a property is the portal's own
    yield Gauge(
        "opsagent_refused_features",
        "What HubSpot refuses portals until an admin mends it.",
        {(feature,): float(number) for feature, number in refused.items()},
        ("feature",),
    )
