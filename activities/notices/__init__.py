"""Notices to both parties and to operators: writing, delivery and the delivery log."""

from activities.notices.activity import SENDER, NoticeActivities
from activities.notices.channels import (
    Channel,
    MaildirChannel,
    SmtpChannel,
    channel_from_url,
    channels_from_urls,
)
from activities.notices.failures import ChannelUrlError, PermanentFailure, TransientFailure
from activities.notices.log import DeliveryLog, Notice, effective_status
from activities.notices.message import Outgoing, mail_address, sender, web_address
from activities.notices.render import Rendered, render
from activities.notices.webhook import WebhookChannel

__all__ = [
    "SENDER",
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
    "effective_status",
    "mail_address",
    "render",
    "sender",
    "web_address",
]
