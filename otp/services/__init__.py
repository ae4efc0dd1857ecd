"""The use cases. Each is one function: keyword-only, told the time, raising what its caller must put into words."""

from otp.services.contact import (
    InvalidAddress,
    MissingAddress,
    NotConnected,
    RequestKeyTaken,
    lift_lock,
    lock_contact,
)
from otp.services.issuing import (
    COMPLETION_DELAY,
    COMPLETION_SCOPE,
    Issued,
    Limit,
    Overrides,
    RateLimited,
    issue_code,
)
from otp.services.verifying import MAXIMUM_WRONG_ATTEMPTS, verify_code

__all__ = [
    "COMPLETION_DELAY",
    "COMPLETION_SCOPE",
    "MAXIMUM_WRONG_ATTEMPTS",
    "InvalidAddress",
    "Issued",
    "Limit",
    "MissingAddress",
    "NotConnected",
    "Overrides",
    "RateLimited",
    "RequestKeyTaken",
    "issue_code",
    "lift_lock",
    "lock_contact",
    "verify_code",
]
