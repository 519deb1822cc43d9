"""The status card tells support staff in ten seconds what there is to know."""

from datetime import timedelta

import pytest

from activities.requests import Undelivered
from demo.scenarios import SCENARIOS
from temporal.terms import details, summary
from tests.lifecycle.builders import NOON, Purchase, purchase_in, refund_under_way
from workflows import lifecycle
from workflows.card import card
from workflows.lifecycle.rejections import IN_WORDS
from workflows.lifecycle.events import Accepted, DeadlineExpired, PaymentDeclined
from workflows.lifecycle.state import DeadlineName, Stage
from workflows.messages import MESSAGES, RejectedSignal, Role, Sender
from workflows.workflow_state import WorkflowState

OPEN = [stage for stage in Stage if stage not in (Stage.SETTLING, Stage.CLOSED)]
LIMIT = 20_000
"""Bytes that the server takes for a card."""


def memory(purchase: Purchase) -> WorkflowState:
    """What a workflow remembers of a purchase; its last event stands for its timeline."""
    found = WorkflowState(
        start=SCENARIOS[0].start("p-1"), state=purchase.state, reminded_until=NOON
    )
    found.record(purchase.last, "client", purchase.now)
    return found


def section(text: str, title: str) -> list[str]:
    """The items of a list of the card."""
    _, _, rest = text.partition(f"**{title}**\n\n")
    return rest.partition("\n\n")[0].splitlines()


@pytest.mark.parametrize("stage", OPEN)
def test_it_begins_with_the_stage_whose_turn_it_is_and_the_money(stage: Stage) -> None:
    """Until when, what silence does and by which rule."""
    purchase = purchase_in(stage)

    lines = card(memory(purchase)).splitlines()

    words = IN_WORDS[stage]
    assert lines[0] == f"### {words[0].upper()}{words[1:]}"
    assert lifecycle.waiting_for(purchase.state) in lines[2]
    assert lines[2].startswith("- **Whose turn:** ")
    assert ", until 20" in lines[2]
    assert lines[3].startswith("- **Silence until then:** ")
    assert lines[4].startswith("- **Rule:** ")
    assert "- **Money:** 250.00 USD held in escrow" in lines


@pytest.mark.parametrize("stage", OPEN)
def test_every_deadline_is_on_it(stage: Stage) -> None:
    """The one whose turn it is, and all that run beside it."""
    purchase = purchase_in(stage)

    text = card(memory(purchase))

    for deadline in lifecycle.deadlines(purchase.state):
        assert f"until {deadline.at:%Y-%m-%d %H:%M:%S} UTC" in text
        assert deadline.then in text


@pytest.mark.parametrize("stage", OPEN)
def test_it_lists_exactly_what_the_rules_accept_from_the_parties(stage: Stage) -> None:
    """The same that `actions` answers to a party's own page."""
    purchase = purchase_in(stage)

    client, freelancer = section(card(memory(purchase)), "The parties may send")

    for line, role in ((client, Role.CLIENT), (freelancer, Role.FREELANCER)):
        actions = lifecycle.actions(purchase.state, role, purchase.now)
        allowed = {action.message for action in actions if action.allowed}
        assert {name for name in MESSAGES if f"`{name}`" in line} == allowed


def test_the_message_for_a_mediator_is_one_that_is_accepted() -> None:
    """As the card writes it, but for the sender's own id."""
    purchase = purchase_in(Stage.DISPUTED)

    item = next(line for line in section(card(memory(purchase)), "For staff") if "resolve" in line)
    sent = item.split("`")[3]
    message = MESSAGES["resolve_dispute"].model_validate_json(sent)

    assert message.by == Sender(role=Role.MEDIATOR, id="your-id")
    assert isinstance(lifecycle.decide(purchase.state, message, purchase.now), Accepted)


def test_it_warns_of_terminate_and_says_what_a_cancellation_gives_back() -> None:
    """While there is money; a refund on its way can no longer be cancelled."""
    warned = "- Never press *Terminate*"
    cancels = "- *Request Cancellation* gives 250.00 USD back to the client"
    held = section(card(memory(Purchase())), "For staff")
    on_its_way = section(card(memory(refund_under_way())), "For staff")

    assert any(line.startswith(cancels) for line in held)
    assert not any(line.startswith(cancels) for line in on_its_way)
    assert any(line.startswith(warned) for line in (*held, *on_its_way))


def test_what_needs_attention_comes_first_with_the_messages_to_send() -> None:
    """A refund that is late."""
    purchase = refund_under_way()
    purchase.deadline(DeadlineName.SETTLEMENT)

    text = card(memory(purchase))

    assert text.split("\n\n")[1].startswith("> **Needs attention:** The refund has not arrived")
    assert "- **Whose turn:** our staff (operator)" in text
    sent = [line for line in section(text, "For staff") if "resolve_attention" in line]
    assert ['"retry"' in line for line in sent] == [True, False]
    assert ['"mark_settled"' in line for line in sent] == [False, True]


def test_a_decision_a_claim_and_an_offer_are_told_in_amounts() -> None:
    """Who gets what."""
    purchase = purchase_in(Stage.CONTESTED)
    purchase.client("propose_split", refund=20_000)

    contested = card(memory(purchase))
    purchase.freelancer("accept_split", refund=20_000)
    decided = card(memory(purchase))

    divided = "200.00 USD to the client, 50.00 USD to the freelancer"
    assert "- **Claim:** the freelancer wants to keep 100.00 USD" in contested
    assert f"- **Offer of the client:** {divided}" in contested
    assert f"- **Decided:** mutual split, {divided}" in decided


def test_refused_signals_and_undelivered_notices_are_counted_and_the_newest_shown() -> None:
    """Whatever was in their names and texts is text, and no markup."""
    found = memory(Purchase())
    sender = Sender(role=Role.FREELANCER, id="bo")
    for number in range(5):
        found.reject(
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

    shown = section(text, "Refused signals: 5")
    assert [line.partition("Refused ")[2][0] for line in shown] == ["4", "3", "2"]
    assert "\\`\\<b\\>deliver\\| by the freelancer (bo)" in shown[0]
    assert "\n# Not" not in text
    assert section(text, "Undelivered notices: 1") == [
        "- 2026-03-02 12:00:00 refund approved, to the client by email: gone"
    ]


def test_a_closed_purchase_says_how_it_ended_and_asks_nobody_for_anything() -> None:
    """Outcome and reason in words; nothing to send."""
    purchase = Purchase(held=False)
    purchase.learns(PaymentDeclined())

    text = card(memory(purchase))

    assert "- **Outcome:** payment declined (payment declined)" in text
    assert "- **Money:** nothing was paid" in text
    assert "For staff" not in text
    assert "may send" not in text


def test_it_fits_whatever_others_write() -> None:
    """The longest texts, the most events."""
    found = memory(purchase_in(Stage.DISPUTED))
    sender = Sender(role=Role.CLIENT, id="a" * 64)
    for _ in range(60):
        found.record(Purchase().learns(DeadlineExpired(DeadlineName.REQUIREMENTS)), "system", NOON)
        found.reject(
            RejectedSignal(at=NOON, name="*" * 64, code="CLOSED", text="*" * 4_000, sender=sender)
        )

    assert len(card(found).encode()) < LIMIT


def test_the_terms_are_told_in_words_and_by_ids_only() -> None:
    """No name and no address, and windows as people say them."""
    terms = SCENARIOS[0].start("p-1")

    told = details(terms)

    assert summary(terms) == "Logo design · 250.00 USD · ana → bo"
    assert "- requirements window: 48 h" in told
    assert "- claim window: 5 business days" in told
    assert "example.com" not in told
