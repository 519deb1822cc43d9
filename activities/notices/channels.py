"""Ways to deliver a notice, chosen by address: `maildir:PATH`, `smtp://…`, `smtps://…` and
`webhook+https://…`."""

import asyncio
import contextlib
import hashlib
import os
import tempfile
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path
from typing import Protocol
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import aiosmtplib

from activities.notices.failures import ChannelUrlError, PermanentFailure, TransientFailure
from activities.notices.message import Outgoing
from activities.notices.webhook import webhook_from_url
from activities.sanitize import redacted


class Channel(Protocol):
    """One way to reach people."""

    @property
    def name(self) -> str:
        """Part of each Message-ID: the same notice through another channel is another message."""

    async def deliver(self, outgoing: Outgoing) -> None:
        """Return once the notice is safely handed over; raise Transient- or PermanentFailure."""


@dataclass(frozen=True)
class MaildirChannel:
    """Files messages for all readers into one Maildir, which any mail program can open.

    The file name comes from the Message-ID: a message already there, read or unread, is not
    written again. A message is on the disk, whole, before `deliver` returns.
    """

    path: Path
    name: str = "maildir"

    async def deliver(self, outgoing: Outgoing) -> None:
        """Any failure of the disk is transient: it concerns no reader in particular."""
        try:
            await asyncio.to_thread(lambda: self._write(outgoing.mail()))
        except OSError as error:
            why = error.strerror or type(error).__name__
            raise TransientFailure(f"The Maildir {self.path} cannot be written: {why}.") from None

    def _write(self, message: EmailMessage) -> None:
        tmp, new, cur = (self.path / part for part in ("tmp", "new", "cur"))
        for folder in (tmp, new, cur):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        name = _file_name(message)
        if (new / name).exists() or any(file.startswith(name) for file in os.listdir(cur)):
            return
        handle, draft = tempfile.mkstemp(prefix=f"{name}.", dir=tmp)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(message.as_bytes(policy=message.policy.clone(linesep="\n")))
                file.flush()
                os.fsync(file.fileno())
            os.replace(draft, new / name)
        except BaseException:
            Path(draft).unlink(missing_ok=True)
            raise
        _sync(new)


def _file_name(message: EmailMessage) -> str:
    """Sorts by the message's own date, so that a folder reads in order."""
    digest = hashlib.sha256(message["Message-ID"].encode()).hexdigest()[:32]
    return f"{int(message['Date'].datetime.timestamp())}.{digest}.recourse"


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@dataclass(frozen=True)
class SmtpChannel:
    """Hands messages to a mail server, one connection each.

    `starttls`: True demands it, None uses it when offered, False never does. `wait` bounds each
    exchange and `limit` the whole delivery, in seconds.
    """

    host: str
    port: int | None = None
    tls: bool = False
    starttls: bool | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    wait: float = 20
    limit: float = 60
    name: str = "smtp"

    async def deliver(self, outgoing: Outgoing) -> None:
        """A reader or message that the server refuses (5xx) is a permanent failure.

        Everything else passes by itself or can be mended by us within the day, and is transient:
        4xx, a lost connection, silence, and a 5xx to us (greeting, login, sender).
        """
        message = outgoing.mail()
        to: str = message["To"].addresses[0].addr_spec
        try:
            async with asyncio.timeout(self.limit):
                await self._send(message, to)
        except aiosmtplib.SMTPRecipientsRefused as error:
            raise _refusal(error.recipients[0], to) from None
        except aiosmtplib.SMTPDataError as error:
            raise _refusal(error, to) from None
        except aiosmtplib.SMTPResponseException as error:
            said = _said(error, to)
            raise TransientFailure(f"The mail server refuses our connection: {said}") from None
        except (aiosmtplib.SMTPException, OSError) as error:
            why = redacted(str(error), to) or type(error).__name__
            raise TransientFailure(f"The mail server could not be used: {why}") from None

    async def _send(self, message: EmailMessage, to: str) -> None:
        client = aiosmtplib.SMTP(
            hostname=self.host,
            port=self.port,
            use_tls=self.tls,
            start_tls=self.starttls,
            username=self.username,
            password=self.password,
            timeout=self.wait,
        )
        try:
            await client.connect()
            origin = message["From"].addresses[0].addr_spec
            await client.sendmail(origin, [to], message.as_bytes())
            # The server has taken the message: how the goodbye goes changes nothing.
            with contextlib.suppress(aiosmtplib.SMTPException, OSError):
                await client.quit(timeout=1)
        finally:
            client.close()


def _refusal(
    error: aiosmtplib.SMTPResponseException, to: str
) -> TransientFailure | PermanentFailure:
    if 500 <= error.code < 600:
        return PermanentFailure(f"The mail server refuses for good: {_said(error, to)}")
    return TransientFailure(f"The mail server refuses for now: {_said(error, to)}")


def _said(error: aiosmtplib.SMTPResponseException, to: str) -> str:
    return f"{error.code} {redacted(error.message, to)}".rstrip()


_STARTTLS = {"auto": None, "require": True, "off": False}
_WANTED = (
    "write maildir:PATH, smtp://HOST:PORT, smtps://USER:PASSWORD@HOST:PORT "
    "or webhook+https://HOST/PATH?secret=whsec_…"
)


def channels_from_urls(urls: str, webhook_secret: str = "") -> tuple[Channel, ...]:
    """The channels that `urls`, separated by white space, name; at least one, no two alike.

    Raises ChannelUrlError.
    """
    channels = tuple(channel_from_url(url, webhook_secret) for url in urls.split() or [""])
    names = [channel.name for channel in channels]
    for name in names:
        if names.count(name) > 1:
            raise ChannelUrlError(f"Two channels are called {name}; only one can be.")
    return channels


def channel_from_url(url: str, webhook_secret: str = "") -> Channel:
    """The channel that `url` names; a webhook without a secret of its own gets `webhook_secret`.

    `smtp://` may add `?starttls=auto` (when offered; the default), `require` or `off`; with a
    login the default is `require`, so that nobody can talk the password out of us in the clear.
    Raises ChannelUrlError.
    """
    scheme, colon, rest = url.partition(":")
    if scheme == "maildir" and colon:
        path = rest.removeprefix("//")
        if not path:
            raise ChannelUrlError(f"The mail address names no folder; {_WANTED}.")
        return MaildirChannel(Path(path))
    if scheme in ("smtp", "smtps") and colon:
        return _smtp(url)
    if scheme in ("webhook+https", "webhook+http") and colon:
        return webhook_from_url(url, webhook_secret)
    raise ChannelUrlError(f"The mail address starts with no known channel; {_WANTED}.")


def _smtp(url: str) -> SmtpChannel:
    try:
        services = urlsplit(url)
        host, port = services.hostname, services.port
    except ValueError:
        raise ChannelUrlError(f"The mail server's address cannot be read; {_WANTED}.") from None
    if not host or services.path not in ("", "/") or services.fragment:
        raise ChannelUrlError(f"The mail server's address cannot be read; {_WANTED}.")
    if (services.username is None) != (services.password is None):
        raise ChannelUrlError("A login at the mail server needs both a user and a password.")
    return SmtpChannel(
        host=host,
        port=port,
        tls=services.scheme == "smtps",
        starttls=_starttls(services),
        username=None if services.username is None else unquote(services.username),
        password=None if services.password is None else unquote(services.password),
    )


def _starttls(services: SplitResult) -> bool | None:
    options = dict(parse_qsl(services.query, keep_blank_values=True))
    choice = options.pop("starttls", None)
    if options:
        raise ChannelUrlError(f"Unknown option of the mail server: {', '.join(sorted(options))}.")
    if services.scheme == "smtps":
        if choice is not None:
            raise ChannelUrlError("smtps:// is encrypted from the start; leave starttls out.")
        return False
    choice = choice or ("auto" if services.username is None else "require")
    if choice not in _STARTTLS:
        raise ChannelUrlError(f"starttls is one of {', '.join(_STARTTLS)}.")
    return _STARTTLS[choice]
