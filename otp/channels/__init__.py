"""Where codes are delivered: one file per destination, one small protocol."""

from typing import Final

from otp.channels.base import Channel, Clock, FollowUp, Outcome
from otp.channels.contact_property import ContactPropertyChannel
from otp.channels.email import EmailChannel
from otp.channels.workflow_completion import WorkflowCompletionChannel, WorkflowConfirmationChannel
from otp.models import ChannelName

__all__ = ["CHANNELS", "Channel", "Clock", "FollowUp", "Outcome"]

CHANNELS: Final[dict[ChannelName, Channel]] = {
    ChannelName.CONTACT_PROPERTY: ContactPropertyChannel(),
    ChannelName.EMAIL: EmailChannel(),
    ChannelName.WORKFLOW_COMPLETION: WorkflowCompletionChannel(),
    ChannelName.WORKFLOW_CONFIRMATION: WorkflowConfirmationChannel(),
}
