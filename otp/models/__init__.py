"""What the product stores, a noun a file.

Constraints say what must hold between columns and rows, and no more, because every one is paid for with each code: numbers
that only the product itself writes are plain, and rows that come with a code leave the portal's existence to the code.
"""

from otp.models.audit import FOR_EVER, AuditChain, AuditEvent, AuditLink, AuditMark, AuditNote, AuditQuerySet
from otp.models.code import EndReason, Life, OneTimeCode, OneTimeCodeQuerySet, Source, new_reference
from otp.models.contact import ContactGuard, GuessBudget
from otp.models.delivery import ChannelName, Delivery, DeliveryQuerySet, DeliveryStatus
from otp.models.erasure import ErasureRequest
from otp.models.settings import (
    DAY_IN_MINUTES,
    LONGEST_RETENTION_DAYS,
    CodeVisibility,
    OTPSettings,
    ResendPolicy,
    first_version,
)
from otp.models.texts import TEXT_LIMIT, EmailTexts
from otp.models.verification import Verification, VerificationReason, VerificationResult

__all__ = [
    "DAY_IN_MINUTES",
    "FOR_EVER",
    "LONGEST_RETENTION_DAYS",
    "TEXT_LIMIT",
    "AuditChain",
    "AuditEvent",
    "AuditLink",
    "AuditMark",
    "AuditNote",
    "AuditQuerySet",
    "ChannelName",
    "CodeVisibility",
    "ContactGuard",
    "Delivery",
    "DeliveryQuerySet",
    "DeliveryStatus",
    "EmailTexts",
    "EndReason",
    "ErasureRequest",
    "GuessBudget",
    "Life",
    "OTPSettings",
    "OneTimeCode",
    "OneTimeCodeQuerySet",
    "ResendPolicy",
    "Source",
    "Verification",
    "VerificationReason",
    "VerificationResult",
    "first_version",
    "new_reference",
]
