"""A purchase that was paid before: its payment is verified and held, or declined with a reason."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from activities.payments.sandbox import SandboxProvider
from activities.payments.sandbox_events import SandboxEvent
from activities.requests import Money, PaymentRequest
from activities.services import Services
from demo.runner import start, status
from tests.money.environment import NOW, PRICE, Environment, payment, run
from tests.purchases import purchase, purchase_of

KEY = payment().key


def made(sandbox: SandboxProvider, amount: Money | None = PRICE) -> str:
    """A payment that was made without Recourse; its reference."""
    result = sandbox.make_happen(SandboxEvent.PAYMENT_MADE, "checkout", amount, NOW)
    return result.reference


def paid_before(reference: str, **changed: Any) -> PaymentRequest:
    """The request to hold that payment."""
    given = {"payment_method": "", "payment_reference": reference, **changed}
    return payment().model_copy(update=given)


def of_another_purchase(reference: str) -> PaymentRequest:
    return paid_before(reference, key="purchase-p-2/pay", purchase_id="p-2")


def test_a_payment_that_was_made_before_is_held_and_not_made_again(
    environment: Environment,
) -> None:
    reference = made(environment.sandbox)
    answer = run(environment.money.take_payment, paid_before(reference))
    assert (answer.status, answer.reference) == ("held", reference)
    assert environment.balances == (25000, 0, 0, 0)
    assert [charge.reference for charge in environment.sandbox.charges()] == [reference]


def test_a_payment_of_another_purchase_is_declined(environment: Environment) -> None:
    reference = made(environment.sandbox)
    run(environment.money.take_payment, paid_before(reference))
    answer = run(environment.money.take_payment, of_another_purchase(reference))
    assert (answer.status, answer.text) == ("declined", "This payment belongs to another purchase.")
    assert run(environment.money.void_payment, of_another_purchase(reference)).status == "voided"
    assert environment.balances == (25000, 0, 0, 0)


def test_a_payment_that_recourse_has_made_itself_belongs_to_its_purchase(
    environment: Environment,
) -> None:
    charged = run(environment.money.take_payment, payment())
    answer = run(environment.money.take_payment, of_another_purchase(charged.reference))
    assert answer.status == "declined"


def test_a_payment_that_another_purchase_holds_is_declined_also_if_the_provider_lost_its_mark(
    environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = made(environment.sandbox)
    run(environment.money.take_payment, paid_before(reference))
    real = environment.sandbox.payment

    def unmarked(name: str, at: Any) -> Any:
        report = real(name, at)
        return report and replace(report, key="")

    monkeypatch.setattr(environment.sandbox, "payment", unmarked)
    answer = run(environment.money.take_payment, of_another_purchase(reference))
    assert (answer.status, answer.text) == ("declined", "This payment belongs to another purchase.")


def test_a_payment_of_another_deployment_is_declined(environment: Environment) -> None:
    reference = made(environment.sandbox)
    path = environment.sandbox._engine.url.database
    assert path
    other = SandboxProvider(path, "staging")
    try:
        assert other.claim(KEY, reference, NOW)
    finally:
        other.close()
    answer = run(environment.money.take_payment, paid_before(reference))
    assert answer.status == "declined"
    assert "another deployment" in answer.text
    assert environment.balances is None


@pytest.mark.parametrize("event", [SandboxEvent.REFUND_ELSEWHERE, SandboxEvent.DISPUTE_OPENED])
@pytest.mark.parametrize("amount", [Money(amount=5_000, currency="USD"), None], ids=str)
def test_a_payment_whose_answer_was_lost_stays_held_in_every_later_state(
    environment: Environment, event: SandboxEvent, amount: Money | None
) -> None:
    """The hold was posted and its answer lost; then the charge was refunded or disputed. The retry
    answers `held`, and the purchase finds the rest when it looks."""
    reference = made(environment.sandbox)
    request = paid_before(reference)
    first = run(environment.money.take_payment, request)
    environment.sandbox.make_happen(event, KEY, amount, NOW + timedelta(hours=1))
    assert run(environment.money.take_payment, request) == first
    assert run(environment.money.void_payment, request) == first


def test_a_payment_of_another_amount_and_an_unknown_one_are_declined(
    environment: Environment,
) -> None:
    cheap = made(environment.sandbox, Money(amount=100, currency="USD"))
    answer = run(environment.money.take_payment, paid_before(cheap))
    assert answer.text == "This is a payment of 1.00 USD, not 250.00 USD."
    assert run(environment.money.take_payment, paid_before("ch_unknown")).status == "declined"
    assert environment.balances is None


def test_a_held_payment_that_the_provider_does_not_know_needs_a_person(
    environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as after a change of the provider's account: what is held is never declined."""
    reference = made(environment.sandbox)
    run(environment.money.take_payment, paid_before(reference))
    monkeypatch.setattr(environment.sandbox, "payment", lambda *_: None)
    with pytest.raises(ApplicationError, match="which is held"):
        run(environment.money.take_payment, paid_before(reference))


async def test_the_reason_of_a_declined_payment_is_shown(
    server: WorkflowEnvironment, worker: Worker, services: Services
) -> None:
    """In the timeline and in the notice of both parties."""
    handle = await start(server.client, purchase("pm_sandbox_declined"))
    result = await handle.result()
    assert result.outcome == "payment_declined"
    reason = "The client's bank declined the charge"
    assert reason in (await status(handle)).timeline[-1].text
    notices = services.notices.list(purchase_of(handle))
    assert {notice.role for notice in notices} == {"client", "freelancer"}
    assert all(reason in " ".join(notice.text.split()) for notice in notices)


async def test_a_purchase_with_the_payment_of_another_one_is_declined(
    server: WorkflowEnvironment, worker: Worker, services: Services
) -> None:
    assert isinstance(services.provider, SandboxProvider)
    reference = made(services.provider)
    given: dict[str, Any] = {"payment_method": None, "payment_reference": reference}
    first = await start(server.client, purchase(**given))
    second = await start(server.client, purchase(**given))
    outcomes = []
    for handle in (first, second):
        found = await status(handle)
        while found.payment == "pending":
            found = await status(handle)
        outcomes.append(found.outcome)
    assert sorted(map(str, outcomes)) == ["None", "payment_declined"]
    for handle, outcome in zip((first, second), outcomes, strict=True):
        if outcome:
            assert "belongs to another purchase" in (await status(handle)).timeline[-1].text
        else:
            await handle.terminate("seen")
