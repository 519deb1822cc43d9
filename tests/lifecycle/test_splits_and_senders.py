"""Offers of a split (R-45, R-47), decisions of mediators (R-41), and who may send a message at
all."""

from typing import Any

import pytest

from tests.lifecycle.builders import (
    BOTH,
    ESCROW,
    IDS,
    Purchase,
    any_undecided_stage,
    becomes,
    message,
    purchase_in,
    rejected,
    settles,
)
from workflows.lifecycle import decide
from workflows.lifecycle.deadlines import UNDECIDED
from workflows.lifecycle.events import EffectBlocked, Rejection, VoidPayment
from workflows.lifecycle.state import Code, DeadlineName, Stage
from workflows.messages import Role

OTHER = {Role.CLIENT: Role.FREELANCER, Role.FREELANCER: Role.CLIENT}
either_party = pytest.mark.parametrize("by", list(OTHER))


# --- offers


@any_undecided_stage
@either_party
def test_either_party_proposes_a_split_in_any_undecided_stage(by: Role, stage: Stage) -> None:
    """R-47: the offer is recorded; no money moves and no deadline changes."""
    purchase = purchase_in(stage)
    deadlines = set(purchase.state.deadlines)
    purchase.send(by, "propose_split", refund=15_000)
    becomes(purchase, stage)
    offer = purchase.state.offer
    assert offer is not None
    assert (offer.by, offer.refund, offer.at) == (by, 15_000, purchase.now)
    assert set(purchase.state.deadlines) == deadlines
    assert purchase.last.text.endswith(
        "offered a split: 150.00 USD would go back to Ana and 100.00 USD would go to Bo."
    )


@any_undecided_stage
@either_party
def test_the_other_party_accepts_the_split(by: Role, stage: Stage) -> None:
    """R-45: the escrow is divided as offered."""
    purchase = purchase_in(stage)
    purchase.send(by, "propose_split", refund=15_000)
    purchase.send(OTHER[by], "accept_split", refund=15_000)
    settles(purchase, "mutual_split", refund=15_000, release=10_000)
    assert purchase.state.offer is None


@pytest.mark.parametrize("refund", [0, 1, ESCROW - 1, ESCROW])
def test_a_split_may_give_one_party_everything(refund: int) -> None:
    """R-45, R-47: 0 ≤ refund ≤ escrow; the rest is released."""
    purchase = Purchase().working()
    purchase.freelancer("propose_split", refund=refund)
    purchase.client("accept_split", refund=refund)
    settles(purchase, "mutual_split", refund=refund, release=ESCROW - refund)


def test_more_than_the_escrow_cannot_be_offered() -> None:
    """R-45, R-47: INVALID_AMOUNT, and an earlier offer still stands."""
    purchase = Purchase().working()
    purchase.client("propose_split", refund=15_000)
    answer = purchase.client("propose_split", refund=ESCROW + 1)
    rejected(answer, Code.INVALID_AMOUNT, "250.01 USD", "the escrow of 250.00 USD")
    purchase.freelancer("accept_split", refund=15_000)
    settles(purchase, "mutual_split", refund=15_000, release=10_000)


@either_party
def test_a_newer_offer_of_either_party_replaces_the_older_one(by: Role) -> None:
    """R-45, R-47: the replaced offer can no longer be accepted."""
    purchase = Purchase().working()
    purchase.client("propose_split", refund=20_000)
    purchase.send(by, "propose_split", refund=12_000)
    old = purchase.send(OTHER[by], "accept_split", refund=20_000)
    rejected(old, Code.INVALID_AMOUNT, "120.00 USD", "not 200.00 USD", "repeat the amount")
    purchase.send(OTHER[by], "accept_split", refund=12_000)
    settles(purchase, "mutual_split", refund=12_000, release=13_000)


@any_undecided_stage
def test_without_an_offer_there_is_nothing_to_accept(stage: Stage) -> None:
    """R-45: NO_OFFER; the rejection names propose_split."""
    answer = purchase_in(stage).client("accept_split", refund=15_000)
    rejected(answer, Code.NO_OFFER, "No offer stands. Make one with propose_split")


@either_party
def test_a_party_cannot_accept_its_own_offer(by: Role) -> None:
    """R-45: WRONG_ROLE; a new offer would replace it."""
    purchase = Purchase().working()
    purchase.send(by, "propose_split", refund=15_000)
    answer = purchase.send(by, "accept_split", refund=15_000)
    rejected(answer, Code.WRONG_ROLE, "your own", "propose_split")


def test_a_rejection_names_accept_split_only_to_the_party_that_got_the_offer() -> None:
    """R-15, R-20, R-45: what the sender can do instead includes an offer of the other party
    only."""
    purchase = Purchase().working()
    for role, name in ((Role.CLIENT, "accept_delivery"), (Role.FREELANCER, "cancel")):
        assert "accept_split" not in getattr(purchase.send(role, name), "text", "")
    purchase.freelancer("propose_split", refund=15_000)
    rejected(
        purchase.client("accept_delivery"),
        Code.NOT_ALLOWED_NOW,
        "The client can now send: cancel, accept_split, propose_split, send_message.",
    )
    rejected(
        purchase.freelancer("decide_refund", decision="approve"),
        Code.NOT_ALLOWED_NOW,
        "The freelancer can now send: deliver, give_refund, propose_split, send_message.",
    )


def test_a_rejection_names_the_payment_provider_and_not_its_role() -> None:
    answer = (
        Purchase()
        .working()
        .send(Role.PAYMENTS, "settlement_update", refund_id="re_1", status="sent")
    )
    rejected(answer, Code.NOT_ALLOWED_NOW, "The payment provider can now send: check_payment.")


def test_an_offer_stands_across_stages() -> None:
    """R-14, R-32, R-45: an offer stands until it is replaced, accepted, or the money is decided
    otherwise."""
    purchase = Purchase().working()
    purchase.client("propose_split", refund=15_000)
    purchase.freelancer("deliver")
    purchase.client("cancel")
    purchase.freelancer("accept_split", refund=15_000)
    settles(purchase, "mutual_split", refund=15_000, release=10_000)


# --- mediators


@pytest.mark.parametrize("refund", [0, 15_000, ESCROW])
def test_a_mediator_resolves_a_dispute(refund: int) -> None:
    """R-41: the client gets what the mediator sends, the freelancer the rest."""
    purchase = Purchase().disputed()
    purchase.send(Role.MEDIATOR, "resolve_dispute", refund=refund, note="half was done")
    settles(purchase, "dispute_resolved", refund=refund, release=ESCROW - refund)


def test_a_mediator_cannot_give_more_than_the_escrow() -> None:
    """R-41: INVALID_AMOUNT."""
    answer = Purchase().disputed().send(Role.MEDIATOR, "resolve_dispute", refund=ESCROW + 1)
    rejected(answer, Code.INVALID_AMOUNT, "the escrow of 250.00 USD")


@pytest.mark.parametrize("stage", UNDECIDED[:-1])
def test_a_mediator_cannot_decide_while_the_parties_can(stage: Stage) -> None:
    """R-41: NOT_ALLOWED_NOW outside of a dispute while no person is needed."""
    answer = purchase_in(stage).send(Role.MEDIATOR, "resolve_dispute", refund=0)
    rejected(answer, Code.NOT_ALLOWED_NOW, "resolve_dispute is not possible while")


def test_a_mediator_decides_an_overdue_refund_request() -> None:
    """R-37, R-41: under refund_decision_silence: attention, a mediator may decide."""
    purchase = Purchase(refund_decision_silence="attention").requested()
    purchase.deadline(DeadlineName.REFUND_DECISION)
    purchase.send(Role.MEDIATOR, "resolve_dispute", refund=20_000)
    settles(purchase, "dispute_resolved", refund=20_000, release=5_000)


def test_a_mediator_decides_while_the_payment_is_unknown() -> None:
    """R-41, R-70: the decision waits until the payment is held."""
    purchase = Purchase(held=False)
    purchase.deadline(DeadlineName.PAYMENT)
    purchase.fact(EffectBlocked(VoidPayment.kind, "the provider does not answer"))
    purchase.send(Role.MEDIATOR, "resolve_dispute", refund=ESCROW)
    becomes(purchase, Stage.SETTLING)
    assert purchase.state.held == 0


# --- senders


@pytest.mark.parametrize("stage", UNDECIDED)
@pytest.mark.parametrize("role", [Role.CLIENT, Role.FREELANCER])
def test_nobody_else_can_send_a_message_as_a_party(role: Role, stage: Stage) -> None:
    """R-48, R-49: a party's role with another id is rejected as NOT_A_PARTY."""
    purchase = purchase_in(stage)
    for sender in ("eve", IDS[OTHER[role]], "Ana", "BO"):
        sent = message("send_message", role, sender=sender, text="hello")
        answer = decide(purchase.state, sent, purchase.now)
        rejected(answer, Code.NOT_A_PARTY, sender, f"not the {role.value}", "check `by`")


@pytest.mark.parametrize(
    ("role", "name", "fields"),
    [
        (Role.MEDIATOR, "resolve_dispute", {"refund": 0}),
        (Role.OPERATOR, "resolve_attention", {"action": "retry"}),
        (Role.PAYMENTS, "settlement_update", {"refund_id": "r", "status": "settled"}),
    ],
)
@pytest.mark.parametrize("party", ["ana", "bo"])
def test_a_party_cannot_act_as_staff_in_its_own_purchase(
    role: Role, name: str, fields: dict[str, Any], party: str
) -> None:
    """R-41, R-65, R-73: a staff role with the id of a party is rejected as WRONG_ROLE."""
    purchase = Purchase().disputed()
    answer = decide(purchase.state, message(name, role, sender=party, **fields), purchase.now)
    rejected(answer, Code.WRONG_ROLE, "party to this purchase")


def test_a_rejected_role_learns_which_roles_may_send_the_message() -> None:
    """R-14, R-15, R-47, R-65: WRONG_ROLE; the sentence names the right roles."""
    purchase = Purchase().delivered()
    rejected(purchase.client("deliver"), Code.WRONG_ROLE, "for the freelancer, not for the client")
    rejected(purchase.freelancer("accept_delivery"), Code.WRONG_ROLE, "for the client")
    offer = purchase.send(Role.MEDIATOR, "propose_split", refund=0)
    rejected(offer, Code.WRONG_ROLE, "for the client or freelancer, not for the mediator")
    update = purchase.client("settlement_update", refund_id="r", status="settled")
    rejected(update, Code.WRONG_ROLE, "for the payment provider, not for the client")


def test_a_rejection_changes_nothing() -> None:
    """R-15: no deadline restarts, and the state is the same object."""
    purchase = Purchase().working().after(days=10)
    before = purchase.state
    answer = purchase.client("accept_delivery")
    assert isinstance(answer, Rejection)
    assert purchase.state is before


def test_an_offer_is_notified_to_both_parties() -> None:
    """R-47: the actor is the party that made the offer."""
    purchase = Purchase().working()
    purchase.client("propose_split", refund=1)
    assert set(purchase.notices[0].recipients) == BOTH
    assert purchase.notices[0].actor == "client"
    assert (
        purchase.last.text
        == "Ana offered a split: 0.01 USD would go back to Ana and 249.99 USD would go to Bo."
    )
