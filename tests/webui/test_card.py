"""The status card shows support staff everything about a purchase at a glance."""

from datetime import timedelta

import pytest
from pydantic import ValidationError

from activities.requests import Undelivered
from demo.scenarios import SCENARIOS
from temporal.terms import details
from tests.lifecycle.builders import NOON, Purchase, pending_refund, purchase_in
from workflows import lifecycle
from workflows.card import card
from workflows.lifecycle.events import Accepted, DeadlineExpired, PaymentDeclined
from workflows.lifecycle.rejections import STAGE_TEXT
from workflows.lifecycle.state import DeadlineName, Stage
from workflows.messages import MESSAGES, RejectedSignal, Role, Sender
from workflows.summary import summary
from workflows.workflow_state import AcceptedStart, WorkflowState

OPEN_STAGES = [stage for stage in Stage if stage not in (Stage.SETTLING, Stage.CLOSED)]
MAX_CARD_BYTES = 20_000
"""The largest card that the server accepts."""


def state_of(purchase: Purchase) -> WorkflowState:
    """A workflow's state for a purchase; its timeline has only the last transition."""
    found = WorkflowState(
        start=AcceptedStart.of(SCENARIOS[0].start("p-1")),
        purchase=purchase.state,
        reminded_until=NOON,
    )
    found.record(purchase.last, purchase.now)
    return found


def section(text: str, title: str) -> list[str]:
    """The items of a list of the card."""
    _, _, rest = text.partition(f"**{title}**\n\n")
    return rest.partition("\n\n")[0].splitlines()


@pytest.mark.parametrize("stage", OPEN_STAGES)
def test_the_card_begins_with_the_stage_who_acts_next_and_the_money(stage: Stage) -> None:
    """The first lines name the stage, who has to act and until when, what happens otherwise, the
    rule and the money."""
    purchase = purchase_in(stage)

    lines = card(state_of(purchase)).splitlines()

    description = STAGE_TEXT[stage]
    assert lines[0] == f"### {description[0].upper()}{description[1:]}"
    assert lifecycle.waiting_for(purchase.state) in lines[2]
    assert lines[2].startswith("- **Waiting for:** ")
    assert ", until 20" in lines[2]
    assert lines[3].startswith("- **If nobody acts by then:** ")
    assert lines[4].startswith("- **Rule:** ")
    assert "- **Money:** 250.00 USD held in escrow" in lines


@pytest.mark.parametrize("stage", OPEN_STAGES)
def test_the_card_lists_every_deadline(stage: Stage) -> None:
    """Every open deadline is shown with its end and what happens then."""
    purchase = purchase_in(stage)

    text = card(state_of(purchase))

    for deadline in lifecycle.deadlines(purchase.state):
        assert f"until {deadline.at:%Y-%m-%d %H:%M:%S} UTC" in text
        assert deadline.then in text


@pytest.mark.parametrize("stage", OPEN_STAGES)
def test_the_card_lists_exactly_what_the_rules_accept_from_the_parties(stage: Stage) -> None:
    """Per party, the card lists the messages that the query `actions` reports as allowed."""
    purchase = purchase_in(stage)

    client, freelancer = section(card(state_of(purchase)), "The parties may send")

    for line, role in ((client, Role.CLIENT), (freelancer, Role.FREELANCER)):
        actions = lifecycle.permissions(purchase.state, role, purchase.now)
        allowed = {action.message for action in actions if action.allowed}
        assert {name for name in MESSAGES if f"`{name}`" in line} == allowed


def test_the_message_for_a_mediator_is_accepted_with_an_amount_and_moves_nothing_without() -> None:
    """The mediator has to write the amount: sent as it is on the card, the message is invalid."""
    purchase = purchase_in(Stage.DISPUTED)

    item = next(
        line for line in section(card(state_of(purchase)), "For staff") if "resolve" in line
    )
    sent = item.split("`")[3]
    with pytest.raises(ValidationError):
        MESSAGES["resolve_dispute"].model_validate_json(sent)
    assert "25000 is 250.00 USD" in item
    message = MESSAGES["resolve_dispute"].model_validate_json(sent.replace('"AMOUNT"', "20000"))

    assert message.by == Sender(role=Role.MEDIATOR, id="your-id")
    assert isinstance(lifecycle.decide(purchase.state, message, purchase.now), Accepted)


def test_the_card_says_what_a_reset_forgets() -> None:
    """Staff read it before they press the button; a closed purchase needs no warning."""
    held = section(card(state_of(Purchase())), "For staff")
    assert any(line.startswith("- Before *Reset*: the purchase forgets") for line in held)


def test_the_card_warns_of_terminate_and_says_what_a_cancellation_refunds() -> None:
    """The amount that Request Cancellation refunds is shown while the money is held, not while a
    refund is in transit. The warning is always shown."""
    warned = "- Never press *Terminate*"
    cancels = "- *Request Cancellation* gives 250.00 USD back to the client"
    held = section(card(state_of(Purchase())), "For staff")
    on_its_way = section(card(state_of(pending_refund())), "For staff")

    assert any(line.startswith(cancels) for line in held)
    assert not any(line.startswith(cancels) for line in on_its_way)
    assert any(line.startswith(warned) for line in (*held, *on_its_way))


def test_attention_comes_first_on_the_card_with_the_messages_to_send() -> None:
    """The card of a late refund begins with the alert and lists the messages that resolve it."""
    purchase = pending_refund()
    purchase.deadline(DeadlineName.SETTLEMENT)

    text = card(state_of(purchase))

    assert text.split("\n\n")[1].startswith("> **Needs attention:** The refund is not settled")
    assert "- **Waiting for:** our staff (operator)" in text
    sent = [line for line in section(text, "For staff") if "resolve_attention" in line]
    assert ['"retry"' in line for line in sent] == [True, False]
    assert ['"mark_settled"' in line for line in sent] == [False, True]


def test_the_card_shows_decision_claim_and_offer_in_amounts() -> None:
    """Claim, offer and decision are shown as who gets how much."""
    purchase = purchase_in(Stage.CONTESTED)
    purchase.client("propose_split", refund=20_000)

    contested = card(state_of(purchase))
    purchase.freelancer("accept_split", refund=20_000)
    decided = card(state_of(purchase))

    divided = "200.00 USD to the client, 50.00 USD to the freelancer"
    assert "- **Claim:** the freelancer wants to keep 100.00 USD" in contested
    assert f"- **Offer of the client:** {divided}" in contested
    assert f"- **Decided:** mutual split, {divided}" in decided


def test_the_card_counts_rejected_signals_and_undelivered_notices_and_shows_the_newest() -> None:
    """Their names and texts are escaped, so that they cannot add markup."""
    found = state_of(Purchase())
    sender = Sender(role=Role.FREELANCER, id="bo")
    for number in range(5):
        found.add_rejected(
            RejectedSignal(
                at=NOON + timedelta(minutes=number),
                name="`<b>deliver|",
                code="NOT_ALLOWED_NOW",
                text=f"Refused {number}.\n# Not a heading",
                sender=sender,
            )
        )
    found.undelivered = [
        Undelivered(
            transition="refund_approved", role="client", channel="email", at=NOON, why="gone"
        )
    ]

    text = card(found)

    shown = section(text, "Rejected signals: 5")
    assert [line.partition("Refused ")[2][0] for line in shown] == ["4", "3", "2"]
    assert "\\`\\<b\\>deliver\\| by the freelancer (bo)" in shown[0]
    assert "\n# Not" not in text
    assert section(text, "Undelivered notices: 1") == [
        "- 2026-03-02 12:00:00 refund approved, to the client by email: gone"
    ]


def test_the_card_of_a_closed_purchase_shows_the_outcome_and_no_actions() -> None:
    """Outcome and reason in description; nothing to send."""
    purchase = Purchase(held=False)
    purchase.fact(PaymentDeclined())

    text = card(state_of(purchase))

    assert "- **Outcome:** payment declined (payment declined)" in text
    assert "- **Money:** nothing was paid" in text
    assert "For staff" not in text
    assert "may send" not in text


def test_the_card_fits_the_servers_limit_with_the_longest_texts() -> None:
    """With the longest texts and the most events, the card stays below the limit."""
    found = state_of(purchase_in(Stage.DISPUTED))
    sender = Sender(role=Role.CLIENT, id="a" * 64)
    for _ in range(60):
        found.record(Purchase().fact(DeadlineExpired(DeadlineName.REQUIREMENTS)), NOON)
        found.add_rejected(
            RejectedSignal(at=NOON, name="*" * 64, code="CLOSED", text="*" * 4_000, sender=sender)
        )

    assert len(card(found).encode()) < MAX_CARD_BYTES


def test_the_static_details_show_the_terms_without_names_or_addresses() -> None:
    """Parties are shown by their ids, windows in plain units."""
    terms = SCENARIOS[0].start("p-1")

    shown = details(terms)

    assert summary(terms) == "Logo design · 250.00 USD · ana → bo"
    assert "- requirements window: 48 hours" in shown
    assert "- claim window: 5 business days" in shown
    assert "- free cancel window: none" in shown
    assert "example.com" not in shown
