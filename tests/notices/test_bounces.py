"""Mail that comes back after the mail server had accepted it is shown as undelivered."""

from pathlib import Path
from typing import Any

import pytest
from temporalio.testing import WorkflowEnvironment

from activities.notices.bounces import parse_bounce
from activities.notices.log import Notice
from activities.services import Services
from demo.runner import Handle, send, status, until
from starter.bounces import collect
from tests.purchases import held, purchase_of
from workflows.messages import Role

REPORT = """\
Return-Path: <>
Date: Sun, 29 Nov 2026 12:38:35 +0000 (UTC)
From: Mail Delivery System <MAILER-DAEMON@mail.test>
Subject: Undelivered Mail Returned to Sender
To: notices@recourse.test
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
	boundary="945CA2DA4C9.1795955915/mail.test"
Content-Transfer-Encoding: 8bit
Message-Id: <20261129123835.991F22DA4CF@mail.test>

This is a MIME-encapsulated message.

--945CA2DA4C9.1795955915/mail.test
Content-Description: Notification
Content-Type: text/plain; charset=utf-8

I'm sorry to have to inform you that your message could not be delivered.

--945CA2DA4C9.1795955915/mail.test
Content-Description: Delivery report
Content-Type: message/{utf8}delivery-status

Reporting-MTA: dns; mail.test
X-Postfix-Queue-ID: 945CA2DA4C9

Final-Recipient: {kind}; {address}
Original-Recipient: {kind};{address}
Action: {action}
Status: 5.1.1
Diagnostic-Code: X-Postfix; unknown user: "{address}"

--945CA2DA4C9.1795955915/mail.test
Content-Description: Undelivered Message
Content-Type: {returned}
Content-Transfer-Encoding: 8bit

Return-Path: <notices@recourse.test>
From: Recourse <notices@recourse.test>
To: {address}
Message-ID: {message_id}
X-Recourse-Purchase: p-1001
MIME-Version: 1.0
Content-Type: text/plain

Hello.

--945CA2DA4C9.1795955915/mail.test--
"""
"""As Postfix 3.7 writes it."""


ID, ANA, JOSE = "<1@recourse.test>", "ana@example.com", "josé@example.org"


def report(message_id: str = ID, address: str = ANA, **changed: str) -> bytes:
    kind = "rfc822" if address.isascii() else "utf-8"
    values = {"utf8": "", "action": "failed", "returned": "message/rfc822", "kind": kind}
    return REPORT.format(message_id=message_id, address=address, **(values | changed)).encode()


@pytest.mark.parametrize(
    ("address", "changed"),
    [
        ("ana@example.com", {}),
        ("ana@example.com", {"returned": "text/rfc822-headers"}),
        ("josé@example.org", {"utf8": "global-", "returned": "message/global"}),
    ],
)
def test_a_report_says_which_notice_came_back_and_why(
    address: str, changed: dict[str, str]
) -> None:
    bounce = parse_bounce(report(address=address, **changed))
    assert bounce
    assert (bounce.message_id, bounce.address) == ("<1@recourse.test>", address)
    assert bounce.why.startswith("The mail came back: 5.1.1 X-Postfix; unknown user: ")
    assert address not in bounce.why


@pytest.mark.parametrize(
    "mail",
    [
        report(action="delayed"),
        report(message_id=""),
        b"Subject: Out of office\n\nBack on Monday.",
        b"Content-Type: multipart/report\n\nnothing",
        b"\xff\x00",
        b"",
    ],
)
def test_every_other_mail_is_no_bounce(mail: bytes) -> None:
    assert parse_bounce(mail) is None


# --- the mailbox


def mailbox(folder: Path, *mails: bytes) -> Path:
    for name in ("new", "cur", "tmp"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for number, mail in enumerate(mails):
        (folder / "new" / f"{number}.mail").write_bytes(mail)
    return folder


def logged(services: Services, handle: Handle, role: str) -> list[Notice]:
    """The notices to this role."""
    return [each for each in services.notices.list(purchase_of(handle)) if each.role == role]


def sent(services: Services, handle: Handle, role: str) -> bool:
    return any(each.status == "sent" for each in logged(services, handle, role))


@pytest.mark.usefixtures("worker")
async def test_a_notice_that_came_back_is_undelivered_everywhere(
    server: WorkflowEnvironment, services: Services, tmp_path: Path
) -> None:
    """In the log of notices and in the status of the purchase; operators are notified. The same
    report again, or one for another reader, changes nothing."""
    handle = await held(server)
    await until(handle, lambda _: sent(services, handle, "client"))
    notice, *_ = logged(services, handle, "client")
    forged = report(notice.message_id, "mallory@example.com")
    came_back = report(notice.message_id, notice.address.upper())
    folder = mailbox(tmp_path / "box", forged, came_back, came_back, b"Subject: Hello\n\n")

    assert await collect(folder, services.notices, server.client) == 1
    found = await until(handle, lambda found: len(found.undelivered) == 1)
    assert await collect(folder, services.notices, server.client) == 0

    (lost,) = found.undelivered
    assert (lost.transition, lost.role) == (notice.transition, "client")
    assert "unknown user" in lost.why
    shown = logged(services, handle, "client")[0]
    assert (shown.status, shown.last_error) == ("failed", lost.why)
    await until(handle, lambda _: sent(services, handle, "operator"))
    (alert,) = logged(services, handle, "operator")
    assert alert.transition == "notice_undelivered"
    assert "unknown user" in alert.text
    assert not list((folder / "new").iterdir())
    assert len(list((folder / "cur").iterdir())) == 4


@pytest.mark.usefixtures("worker")
async def test_a_notice_of_a_closed_purchase_that_came_back_is_in_the_log(
    server: WorkflowEnvironment, services: Services, tmp_path: Path
) -> None:
    handle = await held(server, method="pm_sandbox_at_once")
    await send(handle, Role.FREELANCER, "cancel")
    await handle.result()
    notice, *_ = logged(services, handle, "client")
    folder = mailbox(tmp_path / "box", report(notice.message_id, notice.address))
    assert await collect(folder, services.notices, server.client) == 1
    assert logged(services, handle, "client")[0].status == "failed"
    assert (await status(handle)).undelivered == ()


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("payloads", [[], [{}], [None], [{"transition": 3}], ["x", "y"]])
async def test_no_payload_of_a_report_stops_a_purchase(
    server: WorkflowEnvironment, payloads: list[Any]
) -> None:
    handle = await held(server)
    await handle.signal("notice_came_back", args=payloads)
    found = await until(handle, lambda found: found.rejected_count == 1)
    assert found.undelivered == ()
