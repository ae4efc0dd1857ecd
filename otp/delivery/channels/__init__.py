"""Where codes are delivered: one file per destination, one small protocol."""

from typing import Final

from otp.delivery.channels.base import BOUNCED_LATELY, Channel, Clock, FollowUp, Outcome, Step
from otp.delivery.channels.contact_property import ContactPropertyChannel
from otp.delivery.channels.email import EmailChannel
from otp.delivery.channels.property_check import PropertyCheckChannel
from otp.delivery.channels.property_clearing import PropertyClearingChannel
from otp.delivery.channels.workflow_completion import WorkflowCompletionChannel, WorkflowConfirmationChannel
from otp.models import ChannelName

__all__ = ["BOUNCED_LATELY", "CHANNELS", "TURNS", "Channel", "Clock", "FollowUp", "Outcome", "Step"]

CHANNELS: Final[dict[ChannelName, Channel]] = {
    ChannelName.CONTACT_PROPERTY: ContactPropertyChannel(),
    ChannelName.EMAIL: EmailChannel(),
    ChannelName.WORKFLOW_COMPLETION: WorkflowCompletionChannel(),
    ChannelName.WORKFLOW_CONFIRMATION: WorkflowConfirmationChannel(),
    ChannelName.PROPERTY_CLEARING: PropertyClearingChannel(),
    ChannelName.PROPERTY_CHECK: PropertyCheckChannel(),
}

TURNS: Final = {
    ChannelName.PROPERTY_CLEARING: ChannelName.CONTACT_PROPERTY,
    ChannelName.PROPERTY_CHECK: ChannelName.CONTACT_PROPERTY,
}
"""Channels that never work at the same time in one portal as another one, whose turn they take."""
