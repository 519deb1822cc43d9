"""Mail servers with TLS, by STARTTLS or from the start, and a login. A test authority issues their
certificates; `SSL_CERT_FILE` makes this machine trust it."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

import pytest
import trustme
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

from activities.notices.channels import channel_from_url
from activities.notices.failures import TransientFailure
from tests.notices.builders import SmtpHandler, listening
from tests.notices.environment import environment
from tests.notices.mailbox import quiet, read
from tests.notices.test_channels import outgoing
from tests.purchases import held

USER, PASSWORD = "notices", "pa:ss@word"

both_ways = pytest.mark.parametrize("scheme", ["smtp", "smtps"])


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """A certificate authority that no machine trusts by default."""
    return trustme.CA()


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this machine trust the authority."""
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))


class TlsServer:
    """The messages and logins that a mail server received."""

    def __init__(self) -> None:
        self.handler = SmtpHandler()
        self.logins: list[LoginPassword] = []
        self.url = ""

    def login(self, *asked: object) -> AuthResult:
        """Accept the one right login."""
        login = asked[-1]
        assert isinstance(login, LoginPassword)
        self.logins.append(login)
        good = login == LoginPassword(USER.encode(), PASSWORD.encode())
        return AuthResult(success=good, handled=False)


@asynccontextmanager
async def tls_server(
    authority: trustme.CA, scheme: str, host: str = "127.0.0.1"
) -> AsyncIterator[TlsServer]:
    """A mail server with a certificate for `host` that requires TLS and a login."""
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(host).configure_cert(tls)
    server, from_start = TlsServer(), scheme == "smtps"

    def protocol() -> SMTP:
        upgrade = {} if from_start else {"tls_context": tls, "require_starttls": True}
        return SMTP(
            server.handler,
            hostname="mail.test",
            authenticator=server.login,
            auth_required=True,
            auth_require_tls=not from_start,
            **upgrade,  # type: ignore[arg-type]
        )

    async with listening(protocol, tls=tls if from_start else None) as port:
        server.url = f"{scheme}://{USER}:{quote(PASSWORD, safe='')}@127.0.0.1:{port}"
        yield server


@both_ways
@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning")
async def test_notices_go_out_over_tls_after_a_login(
    scheme: str, authority: trustme.CA, trusted: None, tmp_path: Path
) -> None:
    """End to end: a purchase's notices are accepted, with the sender of the setting."""
    async with tls_server(authority, scheme) as server:
        origin = "Our market <notices@market.example>"
        async with environment(tmp_path, server.url, mail_from=origin) as env:
            handle = await held(env.server)
            await quiet(handle)
            await handle.terminate("checked")

    mails = [read(raw) for raw in server.handler.bodies()]
    assert sorted(mail.to for mail in mails) == ["ana@example.com", "bo@example.com"]
    assert {mail["From"] for mail in mails} == {origin}
    assert {mail.id.partition("@")[2] for mail in mails} == {"market.example>"}
    assert {envelope.mail_from for envelope in server.handler.kept} == {"notices@market.example"}
    assert len(server.logins) == 2


@both_ways
@pytest.mark.parametrize("host", ["127.0.0.1", "mail.example.org"])
@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning")
async def test_other_servers_do_not_get_the_password(
    scheme: str, host: str, authority: trustme.CA, request: pytest.FixtureRequest
) -> None:
    """An authority that this machine does not trust, or another server's certificate: no login, and
    a transient failure."""
    if host == "mail.example.org":
        request.getfixturevalue("trusted")
    async with tls_server(authority, scheme, host) as server:
        # After a STARTTLS that fails, the client sometimes gets no reply until its timeout.
        with pytest.raises(TransientFailure, match=r"(?i)certificate|timed out"):
            await channel_from_url(server.url).deliver(outgoing())
    assert server.logins == []
    assert server.handler.kept == []
