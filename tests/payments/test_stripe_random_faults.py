"""Random faults: money moves once, and the answers match the fake's records."""

import random
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import TypeVar

import pytest

from activities.payments import ChargeResult, ProviderUnreachable
from activities.payments.stripe import StripeProvider
from activities.requests import Money
from tests.payments.builders import KEY, NOW, PRICE, VISA, until_answered, usd
from tests.stripe.fake import FakeStripe, Fault

Answer = TypeVar("Answer")

KINDS: list[Fault] = ["lost", "cut", "stored_500", "performed_500", "conflict", "rate_limited"]
CALM_AFTER = 60
"""Requests, of which about half meet trouble before."""


class Faults:
    """Random faults, and keys forgotten between retries."""

    def __init__(self, fake: FakeStripe, seed: int) -> None:
        self.fake, self.chance, self.requests = fake, random.Random(seed), count()
        fake.plan(self._fault)

    def _fault(self, method: str, path: str) -> Fault | None:
        if next(self.requests) > CALM_AFTER or self.chance.random() < 0.5:
            return None
        if path.endswith("/confirm") and self.chance.random() < 0.1:
            return "declined"
        return self.chance.choice(KINDS)

    def until_answered(self, ask: Callable[[], Answer]) -> Answer:
        def ask_again() -> Answer:
            if self.chance.random() < 0.2:
                self.fake.forget_keys()
            return ask()

        return until_answered(self.fake, ask_again)


@pytest.mark.parametrize("seed", range(30))
def test_random_faults_lead_to_one_charge_and_the_requested_refunds(
    fake: FakeStripe, provider: StripeProvider, seed: int
) -> None:
    trouble = Faults(fake, seed)
    charge = trouble.until_answered(lambda: provider.charge(KEY, PRICE, VISA, NOW))
    assert fake.charged_amount() == (PRICE.amount if charge.status == "succeeded" else 0)
    assert trouble.until_answered(lambda: provider.find_charge(KEY)) == charge
    if charge.status == "declined":
        assert trouble.until_answered(lambda: provider.void(KEY, PRICE, VISA, NOW)) is None
        return
    assert trouble.until_answered(lambda: provider.void(KEY, PRICE, VISA, NOW)) == charge
    asked: dict[str, Money] = {}
    for n in range(3):
        refund_id, part = f"r-{n}", usd(trouble.chance.randint(1, PRICE.amount // 3))
        send = partial(provider.refund, refund_id, charge.reference, part, NOW)
        sent = trouble.until_answered(send)
        assert (sent.status, sent.amount) == ("sent", part)
        asked[refund_id] = part
        assert fake.refunded_amount() == sum(part.amount for part in asked.values())
    statement = trouble.until_answered(provider.statement)
    assert [record.key for record in statement.charges] == [KEY]
    assert {record.refund_id: record.amount for record in statement.refunds} == asked
    assert (len(fake.refunds), fake.charged_amount()) == (len(asked), PRICE.amount)


@pytest.mark.parametrize("seed", range(30))
def test_a_voided_charge_is_found_or_never_made(
    fake: FakeStripe, provider: StripeProvider, seed: int
) -> None:
    trouble = Faults(fake, seed)
    charge: ChargeResult | None = None
    for _ in range(trouble.chance.randint(0, 3)):
        try:
            charge = provider.charge(KEY, PRICE, VISA, NOW)
        except ProviderUnreachable:
            continue
    found = trouble.until_answered(lambda: provider.void(KEY, PRICE, VISA, NOW))
    if charge is not None:
        assert found == (charge if charge.status == "succeeded" else None)
    assert fake.charged_amount() == (PRICE.amount if found else 0)
    late = until_answered(fake, lambda: provider.charge(KEY, PRICE, VISA, NOW))
    assert late.status == ("succeeded" if found else "declined")
    assert fake.charged_amount() == (PRICE.amount if found else 0)
