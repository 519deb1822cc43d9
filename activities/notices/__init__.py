"""Notices to both parties and to operators: rendering, delivery and the log of it."""

from activities.notices.activity import NoticeActivities
from activities.notices.channels import (
    Channel,
    MaildirChannel,
    SmtpChannel,
    channel_from_url,
    channels_from_urls,
)
from activities.notices.failures import ChannelUrlError, PermanentFailure, TransientFailure
from activities.notices.log import DeliveryLog, Notice, standing
from activities.notices.message import Outgoing
from activities.notices.render import Rendered, render
from activities.notices.webhook import WebhookChannel

__all__ = [
    "Channel",
    "ChannelUrlError",
    "DeliveryLog",
    "MaildirChannel",
    "Notice",
    "NoticeActivities",
    "Outgoing",
    "PermanentFailure",
    "Rendered",
    "SmtpChannel",
    "TransientFailure",
    "WebhookChannel",
    "channel_from_url",
    "channels_from_urls",
    "render",
    "standing",
]
