"""Every stage × what the provider does without us × reports that are lost, doubled or reordered.

On a real server, with a real ledger and the sandbox. After each case: the ledger adds up and agrees
with the purchase, the provider and the audit; money goes out once; everybody is notified.
"""

import asyncio
import os
from collections.abc import Iterator
from datetime import timedelta

import pytest
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from activities.payments import ProviderUnreachable
from activities.payments.sandbox_events import SandboxEvent
from activities.services import Services
from demo.runner import Handle, start, status, until
from tests.money.matrix import PENDING, SENT_BEFORE, UNDECIDED, UNSENT, Case
from tests.money.played import (
    REPORTS,
    Held,
    Played,
    Step,
    audited,
    happens,
    wrong_balances,
    wrong_notices,
)
from tests.purchases import purchase, purchase_of
from workflows import view
from workflows.messages import PurchaseResult, Role, Status

PARALLEL = 12
ALL = os.environ.get("RECOURSE_MATRIX") == "all"
"""Play each case with all three. Otherwise each with one, in turn, so that each stage and each news
meets all of them."""


@pytest.fixture(scope="module")
def held_back(services: Services) -> Iterator[Held]:
    """Keeps refunds from reaching the provider."""
    found, refund = Held(set()), services.provider.refund

    def unreachable(refund_id: str, *given: object) -> object:
        if refund_id.rpartition("/")[0] in found.workflows:
            raise ProviderUnreachable("it is kept away")
        return refund(refund_id, *given)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(services.provider, "refund", unreachable)
        yield found


# --- the shortest way to each stage


async def review(played: Played) -> None:
    await played.send(Role.CLIENT, "submit_requirements", requirements="A logo.")


async def delivered(played: Played) -> None:
    await review(played)
    await played.send(Role.FREELANCER, "deliver")


async def in_progress(played: Played) -> None:
    await delivered(played)
    await played.send(Role.CLIENT, "request_changes")


async def requested(played: Played) -> None:
    await in_progress(played)
    await played.send(Role.CLIENT, "cancel")


async def contested(played: Played) -> None:
    await requested(played)
    await played.send(Role.FREELANCER, "decide_refund", decision="decline", claim=10_000)


async def disputed(played: Played) -> None:
    await contested(played)
    await played.send(Role.CLIENT, "open_dispute", reason="Nothing came.")


async def pending(played: Played) -> None:
    await in_progress(played)
    await played.send(Role.FREELANCER, "give_refund")
    await until(played.handle, lambda found: bool(found.refund and found.refund.status != "unsent"))


async def sent(played: Played) -> None:
    await pending(played)
    played.happen(SandboxEvent.REFUND_SENT)
    await played.signal("check_payment")
    await until(played.handle, lambda found: bool(found.refund and found.refund.status == "sent"))


async def unsent(played: Played) -> None:
    played.held.workflows.add(played.handle.id)
    await in_progress(played)
    await played.send(Role.FREELANCER, "give_refund")
    await until(played.handle, lambda found: bool(found.attention))


async def awaiting(played: Played) -> None:
    """A purchase begins here."""


OK, NEVER_SENT = "pm_sandbox_at_once", "pm_sandbox_refund_pending"
STAGES: dict[str, tuple[Step, tuple[Case, ...], str]] = {
    "awaiting_requirements": (awaiting, UNDECIDED, OK),
    "freelancer_review": (review, UNDECIDED, OK),
    "in_progress": (in_progress, UNDECIDED, OK),
    "delivered": (delivered, UNDECIDED, OK),
    "refund_requested": (requested, UNDECIDED, OK),
    "contested": (contested, UNDECIDED, OK),
    "disputed": (disputed, UNDECIDED, OK),
    "settling, refund not at the provider": (unsent, UNSENT, NEVER_SENT),
    "settling, refund pending": (pending, PENDING, NEVER_SENT),
    "settling, refund sent": (sent, SENT_BEFORE, NEVER_SENT),
}
"""By stage: how it is reached, what happens in it, and the payment method."""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("stage", STAGES)
async def test_what_the_provider_does_is_booked_paid_once_and_reported(
    stage: str,
    server: WorkflowEnvironment,
    worker: Worker,
    services: Services,
    held_back: Held,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reach, cases, method = STAGES[stage]
    if reach is unsent:  # in the others, a slow machine must not block what only takes long
        monkeypatch.setattr("workflows.activity_calls.BLOCKED_AFTER", timedelta(seconds=10))
    slots = asyncio.Semaphore(PARALLEL)

    async def played(case: Case, reports: str) -> tuple[str, str, Handle]:
        async with slots:
            handle = await start(server.client, purchase(method))
            one = Played(handle, services, held_back)
            try:
                async with asyncio.timeout(90):
                    await until(handle, lambda found: found.payment == "held")
                    return await play(one, reach, case, reports), case.audit, handle
            except TimeoutError:
                shown = view.status(await one.state())
                done = [each.transition for each in shown.timeline]
                return f"stuck: {case.news}, reports {reports}: {done}", "", handle

    first = list(STAGES).index(stage)
    every = [
        (case, reports)
        for number, case in enumerate(cases, first)
        for reports in (REPORTS if ALL else (REPORTS[number % len(REPORTS)],))
    ]
    found = await asyncio.gather(*(played(*each) for each in every))
    problems = [problem for problem, _, _ in found if problem]
    problems += await audited(server, services, {purchase_of(h): audit for _, audit, h in found})
    for _, _, handle in found:
        if not (await status(handle)).outcome:
            await handle.terminate("seen")
    assert not problems, "\n\n".join(problems)


async def play(played: Played, reach: Step, case: Case, reports: str) -> str:
    """Play a case; what is wrong afterwards, or nothing."""
    try:
        await reach(played)
        await played.quiet()
        before = played.notices()
        await happens(played, case, reports)
        after = await played.quiet()
        problems = [
            *wrong_balances(played, after, case),
            *wrong_notices(played, before, case, reports),
        ]
        problems += await finish(played, case)
        state = await played.quiet()
        problems += wrong_balances(played, state, case)
    except AssertionError as error:
        problems = [repr(error)]
    named = f"{[str(each) for each in case.news]}, reports {reports}: "
    return named + "; ".join(problems) if problems else ""


async def finish(played: Played, case: Case) -> list[str]:
    """Bring the purchase to its end."""
    match case.finish:
        case "give":
            await played.send(Role.FREELANCER, "give_refund")
        case "frozen":
            return await frozen(played)
        case "settle":
            await settle(played)
        case "retry":
            await played.send(Role.OPERATOR, "resolve_attention", action="retry")
            await until(played.handle, lambda found: not found.attention)
            await settle(played)
        case "mark":
            made = (await played.state()).purchase.refunds_elsewhere[0].reference
            await played.send(
                Role.OPERATOR, "resolve_attention", action="mark_settled", reference=made
            )
    result = await played.handle.result()
    return list(wrong_result(result, (await played.state()).purchase.charged_back, case))


async def frozen(played: Played) -> list[str]:
    await played.send(Role.FREELANCER, "give_refund")
    found = view.status(await played.quiet())
    problems = [] if found.frozen else ["it is not frozen"]
    code = "ALREADY_SETTLED" if found.stage == "settling" else "FROZEN"
    if [each.code for each in found.rejected] != [code]:
        problems.append(f"a refund is rejected as {[each.code for each in found.rejected]}")
    return problems


async def settle(played: Played) -> None:
    """The provider gets the refund, and settles it."""
    if played.handle.id in played.held.workflows:
        played.held.workflows.discard(played.handle.id)
        await played.send(Role.OPERATOR, "resolve_attention", action="retry")

    def at_provider(found: Status) -> bool:
        return bool(found.refund and found.refund.status in ("pending", "sent"))

    found = await until(played.handle, at_provider)
    assert found.refund
    played.happen(SandboxEvent.REFUND_SETTLED)
    await played.signal("settlement_update", refund_id=found.refund.refund_id, status="settled")


def wrong_result(result: PurchaseResult, charged_back: int, case: Case) -> Iterator[str]:
    ended = (result.outcome, result.reason, result.refunded, result.released, charged_back)
    # A look that finds both applies refunds before disputes, and the last one is the reason.
    last = "bank_dispute_lost", "refunded_elsewhere"
    if ended != case.ends and not (
        case.ends and {ended[1], case.ends[1]} == set(last) and ended[2:] == case.ends[2:]
    ):
        yield f"it ended {ended}, not {case.ends}"
