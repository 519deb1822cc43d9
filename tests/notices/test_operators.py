"""What the operators are told, on the whole path: what needs a person, and which notice about
money did not reach its reader. Each once; what does not reach the operators is not told of again.

That `RULES.md`'s rows tell the operators what they should is in `test_every_row`.
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
from demo.runner import LOOK_EVERY, Handle, say, skip, start, status, until
from demo.scenarios import PRICE
from tests.notices.builders import Post, mail_server
from tests.notices.environment import House, house
from tests.notices.mailbox import Mail, inbox, quiet, read
from tests.purchases import held, purchase, purchase_of
from workflows import effects, notifying
from workflows.messages import Role

OPERATORS = "staff@example.com"
ANA, BO = "ana@example.com", "bo@example.com"
HOUR = timedelta(hours=1)
AGAIN = effects.RETRY_BLOCKED_EVERY + timedelta(minutes=1)


@pytest.fixture(autouse=True)
def _hourly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries are an hour apart, so that a day of them is soon over."""
    once_an_hour = RetryPolicy(initial_interval=HOUR, backoff_coefficient=4.0)
    monkeypatch.setattr(notifying, "RETRY", once_an_hour)


@asynccontextmanager
async def posted(folder: Path, **rcpt: str) -> AsyncIterator[tuple[House, Post]]:
    """A house whose mail server answers to each role's address like that."""
    names = {"client": ANA, "freelancer": BO, "operator": OPERATORS}
    post = Post(rcpt={names[role]: answer for role, answer in rcpt.items()})
    async with mail_server(post) as port:
        url = f"smtp://127.0.0.1:{port}?starttls=off"
        async with house(folder, url, operator_email=OPERATORS) as at:
            yield at, post


def arrived(post: Post, to: str = OPERATORS) -> list[Mail]:
    """What an address has got, in order of arrival."""
    return [mail for mail in map(read, post.bodies()) if mail.to == to]


async def refunded(at: House, **changed: Any) -> Handle:
    """A purchase that was paid, given back and settled, all by messages; it is closed."""
    handle = await held(at.server, **changed)
    await say(handle, Role.FREELANCER, "give_refund")
    found = await until(handle, lambda found: found.escrow.in_transit == PRICE)
    assert found.refund is not None
    settled = {"refund_id": found.refund.refund_id, "status": "settled"}
    await say(handle, Role.PAYMENTS, "settlement_update", **settled)
    await until(handle, lambda found: found.stage == "closed")
    return handle


# --- what needs a person


async def test_a_payment_nobody_can_call_off_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried again and again; the operators are told when it begins, with what they can do."""
    monkeypatch.setattr(effects, "BLOCKED_AFTER", timedelta(seconds=2))
    async with house(tmp_path, operator_email=OPERATORS) as at:
        terms = purchase("pm_sandbox_unreachable", policy={"payment_window": "PT5S"})
        handle = await start(at.server.client, terms)
        await until(handle, lambda found: bool(found.attention))
        first = (await status(handle)).attention[0]
        await skip(at.server, handle, AGAIN)
        await until(handle, lambda found: found.attention[0].since > first.since)

        (mail,) = inbox(tmp_path / "mail", terms.purchase_id)
        assert (mail.to, mail.transition) == (OPERATORS, "payment_unknown")
        assert terms.purchase_id in mail["Subject"]
        assert mail.shows("cannot be reached")
        assert mail.shows(f"resolve-attention {terms.purchase_id} --as operator")
        await handle.terminate("seen")


async def test_a_refund_that_cannot_be_sent_is_told_once_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """effect_blocked, to the operators alone; when the provider is back, the refund is sent."""
    monkeypatch.setattr(effects, "BLOCKED_AFTER", timedelta(seconds=2))

    def away(*_: object) -> None:
        raise ProviderUnreachable("the sandbox did not answer")

    async with house(tmp_path, operator_email=OPERATORS) as at:
        handle = await held(at.server)
        with monkeypatch.context() as patch:
            patch.setattr(SandboxProvider, "refund", away)
            patch.setattr(SandboxProvider, "find_refund", away)
            await say(handle, Role.FREELANCER, "give_refund")
            await skip(at.server, handle, AGAIN)
            await until(handle, lambda found: bool(found.attention))
        await say(handle, Role.OPERATOR, "resolve_attention", action="retry")
        await until(handle, lambda found: not found.attention and found.refund is not None)
        await quiet(handle)

        mails = inbox(tmp_path / "mail", purchase_of(handle))
        told = [mail.transition for mail in mails if mail.to == OPERATORS]
        assert sorted(told) == ["attention_retried", "effect_blocked"]
        await handle.terminate("seen")


# --- a notice about money that did not reach its reader


async def test_a_refused_notice_about_money_is_told_once(tmp_path: Path) -> None:
    """550 to the client: the operators read of each notice about money that she did not get, what
    it was, why, and how much it is about; of her mail from the freelancer they do not."""
    async with posted(tmp_path, client="550 no such user") as (at, post):
        handle = await held(at.server)
        await say(handle, Role.FREELANCER, "send_message", text="Hello?")
        await say(handle, Role.FREELANCER, "give_refund")
        await skip(at.server, handle, 2 * HOUR)
        await quiet(handle)
        found = await status(handle)
        lost = [(item.transition, item.role) for item in found.undelivered]
        await handle.terminate("seen")

    assert sorted(lost) == [
        ("freelancer_gave_refund", "client"),
        ("message_sent", "client"),
        ("payment_held", "client"),
    ]
    told = arrived(post)
    assert [mail.transition for mail in told] == ["notice_undelivered"] * 2
    for mail, name in zip(told, ("payment held", "freelancer gave refund"), strict=True):
        assert found.purchase_id in mail["Subject"]
        for pattern in (name, "the client", "550 no such user", r"250\.00", "escrow"):
            assert mail.shows(pattern), f"{pattern} is not in {mail.text}"
    assert arrived(post, ANA) == []
    assert [mail.transition for mail in arrived(post, BO)] == [
        "payment_held",
        "freelancer_gave_refund",
    ]


async def test_a_notice_about_money_that_is_delayed_for_a_day_is_told_then(tmp_path: Path) -> None:
    """451 to the freelancer all day: told when it is given up, not before."""
    async with posted(tmp_path, freelancer="451 try again") as (at, post):
        handle = await held(at.server)
        await skip(at.server, handle, 20 * HOUR)
        assert arrived(post) == []
        await skip(at.server, handle, 6 * HOUR)
        found = await until(handle, lambda found: bool(found.undelivered))
        await quiet(handle)
        await handle.terminate("seen")

    assert [(item.transition, item.role) for item in found.undelivered] == [
        ("payment_held", "freelancer")
    ]
    (mail,) = arrived(post)
    assert mail.shows("payment held")
    assert mail.shows("451 try again")


async def test_after_the_end_operators_are_told_all_the_same(tmp_path: Path) -> None:
    """The client's server greylists for days. The purchase closes meanwhile, with the right money,
    and shows what it could not tell; a day later the operators know what never arrived."""
    async with posted(tmp_path, client="451 try again") as (at, post):
        handle = await refunded(at)
        await skip(at.server, handle)
        assert (await handle.result()).refunded == PRICE
        shown = {(item.transition, item.role) for item in (await status(handle)).undelivered}
        after = await _after(at, handle)
        await at.server.fast_forward(after)
        missed = await after.result()

    names = {"payment_held", "freelancer_gave_refund", "refund_settled"}
    assert {name for name, _ in shown} == names
    assert {(item.transition, item.role) for item in missed} == {(name, "client") for name in names}
    assert sorted(mail["X-Recourse-Transition"] for mail in arrived(post)) == [
        "notice_undelivered"
    ] * len(names)


async def test_what_does_not_reach_the_operators_is_not_told_of(tmp_path: Path) -> None:
    """Nobody can be reached: each notice and each report is tried and shown, and that is all."""
    nobody = dict.fromkeys(("client", "freelancer", "operator"), "550 no such user")
    async with posted(tmp_path, **nobody) as (at, post):
        handle = await refunded(at)
        await skip(at.server, handle)
        await handle.result()
        found = await status(handle)
        log = at.told(handle)

    assert post.kept == []
    lost = [(item.transition, item.role) for item in found.undelivered]
    names = ("payment_held", "freelancer_gave_refund", "refund_settled")
    parties = [(name, role) for name in names for role in ("client", "freelancer")]
    assert sorted(lost) == sorted([*parties, *[("notice_undelivered", "operator")] * len(names)])
    assert {(notice.status, notice.attempts) for notice in log} == {("failed", 1)}


async def _after(at: House, handle: Handle) -> WorkflowHandle[Any, list[Undelivered]]:
    """The workflow that goes on telling after the end."""
    query = f"WorkflowType='PurchaseNotices' AND WorkflowId STARTS_WITH '{handle.id}/'"
    while not (found := [one async for one in at.server.client.list_workflows(query)]):  # noqa: ASYNC110
        await asyncio.sleep(LOOK_EVERY)
    return at.server.client.get_workflow_handle(found[0].id, result_type=list[Undelivered])
