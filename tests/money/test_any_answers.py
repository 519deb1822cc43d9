"""A provider that answers anything: 200, 402, 409, 429, 500, silence, a cut line, in any order."""

import asyncio
import random
from collections.abc import Callable
from datetime import timedelta
from typing import get_args

import pytest

from demo.runner import Handle, say, skip, start, until
from tests.money.conftest import StripeWorld
from tests.purchases import purchase
from tests.stripe.fake import Fault
from workflows.messages import PurchaseResult, Role

PURCHASES_AT_ONCE = 8
TROUBLE = 0.4
FAULTS: tuple[Fault, ...] = tuple(each for each in get_args(Fault) if each != "late")


def anything(seed: int) -> Callable[[str, str], Fault | None]:
    """A plan in which so many calls meet with trouble. The bank declines only what it could."""
    dice = random.Random(seed)

    def fault(method: str, path: str) -> Fault | None:
        if dice.random() > TROUBLE:
            return None
        chosen = dice.choice(FAULTS)
        return None if chosen == "declined" and not path.endswith("/confirm") else chosen

    return fault


@pytest.mark.timeout(400)  # each call may be asked many times
@pytest.mark.parametrize("seed", range(2))
async def test_one_charge_and_the_right_refund_whatever_the_provider_answers(
    stripe: StripeWorld, seed: int
) -> None:
    """Races: unknown is not failed. Money moves once, or the payment was honestly declined."""
    earlier = len(stripe.stripe.requests)
    stripe.stripe.plan(anything(seed))
    lives = (live(stripe, claim=10000 * (n % 2)) for n in range(PURCHASES_AT_ONCE))
    ended = await asyncio.gather(*lives)
    stripe.stripe.plan(None)

    for handle, result, refund in ended:
        taken = stripe.stripe.taken(transfer_group=f"{handle.id}/hold")
        sent = [
            each["amount"]
            for each in stripe.stripe.refunds
            if each["metadata"]["recourse_refund"].startswith(f"{handle.id}/")
        ]
        if result.outcome in ("payment_declined", "payment_failed"):
            assert (taken, sent) == (0, [])
        else:
            assert (taken, sent) == (25000, [refund])
            assert (result.refunded, result.released) == (refund, 25000 - refund)
    assert any(result.refunded for _, result, _ in ended), "nobody got through"
    met = {call.fault for call in stripe.stripe.requests[earlier:] if call.fault}
    assert len(met) > len(FAULTS) / 2, f"hardly any trouble: {met}"
    assert await stripe.differences(*(handle for handle, _, _ in ended)) == []


async def live(stripe: StripeWorld, claim: int) -> tuple[Handle, PurchaseResult, int]:
    """Bought, cancelled by the client, and refunded, all of it or all but a claim."""
    handle = await start(stripe.client, purchase("pm_card_visa"))
    while (await until(handle, lambda _: True)).payment in ("pending", "voiding"):
        await skip(stripe.server, handle, timedelta(minutes=1))
    if (await until(handle, lambda _: True)).payment == "held":
        await say(handle, Role.CLIENT, "cancel")
        if claim:
            await say(handle, Role.FREELANCER, "decide_refund", decision="decline", claim=claim)
            await say(handle, Role.CLIENT, "accept_claim")
        else:
            await say(handle, Role.FREELANCER, "decide_refund", decision="approve")
        await skip(stripe.server, handle)
    return handle, await handle.result(), 25000 - claim
