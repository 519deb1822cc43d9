"""Maildir and SMTP, with a real Maildir and a real mail server."""

import asyncio
import base64
import mailbox
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

from activities.notices.channels import (
    MaildirChannel,
    SmtpChannel,
    channel_from_url,
    channels_from_urls,
)
from activities.notices.failures import ChannelUrlError, PermanentFailure, TransientFailure
from activities.notices.log import Notice
from activities.notices.message import Outgoing, address, message_id, sender
from tests.notices.builders import SmtpHandler, at, channel_to, closed_port, listening, smtp_channel

ORIGIN = sender("Recourse <notices@recourse.invalid>")
TO = "ana@example.com"


def notice(number: str = "1", **changes: Any) -> Notice:
    values: dict[str, Any] = {
        "purchase_id": "p-1001",
        "transition_id": number,
        "transition": "payment_held",
        "role": "client",
        "address": TO,
        "channel": "maildir",
        "message_id": message_id("p-1001", number, "client", "maildir", "recourse.invalid"),
        "at": at(2026, 11, 23, 18, int(number)),
        "subject": "Payment is in escrow: Logótipo",
        "text": "Olá Ana,\n.\nFrom here on, it is safe.\n",
        "html": "<p>Olá</p>",
    }
    return Notice(**(values | changes))


def message(number: str = "1", name: str = "Ana", **changes: Any) -> EmailMessage:
    return Outgoing(notice(number, **changes), name, ORIGIN).mail()


def outgoing(number: str = "1", **changes: Any) -> Outgoing:
    return Outgoing(notice(number, **changes), "Ana", ORIGIN)


# --- The message ---------------------------------------------------------------------------


def test_the_same_notice_gives_the_same_bytes() -> None:
    assert message().as_bytes() == message().as_bytes()
    assert message().as_bytes().isascii()


def test_headers() -> None:
    read = message_from_bytes(message(name="Zoë Ångström").as_bytes(), policy=default)
    assert read["From"] == "Recourse <notices@recourse.invalid>"
    assert read["To"].addresses[0].display_name == "Zoë Ångström"
    assert read["Date"].datetime == at(2026, 11, 23, 18, 1)
    assert read["Subject"] == "Payment is in escrow: Logótipo"
    assert read["X-Recourse-Purchase"] == "p-1001"
    assert read["X-Recourse-Transition"] == "payment_held"
    assert read["In-Reply-To"] == read["References"] == message("2")["References"]
    assert read["References"] != message(role="freelancer")["References"]
    assert read["Message-ID"] != message("2")["Message-ID"]
    body = read.get_body(("plain",))
    assert body is not None
    assert body.get_content().splitlines() == notice().text.splitlines()
    assert [part.get_content_type() for part in read.iter_parts()] == ["text/plain", "text/html"]


@pytest.mark.parametrize(
    "text",
    [
        "Ana\r\nBcc: victim@example.com",
        "=?utf-8?q?a=0D=0ABcc:_victim@example.com?=",
        'Bo" <victim@example.com>, "x',
        "Dr. Ana (Lisboa), Lda.; " * 8,
        "名" * 200,
        "\u202eAna\x00",
        "",
    ],
)
def test_names_titles_and_ids_add_no_header(text: str) -> None:
    sent = message(name=text, subject=text, purchase_id=text, transition=text)
    read = message_from_bytes(sent.as_bytes(), policy=default)
    assert read["Bcc"] is None
    assert [found.addr_spec for found in read["To"].addresses] == [TO]
    assert sorted(read.keys()) == sorted(message().keys())
    assert not read.defects
    assert len(max(sent.as_bytes().splitlines(), key=len)) <= 998


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ana",
        "@example.com",
        "ana@",
        "a@b\r\nBcc: c@d",
        "a@b, c@d",
        "Ana <a@b.c>",
        "a b@c.d",
        "☕@example.com",
        "a@-x.com",
        "=?utf-8?q?x?=@example.com",
        "a@" + "x" * 300,
    ],
)
def test_the_error_of_a_wrong_address_does_not_repeat_it(text: str) -> None:
    with pytest.raises(PermanentFailure) as caught:
        address(text)
    assert not text or text not in str(caught.value)


def test_a_domain_beyond_ascii_is_sent_in_ascii() -> None:
    assert address("ana@bücher.example").addr_spec == "ana@xn--bcher-kva.example"


@pytest.mark.parametrize("text", ["", "Recourse", "Recourse <x>", "Recourse <a b@c>"])
def test_a_wrong_sender_raises_value_error(text: str) -> None:
    with pytest.raises(ValueError, match="Not a sender"):
        sender(text)


# --- Maildir -------------------------------------------------------------------------------


async def test_the_standard_library_reads_the_maildir(tmp_path: Path) -> None:
    channel = MaildirChannel(tmp_path / "deep" / "mail")
    for number in ("3", "1", "2"):
        await channel.deliver(outgoing(number))
    box = mailbox.Maildir(channel.path, create=False)
    names = sorted(box.keys())
    assert [box[name]["X-Recourse-Purchase"] for name in names] == ["p-1001"] * 3
    assert [box[name]["Message-ID"] for name in names] == [
        message(number)["Message-ID"] for number in ("1", "2", "3")
    ]
    assert b"\r" not in box.get_bytes(names[0])
    assert list((channel.path / "tmp").iterdir()) == []


async def test_a_maildir_holds_each_message_once_also_when_read(tmp_path: Path) -> None:
    channel = MaildirChannel(tmp_path)
    repeated = outgoing(updated_at=datetime(2026, 11, 23, tzinfo=UTC))
    await channel.deliver(outgoing())
    await asyncio.gather(*(channel.deliver(repeated) for _ in range(8)))
    box = mailbox.Maildir(tmp_path, create=False)
    (name,) = box.keys()
    seen = box[name]
    assert isinstance(seen, mailbox.MaildirMessage)
    seen.set_subdir("cur")
    seen.add_flag("S")
    box[name] = seen
    await channel.deliver(repeated)
    assert len(mailbox.Maildir(tmp_path, create=False)) == 1


async def test_a_new_notice_is_delivered_without_a_look_at_the_mails_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = MaildirChannel(tmp_path)
    await channel.deliver(outgoing("1"))
    with monkeypatch.context() as patched:
        patched.setattr("os.listdir", lambda _: pytest.fail("the folder was listed"))
        await channel.deliver(outgoing("2"))
    assert len(list((tmp_path / "new").iterdir())) == 2


async def test_an_unwritable_maildir_is_transient(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TransientFailure, match="cannot be written: Not a directory"):
        await MaildirChannel(tmp_path / "file" / "mail").deliver(outgoing())


# --- SMTP ----------------------------------------------------------------------------------


async def test_smtp_delivers_the_message_unchanged() -> None:
    handler = SmtpHandler()
    async with smtp_channel(handler) as channel:
        await channel.deliver(outgoing())
    (envelope,) = handler.kept
    assert envelope.mail_from == "notices@recourse.invalid"
    assert envelope.rcpt_tos == [TO]
    assert envelope.content == message().as_bytes()


async def test_while_messages_are_sent_a_free_connection_sends_the_next_one() -> None:
    """One message takes long; meanwhile five others need one more connection. Then all end."""
    handler, servers = SmtpHandler(), list[SMTP]()

    def counted() -> SMTP:
        servers.append(SMTP(handler, hostname="mail.test"))
        return servers[-1]

    async with listening(counted) as port:
        channel = channel_to(port)
        async with channel.connections.one(channel._client):
            for number in range(5):
                await channel.deliver(outgoing(str(number)))
        assert (len(handler.kept), len(servers)) == (5, 2)
        await channel.deliver(outgoing("6"))
        assert (len(handler.kept), len(servers)) == (6, 3)


@pytest.mark.parametrize(
    ("handler", "failure", "text"),
    [
        (SmtpHandler("451 greylisted"), TransientFailure, "451 greylisted"),
        (
            SmtpHandler("554 spam to ana@example.com"),
            PermanentFailure,
            "554 spam to a***@example.com",
        ),
        (SmtpHandler("lose"), TransientFailure, "could not be used"),
        (
            SmtpHandler(rcpt={TO: "450 <ana@example.com> busy"}),
            TransientFailure,
            "450 <a***@example.com>",
        ),
        (
            SmtpHandler(rcpt={TO: "550 no ana@example.com"}),
            PermanentFailure,
            "550 no a***@example.com",
        ),
    ],
)
async def test_smtp_rejections(handler: SmtpHandler, failure: type[Exception], text: str) -> None:
    async with smtp_channel(handler) as channel:
        with pytest.raises(failure) as caught:
            await channel.deliver(outgoing())
    assert text in str(caught.value)
    assert TO not in str(caught.value)
    assert handler.kept == []


async def test_an_unreachable_mail_server_is_transient() -> None:
    with pytest.raises(TransientFailure, match="could not be used"):
        await channel_to(closed_port()).deliver(outgoing())


class Script(asyncio.Protocol):
    """A server that sends a greeting and then nothing, or hangs up within the message."""

    def __init__(self, greeting: bytes, hang_up_on: bytes = b"never") -> None:
        self._greeting = greeting
        self._hang_up_on = hang_up_on
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._greeting)

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        if self._hang_up_on in data:
            self._transport.abort()
        elif self._hang_up_on != b"never":
            self._transport.write(b"354 go\r\n" if data.startswith(b"DATA") else b"250 OK\r\n")


@pytest.mark.parametrize(
    ("greeting", "hang_up_on", "text"),
    [
        (b"", b"never", "could not be used"),
        (b"220 hello\r\n", b"never", "could not be used"),
        (b"220 hello\r\n", b"Subject:", "could not be used"),
        (b"220 hello\r\n", b"MAIL", "could not be used"),
        (b"554 not for you\r\n", b"never", "rejects our connection: 554"),
        (b"nonsense\r\n", b"never", "mail server"),
    ],
)
async def test_smtp_timeouts_and_lost_connections(
    greeting: bytes, hang_up_on: bytes, text: str
) -> None:
    async with listening(lambda: Script(greeting, hang_up_on)) as port:
        with pytest.raises(TransientFailure, match=text):
            await channel_to(port, wait=0.2).deliver(outgoing())


async def test_the_whole_smtp_delivery_is_bounded() -> None:
    async with listening(lambda: Script(b"")) as port:
        with pytest.raises(TransientFailure, match="TimeoutError"):
            await channel_to(port, limit=0.1).deliver(outgoing())


@pytest.mark.parametrize(("password", "taken"), [("pa:ss@word", True), ("wrong", False)])
@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning")
async def test_smtp_login(password: str, taken: bool) -> None:
    """A rejected login is transient, because operators can repair it."""
    handler = SmtpHandler()

    def check(
        server: SMTP, session: object, envelope: object, mechanism: str, login: object
    ) -> AuthResult:
        assert isinstance(login, LoginPassword)
        return AuthResult(success=login == LoginPassword(b"notices", b"pa:ss@word"), handled=False)

    options = {"authenticator": check, "auth_required": True, "auth_require_tls": False}
    async with smtp_channel(handler, **options) as channel:
        quoted = password.replace("@", "%40").replace(":", "%3A")
        url = f"smtp://notices:{quoted}@127.0.0.1:{channel.port}?starttls=off"
        if taken:
            await channel_from_url(url).deliver(outgoing())
        else:
            with pytest.raises(TransientFailure, match="rejects our connection: 535"):
                await channel_from_url(url).deliver(outgoing())
    assert len(handler.kept) == int(taken)


async def test_a_login_is_not_sent_unencrypted() -> None:
    heard = bytearray()

    class Ear(Script):
        def data_received(self, data: bytes) -> None:
            heard.extend(data)
            super().data_received(data)

    async with listening(lambda: Ear(b"220 hello\r\n", b"QUIT")) as port:
        with pytest.raises(TransientFailure):
            await channel_from_url(f"smtp://me:secret@127.0.0.1:{port}").deliver(outgoing())
    assert b"AUTH" not in heard
    assert base64.b64encode(b"secret") not in heard


# --- Addresses of channels -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "channel"),
    [
        ("maildir:var/mail", MaildirChannel(Path("var/mail"))),
        ("maildir:///var/mail", MaildirChannel(Path("/var/mail"))),
        ("smtp://mail", SmtpChannel("mail")),
        ("smtp://mail:2525/?starttls=require", SmtpChannel("mail", 2525, starttls=True)),
        ("smtp://[::1]:25?starttls=off", SmtpChannel("::1", 25, starttls=False)),
        ("smtp://u:p%40q@mail", SmtpChannel("mail", None, False, True, "u", "p@q")),
        ("smtp://u:p@mail?starttls=auto", SmtpChannel("mail", None, False, None, "u", "p")),
        ("smtps://u:p@mail:465", SmtpChannel("mail", 465, True, False, "u", "p")),
    ],
)
def test_channel_addresses(url: str, channel: object) -> None:
    assert channel_from_url(url) == channel


@pytest.mark.parametrize(
    "url",
    [
        "",
        "maildir",
        "maildir:",
        "maildir://",
        "http://mail",
        "smtp:",
        "smtp://",
        "smtp://mail:port",
        "smtp://mail:99999",
        "smtp://user@mail",
        "smtp://mail/path",
        "smtp://mail?starttls=maybe",
        "smtp://mail?tls=on",
        "smtps://mail?starttls=off",
        "smtp://u:hidden@mail:bad",
        "smtp://[::1",
    ],
)
def test_wrong_channel_addresses(url: str) -> None:
    with pytest.raises(ChannelUrlError) as caught:
        channel_from_url(url)
    assert str(caught.value).endswith(".")
    assert "hidden" not in str(caught.value)


def test_a_channel_does_not_show_its_password() -> None:
    assert "secret" not in repr(channel_from_url("smtp://u:secret@mail"))


def test_several_channels_are_separated_by_white_space() -> None:
    assert channels_from_urls("maildir:var/mail") == (MaildirChannel(Path("var/mail")),)
    several = channels_from_urls("maildir:var/mail  smtp://mail\n")
    assert several == (MaildirChannel(Path("var/mail")), SmtpChannel("mail"))


@pytest.mark.parametrize("urls", ["", "  ", "maildir:a maildir:b", "maildir:a mail"])
def test_wrong_lists_of_channels(urls: str) -> None:
    with pytest.raises(ChannelUrlError):
        channels_from_urls(urls)
