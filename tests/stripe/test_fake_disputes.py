"""Disputes by the customer's bank."""

import pytest
import stripe

from tests.stripe.builders import PRICE, pay, refund
from tests.stripe.fake import FakeStripe
from tests.stripe.test_fake_refunds import charge_of

LOOKS = 100
"""Bounds the looks for a dispute, which Stripe opens some seconds after the payment."""


def dispute_of(api: stripe.StripeClient, intent: str) -> stripe.Dispute:
    """Return the only dispute of a payment, as soon as there is one."""
    for _ in range(LOOKS):
        if found := api.v1.disputes.list({"payment_intent": intent}).data:
            return found[0]
    raise AssertionError("no dispute")


def moved(dispute: stripe.Dispute) -> list[int]:
    """Return the amounts that a dispute has withdrawn and reinstated."""
    return [each.amount for each in dispute.balance_transactions]


# --- On Stripe too -----------------------------------------------------------------------------


def test_a_dispute_withdraws_the_amount_and_stops_refunds(api: stripe.StripeClient) -> None:
    intent = pay(api, method="pm_card_createDispute").id
    dispute = dispute_of(api, intent)
    assert (dispute.status, dispute.amount, dispute.currency) == ("needs_response", PRICE, "usd")
    assert (dispute.charge, dispute.payment_intent) == (charge_of(api, intent).id, intent)
    assert moved(dispute) == [-PRICE]
    assert charge_of(api, intent).disputed
    with pytest.raises(stripe.InvalidRequestError) as rejected:
        refund(api, intent)
    assert rejected.value.code == "charge_disputed"


def test_an_inquiry_withdraws_nothing_and_allows_a_refund(api: stripe.StripeClient) -> None:
    intent = pay(api, method="pm_card_createDisputeInquiry").id
    inquiry = dispute_of(api, intent)
    assert (inquiry.status, inquiry.is_charge_refundable) == ("warning_needs_response", True)
    assert moved(inquiry) == []
    assert refund(api, intent, 100).status == "succeeded"


@pytest.mark.parametrize(("evidence", "status"), [("winning", "won"), ("losing", "lost")])
def test_the_test_mode_decides_by_the_evidence(
    api: stripe.StripeClient, evidence: str, status: str
) -> None:
    intent = pay(api, method="pm_card_createDispute").id
    dispute = dispute_of(api, intent)
    api.v1.disputes.update(
        dispute.id, {"evidence": {"uncategorized_text": f"{evidence}_evidence"}, "submit": True}
    )
    decided = api.v1.disputes.retrieve(dispute.id)
    for _ in range(LOOKS):
        if decided.status == status:
            break
        decided = api.v1.disputes.retrieve(dispute.id)
    assert decided.status == status
    assert sum(moved(decided)) == (0 if status == "won" else -PRICE)


def test_an_accepted_dispute_is_lost(api: stripe.StripeClient) -> None:
    dispute = dispute_of(api, pay(api, method="pm_card_createDispute").id)
    assert api.v1.disputes.close(dispute.id).status == "lost"
    with pytest.raises(stripe.InvalidRequestError):
        api.v1.disputes.update(dispute.id, {"evidence": {"uncategorized_text": "late"}})


def test_disputes_are_listed_by_charge(api: stripe.StripeClient) -> None:
    intent = pay(api, method="pm_card_createDispute").id
    dispute = dispute_of(api, intent)
    charge = charge_of(api, intent).id
    assert [each.id for each in api.v1.disputes.list({"charge": charge}).data] == [dispute.id]
    assert api.v1.disputes.list({"payment_intent": pay(api).id}).data == []


# --- With the fake's switches ------------------------------------------------------------------


def test_an_inquiry_can_become_a_dispute_that_is_won(
    fake: FakeStripe, client: stripe.StripeClient
) -> None:
    intent = pay(client).id
    dispute = fake.dispute(intent, 1000, status="warning_needs_response")
    fake.settle_dispute(dispute, "needs_response")
    assert moved(client.v1.disputes.retrieve(dispute)) == [-1000]
    fake.settle_dispute(dispute, "won")
    assert moved(client.v1.disputes.retrieve(dispute)) == [-1000, 1000]
    assert [each["type"].removeprefix("charge.dispute.") for each in fake.events[2:]] == [
        "created",
        "funds_withdrawn",
        "updated",
        "funds_reinstated",
        "closed",
    ]
