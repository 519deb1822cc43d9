"""Idempotency keys at Stripe: stored, forgotten and late requests, and concurrent workers."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

import pytest

from activities.payments import ChargeResult, ProviderUnreachable, RefundResult
from activities.payments.stripe import StripeProvider
from activities.payments.stripe_calls import KEYS_TRIED
from tests.payments.builders import (
    DEPLOYMENT,
    KEY,
    NOW,
    PART,
    PRICE,
    REFUND,
    VISA,
    charged,
    named,
    until_answered,
    until_over,
)
from tests.stripe.fake import FakeStripe, Fault

CREATE, INTENT, SEND = "/v1/payment_intents", "/v1/payment_intents/", "/v1/refunds"
Answer = TypeVar("Answer")


def keys(fake: FakeStripe, path: str) -> list[str | None]:
    """Return the idempotency keys of the requests to this path."""
    return [call.key for call in fake.requests if (call.method, call.path) == ("POST", path)]


def steps(fake: FakeStripe) -> list[str]:
    """Return each request with its status."""
    return [f"{call.method} {call.path} {call.status}" for call in fake.requests]


# --- Forgotten keys ----------------------------------------------------------------------------

UNHEARD: list[Fault] = ["lost", "cut", "performed_500", "stored_500", "conflict"]


@pytest.mark.parametrize("where", [CREATE, INTENT])
@pytest.mark.parametrize("fault", UNHEARD)
def test_a_charge_is_made_once_when_stripe_forgets_its_key(
    fake: FakeStripe, provider: StripeProvider, fault: Fault, where: str
) -> None:
    fake.fault(fault, path=where)
    with pytest.raises(ProviderUnreachable):
        provider.charge(KEY, PRICE, VISA, NOW)
    for _ in range(3):
        fake.forget_keys()
        assert provider.charge(KEY, PRICE, VISA, NOW).charged == PRICE
    assert fake.charged_amount() == PRICE.amount


def test_a_charge_is_made_once_when_its_worker_dies_after_stripe_forgot_its_key(
    fake: FakeStripe, provider: StripeProvider
) -> None:
    """The second intent exists at the third attempt, and its key is stored."""
    at = datetime.now(UTC)
    made = provider.charge(KEY, PRICE, VISA, at)
    fake.forget_keys()
    fake.fault("cut", method="GET", path="/v1/charges")
    with pytest.raises(ProviderUnreachable):
        provider.charge(KEY, PRICE, VISA, at)
    assert len(fake.intents) == 2
    assert provider.charge(KEY, PRICE, VISA, at) == made
    assert fake.charged_amount() == PRICE.amount


@pytest.mark.parametrize("fault", UNHEARD)
def test_a_refund_is_sent_once_when_stripe_forgets_its_key(
    fake: FakeStripe, provider: StripeProvider, fault: Fault
) -> None:
    charge = charged(provider)
    fake.fault(fault, path=SEND)
    with pytest.raises(ProviderUnreachable):
        provider.refund(REFUND, charge, PART, NOW)
    for _ in range(3):
        fake.forget_keys()
        assert provider.refund(REFUND, charge, PART, NOW).amount == PART
    assert (len(fake.refunds), fake.refunded_amount()) == (1, PART.amount)


# --- Stored errors -----------------------------------------------------------------------------


def test_a_charge_whose_key_replays_500_is_made_under_the_next_key(
    fake: FakeStripe, provider: StripeProvider
) -> None:
    fake.fault("stored_500", path=CREATE)
    with pytest.raises(ProviderUnreachable, match="500"):
        provider.charge(KEY, PRICE, VISA, NOW)
    assert keys(fake, CREATE) == [named(KEY)]
    assert provider.charge(KEY, PRICE, VISA, NOW).charged == PRICE
    assert keys(fake, CREATE) == [named(KEY), named(KEY), named(f"{KEY}#2")]


def test_an_intent_behind_a_stored_500_is_created_again_but_charged_once(
    fake: FakeStripe, provider: StripeProvider
) -> None:
    at = datetime.now(UTC)
    fake.fault("performed_500", path=CREATE)
    with pytest.raises(ProviderUnreachable):
        provider.charge(KEY, PRICE, VISA, at)
    for _ in range(2):
        assert provider.charge(KEY, PRICE, VISA, at).charged == PRICE
    assert [intent["status"] for intent in fake.intents] == ["requires_confirmation", "succeeded"]


def test_the_next_key_of_a_refund_is_tried_only_after_an_empty_look_up(
    fake: FakeStripe, provider: StripeProvider
) -> None:
    charge = charged(provider)
    fake.fault("stored_500", path=SEND)
    with pytest.raises(ProviderUnreachable, match="500"):
        provider.refund(REFUND, charge, PART, NOW)
    assert keys(fake, SEND) == [named(REFUND)]
    before = len(fake.requests)
    assert provider.refund(REFUND, charge, PART, NOW).amount == PART
    assert steps(fake)[before:] == [
        "GET /v1/refunds 200",
        f"GET /v1/payment_intents/{charge} 200",
        "POST /v1/refunds 500",
        "GET /v1/refunds 200",
        "POST /v1/refunds 200",
    ]
    assert keys(fake, SEND) == [named(REFUND), named(REFUND), named(f"{REFUND}#2")]


def test_no_next_key_is_tried_while_the_look_up_fails(
    fake: FakeStripe, provider: StripeProvider
) -> None:
    charge = charged(provider)
    fake.fault("stored_500", path=SEND)
    with pytest.raises(ProviderUnreachable, match="500"):
        provider.refund(REFUND, charge, PART, NOW)
    look_ups: list[Fault | None] = [None, "cut"]  # before the stored 500 comes back, and after
    fake.plan(lambda method, path: look_ups.pop(0) if (method, path) == ("GET", SEND) else None)
    with pytest.raises(ProviderUnreachable, match="did not answer"):
        provider.refund(REFUND, charge, PART, NOW)
    assert keys(fake, SEND) == [named(REFUND), named(REFUND)]
    assert fake.refunds == []


def test_a_refund_behind_a_stored_500_is_found(fake: FakeStripe, provider: StripeProvider) -> None:
    charge = charged(provider)
    fake.fault("performed_500", path=SEND)
    with pytest.raises(ProviderUnreachable):
        provider.refund(REFUND, charge, PART, NOW)
    assert provider.refund(REFUND, charge, PART, NOW).amount == PART
    assert keys(fake, SEND) == [named(REFUND)]
    assert (len(fake.refunds), fake.refunded_amount()) == (1, PART.amount)


@pytest.mark.parametrize("where", [CREATE, SEND])
def test_a_provider_that_replays_500_under_every_key_is_unreachable(
    fake: FakeStripe, provider: StripeProvider, where: str
) -> None:
    reference = charged(provider, key="another")

    def ask() -> ChargeResult | RefundResult:
        if where == CREATE:
            return provider.charge(KEY, PRICE, VISA, NOW)
        return provider.refund(REFUND, reference, PART, NOW)

    fake.plan(lambda method, path: "stored_500" if (method, path) == ("POST", where) else None)
    for _ in range(KEYS_TRIED + 2):
        with pytest.raises(ProviderUnreachable, match="500"):
            ask()
    assert len({*keys(fake, where)} - {named("another")}) == KEYS_TRIED
    assert (fake.charged_amount(transfer_group=named(KEY)), fake.refunds) == (0, [])
    fake.plan(None)
    fake.forget_keys()
    assert ask().status in ("succeeded", "sent")


# --- Late --------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", [CREATE, INTENT])
@pytest.mark.parametrize("asked_again", ["before", "after"])
def test_a_charge_that_stripe_performs_late_is_made_once(
    fake: FakeStripe,
    provider: StripeProvider,
    hasty: StripeProvider,
    where: str,
    asked_again: str,
) -> None:
    fake.fault("late", path=where)
    with pytest.raises(ProviderUnreachable):
        hasty.charge(KEY, PRICE, VISA, NOW)
    fake.wait_for_held()
    assert provider.find_charge(KEY) is None
    if asked_again == "before" and where == INTENT:
        assert provider.charge(KEY, PRICE, VISA, NOW).charged == PRICE
    elif asked_again == "before":
        with pytest.raises(ProviderUnreachable, match="409"):
            provider.charge(KEY, PRICE, VISA, NOW)
    until_over(fake)
    assert provider.charge(KEY, PRICE, VISA, NOW).charged == PRICE
    assert fake.charged_amount() == PRICE.amount


def test_a_charge_that_stripe_performs_late_is_not_made_once_voided(
    fake: FakeStripe, provider: StripeProvider, hasty: StripeProvider
) -> None:
    fake.fault("late", path=INTENT)
    with pytest.raises(ProviderUnreachable):
        hasty.charge(KEY, PRICE, VISA, NOW)
    assert provider.void(KEY, PRICE, VISA, NOW) is None
    until_over(fake)
    assert provider.charge(KEY, PRICE, VISA, NOW).status == "declined"
    assert fake.charges == []


def test_a_charge_that_stripe_begins_late_cannot_be_voided_before(
    fake: FakeStripe, provider: StripeProvider, hasty: StripeProvider
) -> None:
    fake.fault("late", path=CREATE)
    with pytest.raises(ProviderUnreachable):
        hasty.charge(KEY, PRICE, VISA, NOW)
    with pytest.raises(ProviderUnreachable, match="409"):
        provider.void(KEY, PRICE, VISA, NOW)
    until_over(fake)
    assert provider.void(KEY, PRICE, VISA, NOW) is None
    assert [intent["status"] for intent in fake.intents] == ["canceled"]


def test_two_partial_refunds_are_never_made_of_one_that_stripe_performs_late(
    fake: FakeStripe, provider: StripeProvider, hasty: StripeProvider
) -> None:
    """The charge allows both: only the held key prevents the second refund."""
    charge = charged(provider)
    fake.fault("late", path=SEND)
    with pytest.raises(ProviderUnreachable):
        hasty.refund(REFUND, charge, PART, NOW)
    fake.wait_for_held()
    for _ in range(2):
        assert provider.find_refund(REFUND, charge, NOW) is None
        with pytest.raises(ProviderUnreachable, match="409"):
            provider.refund(REFUND, charge, PART, NOW)
    fake.forget_keys()
    with pytest.raises(ProviderUnreachable, match="409"):
        provider.refund(REFUND, charge, PART, NOW)
    until_over(fake)
    fake.forget_keys()
    assert provider.refund(REFUND, charge, PART, NOW).amount == PART
    assert (len(fake.refunds), fake.refunded_amount()) == (1, PART.amount)


def test_two_partial_refunds_are_never_made_of_one_that_is_late_under_its_second_key(
    fake: FakeStripe, provider: StripeProvider, hasty: StripeProvider
) -> None:
    charge = charged(provider)
    fake.fault("stored_500", path=SEND)
    with pytest.raises(ProviderUnreachable, match="500"):
        provider.refund(REFUND, charge, PART, NOW)
    late: list[Fault | None] = [None, "late"]  # the stored 500 comes back, then the second key
    fake.plan(lambda method, path: late.pop(0) if method == "POST" and late else None)
    with pytest.raises(ProviderUnreachable):
        hasty.refund(REFUND, charge, PART, NOW)
    fake.wait_for_held()
    with pytest.raises(ProviderUnreachable, match="409"):
        provider.refund(REFUND, charge, PART, NOW)
    until_over(fake)
    assert provider.refund(REFUND, charge, PART, NOW).amount == PART
    assert set(keys(fake, SEND)) == {named(REFUND), named(f"{REFUND}#2")}
    assert (len(fake.refunds), fake.refunded_amount()) == (1, PART.amount)


# --- Two workers -------------------------------------------------------------------------------


def at_once(fake: FakeStripe, asks: list[Callable[[], Answer]]) -> list[Answer]:
    """Return the final answers of concurrent calls."""
    with ThreadPoolExecutor(len(asks)) as pool:
        return list(pool.map(partial(until_answered, fake), asks))


@pytest.mark.parametrize("spoilt", [0, 1, 2])
def test_two_concurrent_workers_move_the_money_once(
    fake: FakeStripe, provider: StripeProvider, spoilt: int
) -> None:
    """Even if Stripe stored a 500 under the first keys."""
    with closing(StripeProvider(fake.api_key, DEPLOYMENT, api_base=fake.url)) as other:
        workers = [provider, other] * 4
        for n in range(4):
            key = f"purchase-p-{n}/hold"
            fake.fault("stored_500", path=CREATE, times=spoilt)
            charges = at_once(
                fake, [partial(worker.charge, key, PRICE, VISA, NOW) for worker in workers]
            )
            assert len(set(charges)) == 1
            assert fake.charged_amount(transfer_group=named(key)) == PRICE.amount

            reference = charges[0].reference
            fake.fault("stored_500", path=SEND, times=spoilt)
            refunds = at_once(
                fake,
                [partial(worker.refund, f"{key}/r", reference, PART, NOW) for worker in workers],
            )
            assert len(set(refunds)) == 1
            assert fake.refunded_amount(payment_intent=reference) == PART.amount
