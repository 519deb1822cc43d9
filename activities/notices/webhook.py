"""Notices as signed events for other systems, by the Standard Webhooks scheme."""

import asyncio
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, quote_plus, urlsplit, urlunsplit

import requests
from requests.auth import AuthBase
from standardwebhooks import Webhook

from activities.notices.failures import ChannelUrlError, PermanentFailure, TransientFailure
from activities.notices.log import Notice
from activities.notices.message import Outgoing

_TRY_AGAIN = frozenset({408, 425, 429})
_AT_ONCE = 16
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_WANTED = "write webhook+https://HOST/PATH?secret=whsec_…"


@dataclass(frozen=True)
class WebhookChannel:
    """Posts each notice as one event to `url`, signed afresh at each attempt.

    Every attempt at a notice carries the same `webhook-id` and the same body, so that a receiver
    can drop what it already has. The URL is the operator's own setting, never a user's: it may
    lead anywhere, also into the operator's own network. `limit` bounds an attempt, in seconds.
    """

    name: str
    url: str
    secret: str = field(repr=False)
    limit: float = 20
    _threads: ThreadPoolExecutor = field(
        # Its own: a receiver that hangs must not keep the log or a Maildir from being written.
        default_factory=lambda: ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="webhook"),
        init=False,
        repr=False,
        compare=False,
    )

    async def deliver(self, outgoing: Outgoing) -> None:
        """Any 2xx is delivered; what it says besides is not read.

        Other 4xx than 408, 425 and 429 are permanent failures, 410 among them. Everything else
        passes by itself or can be mended within the day: 5xx, a redirect (never followed),
        silence, a lost connection.
        """
        body = event(outgoing.notice)
        try:
            async with asyncio.timeout(self.limit):
                status = await asyncio.get_running_loop().run_in_executor(
                    self._threads, self._post, _id(outgoing.notice), body
                )
        except (requests.RequestException, TimeoutError) as error:
            # Without the error's own words: they would show the path, which may be a secret.
            why = f"The receiver of webhooks could not be reached: {type(error).__name__}"
            raise TransientFailure(why) from None
        if 200 <= status < 300:
            return
        if 400 <= status < 500 and status not in _TRY_AGAIN:
            raise PermanentFailure(f"The receiver of webhooks refuses for good: {status}")
        raise TransientFailure(f"The receiver of webhooks does not take it now: {status}")

    def _post(self, number: str, body: str) -> int:
        now = datetime.now(UTC)
        headers = {
            "content-type": "application/json",
            "user-agent": "recourse",
            "webhook-id": number,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": Webhook(self.secret).sign(number, now, body),
        }
        with requests.post(
            self.url,
            data=body.encode(),
            headers=headers,
            auth=_NoLogin(),
            timeout=self.limit,
            allow_redirects=False,
            stream=True,  # closed unread: an endless answer costs nothing
        ) as response:
            return response.status_code


class _NoLogin(AuthBase):
    """Keeps requests from adding a password out of ~/.netrc: the signature is all there is."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


def event(notice: Notice) -> str:
    """The body: the same notice always makes the same text.

    Of the reader it says the role and what the notice itself says; no mail address.
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


def _id(notice: Notice) -> str:
    """The Message-ID's own digest: one for each (purchase, transition, role, channel)."""
    return f"msg_{notice.message_id.strip('<>').partition('@')[0]}"


def webhook_from_url(url: str, secret: str) -> WebhookChannel:
    """The channel that `webhook+https://HOST/PATH?secret=whsec_…` names; without a secret of its
    own it signs with `secret`. Plain `webhook+http://` is for this machine only.

    The channel's name shows the host and nothing else. Raises ChannelUrlError.
    """
    try:
        services = urlsplit(url.removeprefix("webhook+"))
        host, port = services.hostname, services.port
    except ValueError:
        host, port = None, None
    if not host or services.fragment or "@" in services.netloc:
        raise ChannelUrlError(f"The webhook's address cannot be read; {_WANTED}.")
    if services.scheme == "http" and host not in _LOOPBACK:
        raise ChannelUrlError("A webhook to another machine needs webhook+https://.")
    # A plus sign is a digit of base64; a form would read a space.
    options = parse_qsl(services.query.replace("+", "%2B"), keep_blank_values=True)
    own = [value for key, value in options if key == "secret"]
    query = "&".join(f"{quote_plus(k)}={quote_plus(v)}" for k, v in options if k != "secret")
    return WebhookChannel(
        name=f"webhook:{host}" + (f":{port}" if port else ""),
        url=urlunsplit(services._replace(query=query)),
        secret=_checked(own or [secret]),
    )


def _checked(secrets: Sequence[str]) -> str:
    secret: Any = secrets[0]
    if len(secrets) > 1 or not secret:
        raise ChannelUrlError(
            "A webhook needs one secret: ?secret=whsec_… or RECOURSE_WEBHOOK_SECRET."
        )
    try:
        Webhook(secret)
    except Exception:
        secret = None
    if secret is None or not secret.startswith("whsec_"):
        raise ChannelUrlError("The webhook's secret is not whsec_ followed by base64.")
    return str(secret)
