"""Mail servers that speak TLS, by STARTTLS or from the start, and want a login. Their certificate
comes from an authority of our own, which the machine is told of by `SSL_CERT_FILE`."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

import pytest
import trustme
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

from activities.notices import TransientFailure, channel_from_url
from tests.notices.builders import Post, listening
from tests.notices.environment import house
from tests.notices.mailbox import quiet, read
from tests.notices.test_channels import outgoing
from tests.purchases import held

USER, PASSWORD = "notices", "pa:ss@word"

both_ways = pytest.mark.parametrize("scheme", ["smtp", "smtps"])


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """A certificate authority that no machine knows by itself."""
    return trustme.CA()


@pytest.fixture
def known(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine knows it."""
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))


class Office:
    """What a mail server has seen."""

    def __init__(self) -> None:
        self.post = Post()
        self.logins: list[LoginPassword] = []
        self.url = ""

    def login(self, *asked: object) -> AuthResult:
        """Whether it is one of ours who logs in."""
        login = asked[-1]
        assert isinstance(login, LoginPassword)
        self.logins.append(login)
        good = login == LoginPassword(USER.encode(), PASSWORD.encode())
        return AuthResult(success=good, handled=False)


@asynccontextmanager
async def office(
    authority: trustme.CA, scheme: str, host: str = "127.0.0.1"
) -> AsyncIterator[Office]:
    """A mail server with the certificate of `host`: no mail without TLS and a login."""
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(host).configure_cert(tls)
    here, from_start = Office(), scheme == "smtps"

    def protocol() -> SMTP:
        upgrade = {} if from_start else {"tls_context": tls, "require_starttls": True}
        return SMTP(
            here.post,
            hostname="mail.test",
            authenticator=here.login,
            auth_required=True,
            auth_require_tls=not from_start,
            **upgrade,  # type: ignore[arg-type]
        )

    async with listening(protocol, tls=tls if from_start else None) as port:
        here.url = f"{scheme}://{USER}:{quote(PASSWORD, safe='')}@127.0.0.1:{port}"
        yield here


@both_ways
@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning")
async def test_notices_go_out_over_tls_after_a_login(
    scheme: str, authority: trustme.CA, known: None, tmp_path: Path
) -> None:
    """On the whole path: a purchase's notices are taken, from whom the setting says."""
    async with office(authority, scheme) as here:
        origin = "Our market <notices@market.example>"
        async with house(tmp_path, here.url, mail_from=origin) as at:
            handle = await held(at.server)
            await quiet(handle)
            await handle.terminate("seen")

    mails = [read(raw) for raw in here.post.bodies()]
    assert sorted(mail.to for mail in mails) == ["ana@example.com", "bo@example.com"]
    assert {mail["From"] for mail in mails} == {origin}
    assert {mail.id.partition("@")[2] for mail in mails} == {"market.example>"}
    assert {envelope.mail_from for envelope in here.post.kept} == {"notices@market.example"}
    assert len(here.logins) == 2


@both_ways
@pytest.mark.parametrize("host", ["127.0.0.1", "mail.example.org"])
@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning")
async def test_nobody_else_gets_the_password(
    scheme: str, host: str, authority: trustme.CA, request: pytest.FixtureRequest
) -> None:
    """An authority that this machine does not know, or another server's certificate: no login, and
    the notice is tried again."""
    if host == "mail.example.org":
        request.getfixturevalue("known")
    async with office(authority, scheme, host) as here:
        # Of a STARTTLS that breaks off, the client now and then hears only silence.
        with pytest.raises(TransientFailure, match=r"(?i)certificate|timed out"):
            await channel_from_url(here.url).deliver(outgoing())
    assert here.logins == []
    assert here.post.kept == []
