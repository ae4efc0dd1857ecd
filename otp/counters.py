"""What operators count of the product's work (see opsagent.metrics)."""

from typing import Final

from opsagent.metrics import Counter, Histogram

CODES_ISSUED: Final = Counter(
    "opsagent_codes_issued_total", "Codes made; an execution that HubSpot repeats makes none.", ("source",)
)
CODES_REFUSED: Final = Counter(
    "opsagent_codes_refused_total", "Generate OTP steps that ended as failed, by their otp_error.", ("error",)
)
VERIFICATIONS: Final = Counter(
    "opsagent_verifications_total", "Checks that came to a decision, by their otp_reason.", ("source", "reason")
)
CHECKS_REFUSED: Final = Counter(
    "opsagent_checks_refused_total",
    "Verify OTP steps in which nothing could be checked, by their otp_reason.",
    ("reason",),
)
DELIVERIES: Final = Counter(
    "opsagent_deliveries_total",
    "Attempts to deliver: sent, failed for good, or postponed (pending).",
    ("channel", "status"),
)
DELIVERY_SECONDS: Final = Histogram(
    "opsagent_delivery_seconds",
    "From the making of a code to its arrival; a completion waits for its siblings and at least two seconds.",
    (0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0),
    ("channel",),
)
