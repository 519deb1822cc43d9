"""Channels that deliver notices, chosen by address: `maildir:PATH`, `smtp://…`, `smtps://…` and
`webhook+https://…`."""

import asyncio
import contextlib
import hashlib
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path
from typing import Protocol
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import aiosmtplib

from activities.notices.failures import ChannelUrlError, PermanentFailure, TransientFailure
from activities.notices.message import Outgoing, address, is_ascii
from activities.notices.webhook import webhook_from_url
from activities.sanitize import redacted

ASKED_WITHIN = 3
"""Seconds for a mail server to say what it offers; the activity that validates a start waits."""
NO_UTF8 = "mail server takes only ASCII characters before the @ of an address."


class Channel(Protocol):
    """A way to deliver notices."""

    @property
    def name(self) -> str:
        """Part of each Message-ID, so each channel sends the same notice as its own message."""

    async def deliver(self, outgoing: Outgoing) -> None:
        """Return when the notice is delivered. Raises TransientFailure or PermanentFailure."""


@dataclass(frozen=True)
class MaildirChannel:
    """Writes messages for all readers to one Maildir, which any mail program can open.

    The Message-ID gives the file name: a message that is already there, read or unread, is not
    written again. The whole message is on disk before `deliver` returns.
    """

    path: Path
    name: str = "maildir"

    async def deliver(self, outgoing: Outgoing) -> None:
        """Write the message. Every failure of the disk is transient."""
        try:
            await asyncio.to_thread(lambda: self._write(outgoing.mail(), outgoing.is_new))
        except OSError as error:
            why = error.strerror or type(error).__name__
            raise TransientFailure(f"The Maildir {self.path} cannot be written: {why}.") from None

    def _write(self, message: EmailMessage, is_new: bool) -> None:
        tmp, new, cur = (self.path / part for part in ("tmp", "new", "cur"))
        if not cur.exists():
            for folder in (tmp, new, cur):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        name = _file_name(message)
        # A read mail is found only by a list of the folder, which may have 100,000.
        if not is_new and (
            (new / name).exists() or any(file.startswith(name) for file in os.listdir(cur))
        ):
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
    """Starts with the message's date, so that the folder is in order."""
    digest = hashlib.sha256(message["Message-ID"].encode()).hexdigest()[:32]
    return f"{int(message['Date'].datetime.timestamp())}.{digest}.recourse"


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class SmtpConnections:
    """Connections to one mail server. While messages are being sent, one that is free serves the
    next; after the last message all are closed."""

    def __init__(self) -> None:
        self._free: list[aiosmtplib.SMTP] = []
        self._users = 0

    @asynccontextmanager
    async def one(self, client: Callable[[], aiosmtplib.SMTP]) -> AsyncIterator[aiosmtplib.SMTP]:
        """A connection for one message; `client` makes one. It is closed if the block raises."""
        self._users += 1
        try:
            connected = await self._connected(client)
            try:
                yield connected
            except BaseException:
                connected.close()
                raise
            self._free.append(connected)
        finally:
            self._users -= 1
            if not self._users:
                await self._close()

    async def _connected(self, client: Callable[[], aiosmtplib.SMTP]) -> aiosmtplib.SMTP:
        while self._free:
            free = self._free.pop()
            if free.is_connected:
                return free
            free.close()
        new = client()
        try:
            await new.connect()
        except BaseException:
            new.close()
            raise
        return new

    async def _close(self) -> None:
        """The server has every message: a failure from here on changes nothing."""
        free, self._free = self._free, []
        for each in free:
            with contextlib.suppress(aiosmtplib.SMTPException, OSError):
                await each.quit(timeout=1)
            each.close()


@dataclass(frozen=True)
class SmtpChannel:
    """Sends messages to a mail server.

    `starttls`: True requires it, None uses it if offered, False never uses it. `wait` bounds each
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
    connections: SmtpConnections = field(default_factory=SmtpConnections, repr=False, compare=False)

    async def deliver(self, outgoing: Outgoing) -> None:
        """Send the message. A 5xx for the reader or the message is a permanent failure.

        Everything else is transient: it ends by itself, or operators can repair it within the day.
        That is a 4xx, a lost connection, a timeout, and a 5xx for us (greeting, login, sender).
        """
        message = outgoing.mail()
        to: str = message["To"].addresses[0].addr_spec
        try:
            async with asyncio.timeout(self.limit):
                await self._send(message, to)
        except aiosmtplib.SMTPRecipientsRefused as error:
            raise _rejection(error.recipients[0], to) from None
        except aiosmtplib.SMTPDataError as error:
            raise _rejection(error, to) from None
        except aiosmtplib.SMTPNotSupported:
            raise PermanentFailure(f"The {NO_UTF8}") from None
        except aiosmtplib.SMTPResponseException as error:
            reply = _reply(error, to)
            raise TransientFailure(f"The mail server rejects our connection: {reply}") from None
        except (aiosmtplib.SMTPException, OSError) as error:
            why = redacted(str(error), to) or type(error).__name__
            raise TransientFailure(f"The mail server could not be used: {why}") from None

    async def offers_utf8(self) -> bool | None:
        """Whether the mail server delivers to addresses beyond ASCII (SMTPUTF8, RFC 6531). None if
        it cannot be asked now."""
        client = self._client()
        try:
            async with asyncio.timeout(ASKED_WITHIN):
                await client.connect()
                await client.ehlo()
                return client.supports_extension("smtputf8")
        except (aiosmtplib.SMTPException, OSError):
            return None
        finally:
            client.close()

    def _client(self) -> aiosmtplib.SMTP:
        return aiosmtplib.SMTP(
            hostname=self.host,
            port=self.port,
            use_tls=self.tls,
            start_tls=self.starttls,
            username=self.username,
            password=self.password,
            timeout=self.wait,
        )

    async def _send(self, message: EmailMessage, to: str) -> None:
        options = () if to.isascii() else ("SMTPUTF8", "BODY=8BITMIME")
        origin = message["From"].addresses[0].addr_spec
        async with self.connections.one(self._client) as client:
            await client.sendmail(origin, [to], message.as_bytes(), mail_options=options)


def _rejection(
    error: aiosmtplib.SMTPResponseException, to: str
) -> TransientFailure | PermanentFailure:
    if 500 <= error.code < 600:
        return PermanentFailure(f"The mail server rejects the notice: {_reply(error, to)}")
    return TransientFailure(f"The mail server cannot take the notice now: {_reply(error, to)}")


def _reply(error: aiosmtplib.SMTPResponseException, to: str) -> str:
    return f"{error.code} {redacted(error.message, to)}".rstrip()


async def mail_problem(channels: Sequence[Channel], text: str) -> str:
    """Why mail to this valid address is certain to fail; empty if it is not. A mail server is asked
    only about an address beyond ASCII; one that does not answer rejects none."""
    if is_ascii(address(text)):
        return ""
    servers = [channel for channel in channels if isinstance(channel, SmtpChannel)]
    offers = await asyncio.gather(*(server.offers_utf8() for server in servers))
    return f"cannot get mail: the {NO_UTF8} Give another address." if False in offers else ""


_STARTTLS = {"auto": None, "require": True, "off": False}
_USAGE = (
    "write maildir:PATH, smtp://HOST:PORT, smtps://USER:PASSWORD@HOST:PORT "
    "or webhook+https://HOST/PATH?secret=whsec_…"
)


def channels_from_urls(urls: str, webhook_secret: str = "") -> tuple[Channel, ...]:
    """The channels for `urls`, which are separated by white space: at least one.

    Raises ChannelUrlError for a wrong address and for two channels with the same name.
    """
    channels = tuple(channel_from_url(url, webhook_secret) for url in urls.split() or [""])
    names = [channel.name for channel in channels]
    for name in names:
        if names.count(name) > 1:
            raise ChannelUrlError(f"Two channels have the name {name}; leave one out.")
    return channels


def channel_from_url(url: str, webhook_secret: str = "") -> Channel:
    """The channel for `url`. A webhook without `?secret=` signs with `webhook_secret`.

    `smtp://` takes `?starttls=auto` (use it if offered; the default), `require` or `off`. With a
    login the default is `require`: an attacker could otherwise strip the offer and read the
    password. Raises ChannelUrlError.
    """
    scheme, colon, rest = url.partition(":")
    if scheme == "maildir" and colon:
        path = rest.removeprefix("//")
        if not path:
            raise ChannelUrlError(f"The address of the Maildir names no folder; {_USAGE}.")
        return MaildirChannel(Path(path))
    if scheme in ("smtp", "smtps") and colon:
        return _smtp(url)
    if scheme in ("webhook+https", "webhook+http") and colon:
        return webhook_from_url(url, webhook_secret)
    raise ChannelUrlError(f"The address names no known channel; {_USAGE}.")


def _smtp(url: str) -> SmtpChannel:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ChannelUrlError(f"The mail server's address is invalid; {_USAGE}.") from None
    if not host or parts.path not in ("", "/") or parts.fragment:
        raise ChannelUrlError(f"The mail server's address is invalid; {_USAGE}.")
    if (parts.username is None) != (parts.password is None):
        raise ChannelUrlError("A login at the mail server needs both a user and a password.")
    return SmtpChannel(
        host=host,
        port=port,
        tls=parts.scheme == "smtps",
        starttls=_starttls(parts),
        username=None if parts.username is None else unquote(parts.username),
        password=None if parts.password is None else unquote(parts.password),
    )


def _starttls(parts: SplitResult) -> bool | None:
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    choice = options.pop("starttls", None)
    if options:
        raise ChannelUrlError(
            f"Unknown option in the mail server's address: {', '.join(sorted(options))}."
        )
    if parts.scheme == "smtps":
        if choice is not None:
            raise ChannelUrlError("smtps:// is always encrypted; leave starttls out.")
        return False
    choice = choice or ("auto" if parts.username is None else "require")
    if choice not in _STARTTLS:
        raise ChannelUrlError(f"starttls is one of {', '.join(_STARTTLS)}.")
    return _STARTTLS[choice]
