"""Notices to operators, end to end: what needs attention, and which notices about money did not
reach a party. Each is sent once. A notice that does not reach the operators is not reported.

`test_every_row` proves which transitions operators are notified of.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowHandle
from temporalio.common import RetryPolicy

from activities.payments import ProviderUnreachable
from activities.payments.sandbox import SandboxProvider
from activities.requests import Undelivered
from demo.runner import POLL_EVERY, Handle, send, skip, start, status, until
from demo.scenarios import PRICE
from tests.notices.builders import SmtpHandler, mail_server
from tests.notices.environment import Environment, environment
from tests.notices.mailbox import Mail, inbox, quiet, read
from tests.purchases import held, purchase, purchase_of
from workflows import activity_calls, notifying
from workflows.lifecycle import retry_interval
from workflows.messages import Role

OPERATORS = "staff@example.com"
ANA, BO = "ana@example.com", "bo@example.com"
HOUR = timedelta(hours=1)
NEXT_RETRY = retry_interval("send_refund") + timedelta(minutes=1)


@pytest.fixture(autouse=True)
def _hourly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let retries be an hour apart, so that a day has few of them."""
    hourly = RetryPolicy(initial_interval=HOUR, backoff_coefficient=4.0)
    monkeypatch.setattr(notifying, "RETRY", hourly)


@asynccontextmanager
async def mail_replies(folder: Path, **rcpt: str) -> AsyncIterator[tuple[Environment, SmtpHandler]]:
    """An environment whose mail server gives these replies to the addresses of the roles."""
    names = {"client": ANA, "freelancer": BO, "operator": OPERATORS}
    handler = SmtpHandler(rcpt={names[role]: answer for role, answer in rcpt.items()})
    async with mail_server(handler) as port:
        url = f"smtp://127.0.0.1:{port}?starttls=off"
        async with environment(folder, url, operator_email=OPERATORS) as env:
            yield env, handler


def arrived(handler: SmtpHandler, to: str = OPERATORS) -> list[Mail]:
    """The mail to an address, in order of arrival."""
    return [mail for mail in map(read, handler.bodies()) if mail.to == to]


async def refunded(env: Environment, **changed: Any) -> Handle:
    """A closed purchase: paid, refunded and settled, all by messages."""
    handle = await held(env.server, **changed)
    await send(handle, Role.FREELANCER, "give_refund")
    found = await until(handle, lambda found: found.escrow.in_transit == PRICE)
    assert found.refund is not None
    settled = {"refund_id": found.refund.refund_id, "status": "settled"}
    await send(handle, Role.PAYMENTS, "settlement_update", **settled)
    await until(handle, lambda found: found.stage == "closed")
    return handle


# --- what needs a person


async def test_a_payment_that_cannot_be_voided_is_reported_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is retried, but operators get one notice, with the command that they can send."""
    monkeypatch.setattr(activity_calls, "BLOCKED_AFTER", timedelta(seconds=2))
    async with environment(tmp_path, operator_email=OPERATORS) as env:
        terms = purchase("pm_sandbox_unreachable", policy={"payment_window": "PT5S"})
        handle = await start(env.server.client, terms)
        unknown = "payment_unknown"
        await until(handle, lambda found: unknown in {each.kind for each in found.attention})
        first = (await status(handle)).attention[-1]
        await skip(env.server, handle, NEXT_RETRY)
        await until(handle, lambda found: found.attention[-1].since > first.since)

        *away, mail = inbox(tmp_path / "mail", terms.purchase_id)
        assert [each.transition for each in away] == ["effect_blocked"]  # while it was charged
        assert (mail.to, mail.transition) == (OPERATORS, unknown)
        assert terms.purchase_id in mail["Subject"]
        assert mail.shows("cannot be reached")
        assert mail.shows(f"resolve-attention {terms.purchase_id} --as operator")
        await handle.terminate("checked")


async def test_a_refund_that_cannot_be_sent_is_reported_once_and_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only operators are notified; when the provider works again, the refund is sent."""
    monkeypatch.setattr(activity_calls, "BLOCKED_AFTER", timedelta(seconds=2))

    def away(*_: object) -> None:
        raise ProviderUnreachable("the sandbox did not answer")

    async with environment(tmp_path, operator_email=OPERATORS) as env:
        handle = await held(env.server)
        with monkeypatch.context() as patch:
            patch.setattr(SandboxProvider, "refund", away)
            patch.setattr(SandboxProvider, "find_refund", away)
            await send(handle, Role.FREELANCER, "give_refund")
            await skip(env.server, handle, NEXT_RETRY)
            await until(handle, lambda found: bool(found.attention))
        await send(handle, Role.OPERATOR, "resolve_attention", action="retry")
        await until(handle, lambda found: not found.attention and found.refund is not None)
        await quiet(handle)

        mails = inbox(tmp_path / "mail", purchase_of(handle))
        received = [mail.transition for mail in mails if mail.to == OPERATORS]
        assert sorted(received) == ["attention_retried", "effect_blocked"]
        await handle.terminate("checked")


# --- a notice about money that did not reach its reader


async def test_a_rejected_notice_about_money_is_reported_once(tmp_path: Path) -> None:
    """550 for the client: operators are notified of each of her notices about money, with its name,
    the reason and the amount, but not of a message from the freelancer."""
    async with mail_replies(tmp_path, client="550 no such user") as (env, handler):
        handle = await held(env.server)
        await send(handle, Role.FREELANCER, "send_message", text="Hello?")
        await send(handle, Role.FREELANCER, "give_refund")
        await skip(env.server, handle, 2 * HOUR)
        await quiet(handle)
        found = await status(handle)
        lost = [(item.transition, item.role) for item in found.undelivered]
        await handle.terminate("checked")

    assert sorted(lost) == [
        ("freelancer_gave_refund", "client"),
        ("message_sent", "client"),
        ("payment_held", "client"),
    ]
    reports = arrived(handler)
    assert [mail.transition for mail in reports] == ["notice_undelivered"] * 2
    for mail, name in zip(reports, ("payment held", "freelancer gave refund"), strict=True):
        assert found.purchase_id in mail["Subject"]
        for pattern in (name, "the client", "550 no such user", r"250\.00", "escrow"):
            assert mail.shows(pattern), f"{pattern} is not in {mail.text}"
    assert arrived(handler, ANA) == []
    assert [mail.transition for mail in arrived(handler, BO)] == [
        "payment_held",
        "freelancer_gave_refund",
    ]


async def test_a_notice_about_money_is_reported_when_it_is_given_up(tmp_path: Path) -> None:
    """451 for the freelancer all day: operators are notified after a day, not before."""
    async with mail_replies(tmp_path, freelancer="451 try again") as (env, handler):
        handle = await held(env.server)
        await skip(env.server, handle, 20 * HOUR)
        assert arrived(handler) == []
        await skip(env.server, handle, 6 * HOUR)
        found = await until(handle, lambda found: bool(found.undelivered))
        await quiet(handle)
        await handle.terminate("checked")

    assert [(item.transition, item.role) for item in found.undelivered] == [
        ("payment_held", "freelancer")
    ]
    (mail,) = arrived(handler)
    assert mail.shows("payment held")
    assert mail.shows("451 try again")


async def test_undelivered_notices_are_reported_after_the_purchase_has_closed(
    tmp_path: Path,
) -> None:
    """The client's mail server greylists for days. The purchase closes with the right money and
    lists the notices as undelivered; a day later, operators are notified of them."""
    async with mail_replies(tmp_path, client="451 try again") as (env, handler):
        handle = await refunded(env)
        await skip(env.server, handle)
        assert (await handle.result()).refunded == PRICE
        shown = {(item.transition, item.role) for item in (await status(handle)).undelivered}
        last = await _last_notices(env, handle)
        await env.server.fast_forward(last)
        missed = await last.result()

    names = {"payment_held", "freelancer_gave_refund", "refund_settled"}
    assert {name for name, _ in shown} == names
    assert {(item.transition, item.role) for item in missed} == {(name, "client") for name in names}
    assert sorted(mail["X-Recourse-Transition"] for mail in arrived(handler)) == [
        "notice_undelivered"
    ] * len(names)


async def test_an_undelivered_report_is_not_reported(tmp_path: Path) -> None:
    """No mail arrives: each notice and each report is attempted once and listed, no more."""
    unknown = dict.fromkeys(("client", "freelancer", "operator"), "550 no such user")
    async with mail_replies(tmp_path, **unknown) as (env, handler):
        handle = await refunded(env)
        await skip(env.server, handle)
        await handle.result()
        found = await status(handle)
        log = env.notices(handle)

    assert handler.kept == []
    lost = [(item.transition, item.role) for item in found.undelivered]
    names = ("payment_held", "freelancer_gave_refund", "refund_settled")
    parties = [(name, role) for name in names for role in ("client", "freelancer")]
    assert sorted(lost) == sorted([*parties, *[("notice_undelivered", "operator")] * len(names)])
    assert {(notice.status, notice.attempts) for notice in log} == {("failed", 1)}


async def _last_notices(env: Environment, handle: Handle) -> WorkflowHandle[Any, list[Undelivered]]:
    """The workflow that delivers notices after a purchase has closed."""
    query = f"WorkflowType='PurchaseNotices' AND WorkflowId STARTS_WITH '{handle.id}/'"
    while not (found := [one async for one in env.server.client.list_workflows(query)]):  # noqa: ASYNC110
        await asyncio.sleep(POLL_EVERY)
    return env.server.client.get_workflow_handle(found[0].id, result_type=list[Undelivered])
