"""Who may do what, continued: offers and mediators, and who is listened to at all."""

from typing import Any

import pytest

from tests.lifecycle.builders import (
    BOTH,
    ESCROW,
    IDS,
    Purchase,
    any_stage_with_escrow,
    becomes,
    purchase_in,
    rejected,
    said,
    settles,
)
from workflows.lifecycle import decide
from workflows.lifecycle.deadlines import WITH_ESCROW
from workflows.lifecycle.events import EffectBlocked, Rejection, VoidPayment
from workflows.lifecycle.state import Code, DeadlineName, Stage
from workflows.messages import Role

OTHER = {Role.CLIENT: Role.FREELANCER, Role.FREELANCER: Role.CLIENT}
either_side = pytest.mark.parametrize("by", list(OTHER))


# --- offers


@any_stage_with_escrow
@either_side
def test_either_side_proposes_a_split_in_any_stage_with_escrow(by: Role, stage: Stage) -> None:
    """propose_split {refund}, client or freelancer → offered to the other side; nothing moves."""
    purchase = purchase_in(stage)
    deadlines = set(purchase.state.deadlines)
    purchase.staff(by, "propose_split", refund=15_000)
    becomes(purchase, stage)
    offer = purchase.state.offer
    assert offer is not None
    assert (offer.by, offer.refund, offer.at) == (by, 15_000, purchase.now)
    assert set(purchase.state.deadlines) == deadlines
    assert purchase.last.text.endswith(
        "offered a split: 150.00 USD would go back to Ana and 100.00 USD would go to Bo."
    )


@any_stage_with_escrow
@either_side
def test_the_other_side_accepts_the_split(by: Role, stage: Stage) -> None:
    """accept_split, the other side, an offer stands → as offered, mutual_split."""
    purchase = purchase_in(stage)
    purchase.staff(by, "propose_split", refund=15_000)
    purchase.staff(OTHER[by], "accept_split", refund=15_000)
    settles(purchase, "mutual_split", refund=15_000, release=10_000)
    assert purchase.state.offer is None


@pytest.mark.parametrize("refund", [0, 1, ESCROW - 1, ESCROW])
def test_a_split_may_give_one_side_everything(refund: int) -> None:
    """propose_split, accept_split: 0 ≤ refund ≤ E, the rest is released."""
    purchase = Purchase().working()
    purchase.freelancer("propose_split", refund=refund)
    purchase.client("accept_split", refund=refund)
    settles(purchase, "mutual_split", refund=refund, release=ESCROW - refund)


def test_more_than_the_escrow_cannot_be_offered() -> None:
    """propose_split above E → INVALID_AMOUNT, and an earlier offer still stands."""
    purchase = Purchase().working()
    purchase.client("propose_split", refund=15_000)
    answer = purchase.client("propose_split", refund=ESCROW + 1)
    rejected(answer, Code.INVALID_AMOUNT, "250.01 USD", "the escrow of 250.00 USD")
    purchase.freelancer("accept_split", refund=15_000)
    settles(purchase, "mutual_split", refund=15_000, release=10_000)


@either_side
def test_a_newer_offer_replaces_an_older_one_whosever_it_was(by: Role) -> None:
    """propose_split: the replaced offer can no longer be accepted."""
    purchase = Purchase().working()
    purchase.client("propose_split", refund=20_000)
    purchase.staff(by, "propose_split", refund=12_000)
    old = purchase.staff(OTHER[by], "accept_split", refund=20_000)
    rejected(old, Code.INVALID_AMOUNT, "120.00 USD", "not 200.00 USD", "repeat the amount")
    purchase.staff(OTHER[by], "accept_split", refund=12_000)
    settles(purchase, "mutual_split", refund=12_000, release=13_000)


@any_stage_with_escrow
def test_without_an_offer_there_is_nothing_to_accept(stage: Stage) -> None:
    """accept_split, no offer stands → NO_OFFER, names propose_split."""
    answer = purchase_in(stage).client("accept_split", refund=15_000)
    rejected(answer, Code.NO_OFFER, "No offer stands. Make one with propose_split")


@either_side
def test_nobody_accepts_an_offer_of_their_own(by: Role) -> None:
    """accept_split is the other side's."""
    purchase = Purchase().working()
    purchase.staff(by, "propose_split", refund=15_000)
    answer = purchase.staff(by, "accept_split", refund=15_000)
    rejected(answer, Code.WRONG_ROLE, "your own", "propose_split")


def test_a_refusal_names_accept_split_to_whom_an_offer_was_made() -> None:
    """What could be done instead: accepting an offer, if there is one, and not one's own."""
    purchase = Purchase().working()
    for role, name in ((Role.CLIENT, "accept_delivery"), (Role.FREELANCER, "cancel")):
        assert "accept_split" not in getattr(purchase.staff(role, name), "text", "")
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


def test_an_offer_outlives_a_change_of_stage() -> None:
    """An offer stands until it is replaced, accepted, or the money is decided otherwise."""
    purchase = Purchase().working()
    purchase.client("propose_split", refund=15_000)
    purchase.freelancer("deliver")
    purchase.client("cancel")
    purchase.freelancer("accept_split", refund=15_000)
    settles(purchase, "mutual_split", refund=15_000, release=10_000)


# --- mediators


@pytest.mark.parametrize("refund", [0, 15_000, ESCROW])
def test_mediator_resolves_a_dispute(refund: int) -> None:
    """resolve_dispute {refund}, mediator, disputed → as decided, dispute_resolved."""
    purchase = Purchase().disputed()
    purchase.staff(Role.MEDIATOR, "resolve_dispute", refund=refund, note="half was done")
    settles(purchase, "dispute_resolved", refund=refund, release=ESCROW - refund)


def test_mediator_cannot_give_more_than_the_escrow() -> None:
    """resolve_dispute above E → INVALID_AMOUNT."""
    answer = Purchase().disputed().staff(Role.MEDIATOR, "resolve_dispute", refund=ESCROW + 1)
    rejected(answer, Code.INVALID_AMOUNT, "the escrow of 250.00 USD")


@pytest.mark.parametrize("stage", WITH_ESCROW[:-1])
def test_mediator_stays_out_while_the_parties_can_decide(stage: Stage) -> None:
    """resolve_dispute outside of a dispute, nobody needed → NOT_ALLOWED_NOW."""
    answer = purchase_in(stage).staff(Role.MEDIATOR, "resolve_dispute", refund=0)
    rejected(answer, Code.NOT_ALLOWED_NOW, "resolve_dispute is not possible while")


def test_mediator_decides_an_unanswered_request_that_needs_attention() -> None:
    """resolve_dispute, mediator, a stage under needs_attention → as decided."""
    purchase = Purchase(refund_decision_silence="attention").requested()
    purchase.deadline(DeadlineName.REFUND_DECISION)
    purchase.staff(Role.MEDIATOR, "resolve_dispute", refund=20_000)
    settles(purchase, "dispute_resolved", refund=20_000, release=5_000)


def test_mediator_decides_while_the_payment_is_unknown_and_the_money_follows() -> None:
    """resolve_dispute under needs_attention before the hold: carried out once it is held."""
    purchase = Purchase(held=False)
    purchase.deadline(DeadlineName.PAYMENT)
    purchase.learns(EffectBlocked(VoidPayment.kind, "the provider does not answer"))
    purchase.staff(Role.MEDIATOR, "resolve_dispute", refund=ESCROW)
    becomes(purchase, Stage.SETTLING)
    assert purchase.state.held == 0


# --- who is listened to


@pytest.mark.parametrize("stage", WITH_ESCROW)
@pytest.mark.parametrize("role", [Role.CLIENT, Role.FREELANCER])
def test_strangers_and_the_other_party_cannot_speak_for_a_party(role: Role, stage: Stage) -> None:
    """Anybody under a party's role but not its id → NOT_A_PARTY."""
    purchase = purchase_in(stage)
    for sender in ("eve", IDS[OTHER[role]], "Ana", "BO"):
        message = said("send_message", role, sender=sender, text="hello")
        answer = decide(purchase.state, message, purchase.now)
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
    """A mediator who is the client, an operator who is the freelancer → WRONG_ROLE."""
    purchase = Purchase().disputed()
    answer = decide(purchase.state, said(name, role, sender=party, **fields), purchase.now)
    rejected(answer, Code.WRONG_ROLE, "party to this purchase")


def test_a_wrong_role_is_told_whose_message_it_is() -> None:
    """deliver by the client, accept_delivery by the freelancer → WRONG_ROLE, names its roles."""
    purchase = Purchase().delivered()
    rejected(purchase.client("deliver"), Code.WRONG_ROLE, "for the freelancer, not for the client")
    rejected(purchase.freelancer("accept_delivery"), Code.WRONG_ROLE, "for the client")
    offer = purchase.staff(Role.MEDIATOR, "propose_split", refund=0)
    rejected(offer, Code.WRONG_ROLE, "for the client or freelancer, not for the mediator")


def test_a_refusal_leaves_everything_as_it_was() -> None:
    """A refused message has no effects: no clock restarts, nobody is told by the rules."""
    purchase = Purchase().working().after(days=10)
    before = purchase.state
    answer = purchase.client("accept_delivery")
    assert isinstance(answer, Rejection)
    assert purchase.state is before


def test_each_row_tells_both_sides_or_says_why_not() -> None:
    """Every row tells both parties; words go to the other side only, an operator's housekeeping
    and the provider's reports have notices of their own."""
    purchase = Purchase().working()
    purchase.client("propose_split", refund=1)
    assert set(purchase.notices[0].recipients) == BOTH
    assert purchase.notices[0].actor == "client"
    assert (
        purchase.last.text
        == "Ana offered a split: 0.01 USD would go back to Ana and 249.99 USD would go to Bo."
    )
