"""Random faults of the provider: 402, 409, 429, 500, timeouts and broken connections."""

import asyncio
import random
from collections.abc import Callable
from datetime import timedelta
from typing import get_args

import pytest

from demo.runner import Handle, send, skip, start, until
from tests.money.conftest import SHOP, StripeWorld
from tests.purchases import purchase
from tests.stripe.fake import Fault
from workflows.messages import PurchaseResult, Role

PURCHASES_AT_ONCE = 8
FAULT_RATE = 0.4
FAULTS: tuple[Fault, ...] = tuple(each for each in get_args(Fault) if each != "late")


def random_faults(seed: int) -> Callable[[str, str], Fault | None]:
    """Return a plan of random faults at FAULT_RATE. Only confirmations are declined."""
    dice = random.Random(seed)

    def fault(method: str, path: str) -> Fault | None:
        if dice.random() > FAULT_RATE:
            return None
        chosen = dice.choice(FAULTS)
        return None if chosen == "declined" and not path.endswith("/confirm") else chosen

    return fault


@pytest.mark.timeout(400)  # each call may be retried many times
@pytest.mark.parametrize("seed", range(2))
async def test_random_provider_faults_lead_to_one_charge_and_the_right_refund(
    stripe: StripeWorld, seed: int
) -> None:
    """An unknown outcome is not a failure: money moves once, or the payment was declined."""
    earlier = len(stripe.stripe.requests)
    stripe.stripe.plan(random_faults(seed))
    lives = (live(stripe, claim=10000 * (n % 2)) for n in range(PURCHASES_AT_ONCE))
    ended = await asyncio.gather(*lives)
    stripe.stripe.plan(None)

    for handle, result, refund in ended:
        taken = stripe.stripe.charged_amount(transfer_group=f"{SHOP}/{handle.id}/hold")
        sent = [
            each["amount"]
            for each in stripe.stripe.refunds
            if each["metadata"].get("recourse_refund", "").startswith(f"{SHOP}/{handle.id}/")
        ]
        if result.outcome in ("payment_declined", "payment_failed"):
            assert (taken, sent) == (0, [])
        else:
            assert (taken, sent) == (25000, [refund])
            assert (result.refunded, result.released) == (refund, 25000 - refund)
    assert any(result.refunded for _, result, _ in ended), "no purchase was refunded"
    met = {call.fault for call in stripe.stripe.requests[earlier:] if call.fault}
    assert len(met) > len(FAULTS) / 2, f"too few faults: {met}"
    assert await stripe.differences(*(handle for handle, _, _ in ended)) == []


async def live(stripe: StripeWorld, claim: int) -> tuple[Handle, PurchaseResult, int]:
    """Run a purchase that the client cancels: refunded in full, or all but a claim."""
    handle = await start(stripe.client, purchase("pm_card_visa"))
    while (await until(handle, lambda _: True)).payment in ("pending", "voiding"):
        await skip(stripe.server, handle, timedelta(minutes=1))
    if (await until(handle, lambda _: True)).payment == "held":
        await send(handle, Role.CLIENT, "cancel")
        if claim:
            await send(handle, Role.FREELANCER, "decide_refund", decision="decline", claim=claim)
            await send(handle, Role.CLIENT, "accept_claim")
        else:
            await send(handle, Role.FREELANCER, "decide_refund", decision="approve")
        await skip(stripe.server, handle)
    return handle, await handle.result(), 25000 - claim
