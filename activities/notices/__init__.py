"""Notices to both parties and to operators: rendering, delivery and the log of it."""

from activities.notices.activity import NoticeActivities
from activities.notices.channels import (
    Channel,
    ChannelUrlError,
    MaildirChannel,
    PermanentFailure,
    SmtpChannel,
    TransientFailure,
    channel_from_url,
)
from activities.notices.log import DeliveryLog, Notice
from activities.notices.render import Rendered, render

__all__ = [
    "Channel",
    "ChannelUrlError",
    "DeliveryLog",
    "MaildirChannel",
    "Notice",
    "NoticeActivities",
    "PermanentFailure",
    "Rendered",
    "SmtpChannel",
    "TransientFailure",
    "channel_from_url",
    "render",
]
