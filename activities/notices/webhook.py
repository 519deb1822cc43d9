"""Sends notices and events to other systems, signed by the Standard Webhooks scheme."""

import asyncio
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import parse_qsl, quote_plus, urlsplit, urlunsplit

import requests
from standardwebhooks import Webhook

from activities.notices.failures import ChannelUrlError, PermanentFailure, TransientFailure
from activities.notices.log import Notice
from activities.notices.message import Outgoing
from activities.requests import CONSUMER

_TRANSIENT = frozenset({408, 425, 429})
"""The 4xx that ask for another attempt."""

_CONCURRENT_POSTS = 16
"""Bounds the threads of one receiver. More would not help a receiver that hangs."""

CLOUD_EVENT = "application/cloudevents+json"
"""The content type of a CloudEvent in structured mode."""

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_USAGE = "write webhook+https://HOST/PATH?secret=whsec_…"


@dataclass(frozen=True)
class WebhookChannel:
    """Posts each notice or event to `url`, with a fresh signature at each attempt.

    Every attempt at a notice has the same `webhook-id` and the same body, so a receiver can drop
    duplicates. The URL is the operator's setting, never a user's: it is not filtered and may lead
    into the operator's own network. `limit` bounds an attempt, in seconds.
    """

    name: str
    url: str
    secret: str = field(repr=False)
    limit: float = 20
    _threads: ThreadPoolExecutor = field(
        # Separate threads: a receiver that hangs must not block the log or a Maildir.
        default_factory=lambda: ThreadPoolExecutor(_CONCURRENT_POSTS, thread_name_prefix="webhook"),
        init=False,
        repr=False,
        compare=False,
    )

    async def deliver(self, outgoing: Outgoing) -> None:
        """Post the notice. Any 2xx means delivered; the answer's body is not read.

        Raises PermanentFailure for a 4xx other than 408, 425 and 429, and TransientFailure for
        everything else: 5xx, a redirect (never followed), a timeout, a lost connection.
        """
        # The digest in the Message-ID: one for each purchase, transition, role and channel.
        digest, _, _ = outgoing.notice.message_id.strip("<>").partition("@")
        is_event = outgoing.notice.role == CONSUMER
        body = outgoing.notice.text if is_event else event(outgoing.notice)
        kind = CLOUD_EVENT if is_event else "application/json"
        what = "event" if is_event else "notice"
        try:
            async with asyncio.timeout(self.limit):
                status = await asyncio.get_running_loop().run_in_executor(
                    self._threads, self._post, f"msg_{digest}", kind, body
                )
        except (requests.RequestException, TimeoutError) as error:
            # Without the error's text: it would show the path, which may be a secret.
            why = f"The receiver of webhooks could not be reached: {type(error).__name__}"
            raise TransientFailure(why) from None
        if 200 <= status < 300:
            return
        if 400 <= status < 500 and status not in _TRANSIENT:
            raise PermanentFailure(f"The receiver of webhooks rejects the {what}: {status}")
        raise TransientFailure(f"The receiver of webhooks cannot take the {what} now: {status}")

    def _post(self, number: str, kind: str, body: str) -> int:
        now = datetime.now(UTC)
        headers = {
            "content-type": kind,
            "user-agent": "recourse",
            "webhook-id": number,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": Webhook(self.secret).sign(number, now, body),
        }
        with requests.post(
            self.url,
            data=body.encode(),
            headers=headers,
            auth=lambda post: post,  # else requests adds a password from ~/.netrc
            timeout=self.limit,
            allow_redirects=False,
            stream=True,  # the body is never read, so an endless one does no harm
        ) as response:
            return response.status_code


def event(notice: Notice) -> str:
    """The body in which a notice is posted. The same notice always gives the same body.

    It holds the reader's role and the notice's text, but no mail address.
    """
    return json.dumps(
        {
            "type": f"purchase.{notice.transition}" if notice.purchase_id else "operators.alert",
            "timestamp": notice.at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
            "data": {
                "purchase_id": notice.purchase_id or None,
                "transition": notice.transition,
                "transition_id": notice.transition_id,
                "role": notice.role,
                "subject": notice.subject,
                "text": notice.text,
            },
        },
        separators=(",", ":"),
    )


def webhook_from_url(url: str, secret: str) -> WebhookChannel:
    """The channel for `webhook+https://HOST/PATH?secret=whsec_…`. Without `?secret=` it signs with
    `secret`. `webhook+http://` is for this machine only.

    The channel's name shows the host and the port only. Raises ChannelUrlError.
    """
    try:
        parts = urlsplit(url.removeprefix("webhook+"))
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or parts.fragment or "@" in parts.netloc:
        raise ChannelUrlError(f"The webhook's address is invalid; {_USAGE}.")
    if parts.scheme == "http" and host not in _LOOPBACK:
        raise ChannelUrlError("A webhook to another machine needs webhook+https://.")
    # "+" is a digit of base64, but parse_qsl reads it as a space.
    options = parse_qsl(parts.query.replace("+", "%2B"), keep_blank_values=True)
    own = [value for key, value in options if key == "secret"]
    query = "&".join(f"{quote_plus(k)}={quote_plus(v)}" for k, v in options if k != "secret")
    return WebhookChannel(
        name=f"webhook:{host}" + (f":{port}" if port else ""),
        url=urlunsplit(parts._replace(query=query)),
        secret=_checked(own or [secret]),
    )


def _checked(secrets: Sequence[str]) -> str:
    secret = secrets[0]
    if len(secrets) > 1 or not secret:
        raise ChannelUrlError(
            "A webhook needs one secret: ?secret=whsec_… or RECOURSE_WEBHOOK_SECRET."
        )
    try:
        if not secret.startswith("whsec_"):
            raise ValueError
        Webhook(secret)
    except Exception:  # the library raises several kinds
        raise ChannelUrlError("The webhook's secret is not whsec_ followed by base64.") from None
    return secret
