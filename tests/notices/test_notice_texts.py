"""The text of every notice that a party can ever get."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any

import pytest

from activities.notices.render import Rendered, render
from activities.requests import NoticeRequest, Recipient
from demo.scenarios import SCENARIOS
from tests.lifecycle.builders import NOON, Purchase
from tests.lifecycle.test_walk import POLICIES, walked
from tests.notices.sample_notices import PARTIES, samples_of
from workflows import lifecycle
from workflows.lifecycle import newest, newest_rules
from workflows.lifecycle.events import Accepted, Notify
from workflows.lifecycle.state import Code, State
from workflows.messages import PurchaseStart
from workflows.notice_requests import notice_request
from workflows.workflow_state import AcceptedStart, PendingNotice, WorkflowState

NAMES = {"client": "Ana", "freelancer": "Bo"}
NOT_CHECKED = ("Hello ", "The exact answer: ", "See the purchase")
"""Paragraphs that are no sentences of the rules, or that name them in technical terms."""


@dataclass(frozen=True)
class Written:
    """A notice for one reader."""

    request: NoticeRequest
    reader: Recipient
    rendered: Rendered

    @property
    def paragraphs(self) -> list[str]:
        """The paragraphs, without commands, quotations and the footer."""
        body = self.rendered.text.split("\n—\n")[0]
        rows = [row for row in body.split("\n") if not re.match(r"> ?|\s+recourse ", row)]
        found = [" ".join(each.split()) for each in "\n".join(rows).split("\n\n")]
        return [each for each in found if each and not each.startswith(NOT_CHECKED)]


def start(policy: dict[str, Any]) -> PurchaseStart:
    """Ana buys from Bo under this policy; both read English."""
    given = SCENARIOS[0].start("p-1").model_dump(mode="json")
    given["client"]["locale"] = "en_US"
    needed = policy.get("requirements_needed", True)
    chosen = {name: value for name, value in policy.items() if name != "requirements_needed"}
    return PurchaseStart.model_validate({**given, "requirements_needed": needed, "policy": chosen})


def notices() -> Iterator[tuple[str, Notify, State]]:
    """The notices of every state that a purchase can reach, with the policy. Of those with the same
    transition, actor, stage, expiries and amounts, one."""
    seen = set()
    for policy in POLICIES:
        found = walked(newest(), policy)
        for edge in (edge for edges in found.edges.values() for edge in edges):
            if not isinstance(edge.answer, Accepted):
                continue
            state = edge.answer.state
            for notice in edge.answer.notices:
                amounts = frozenset(state.amounts)
                key = (notice.transition, notice.actor, state.stage, expiries(state), amounts)
                if key not in seen:
                    seen.add(key)
                    yield policy, notice, state


def expiries(state: State) -> frozenset[str]:
    """What the open deadlines lead to."""
    rows = (lifecycle.on_expiry(state, deadline) for deadline in state.deadlines)
    return frozenset(row.id for row in rows if row)


@cache
def everything() -> tuple[Written, ...]:
    """Every notice for each of its recipients, and each reminder that may come in every state."""
    found = []
    for policy, notify, state in notices():
        workflow_state = WorkflowState.begin(
            AcceptedStart.of(start(POLICIES[policy])), NOON, newest()
        )
        workflow_state.purchase = state
        near = [
            lifecycle.reminder(state, rule.name)
            for rule in lifecycle.rules_of(state).deadlines
            if rule.reminds and rule.name in state.deadlines
        ]
        for each in (notify, *near):
            early = NOON - timedelta(days=1)
            pending = PendingNotice(notify=each, number="1", at=early, amounts=state.amounts)
            asked = notice_request(workflow_state, pending)
            found += [Written(asked, who, render(asked, who, None)) for who in asked.recipients]
    return tuple(found)


@pytest.fixture(scope="module", params=PARTIES)
def written(request: pytest.FixtureRequest) -> list[Written]:
    """Every notice that one of the parties can get."""
    return [each for each in everything() if each.reader.role == request.param]


# --- completeness


def test_every_notice_has_a_sample() -> None:
    """For a missing transition, actor or recipient, add a sample purchase in which it happens to
    docs/notice_samples.py."""
    samples = samples_of("en-US")
    sent = {
        (each.request.transition, each.request.actor, each.reader.role) for each in everything()
    }
    missing = sent - {(one.request.transition, one.request.actor, one.role) for one in samples}
    assert not missing, f"`make notices` shows nothing of {sorted(missing)}"
    kinds = {sample.kind for sample in samples}
    reminded = {rule.name for rule in newest_rules().deadlines if rule.reminds}
    assert {about for name, _, about in kinds if name == "reminder"} == reminded
    unsent = {Code.CLOSED, Code.NOT_A_PARTY}  # nobody is notified of these
    assert {about for name, _, about in kinds if name == "message_rejected"} == set(Code) - unsent


# --- language


def test_readers_are_addressed_as_you(written: list[Written]) -> None:
    """Ana reads "You cancelled" and "your refund", never her name or "the client"."""
    for each in written:
        text = "\n".join(each.paragraphs)
        assert not re.search(rf"\b{NAMES[each.reader.role]}\b", text), text
        assert not re.search(r"\bthe (client|freelancer)\b", text, re.IGNORECASE), text


def test_verbs_fit_you_and_a_name(written: list[Written]) -> None:
    """One sentence serves both readers, so no verb after "you" is in the third person."""
    for each in written:
        text = "\n".join(each.paragraphs)
        assert not re.search(r"\byou (is|was|has|does|goes|\w+[^aeious]s)\b", text, re.I), text


def test_no_placeholder_or_identifier_is_left(written: list[Written]) -> None:
    """No braces, no underscores, no None, and no doubled punctuation."""
    for each in written:
        text = "\n".join(each.paragraphs)
        assert not re.search(r"[{}_]|None|\.\.|,,| [.,;:]|If nobody acts until then", text), text


def test_sections_have_content_and_sentences_end(written: list[Written]) -> None:
    """An empty line follows every title; every paragraph ends with a full stop."""
    title = r"(The money|What you can do now|.+ wrote:|(Next deadline|After that): .+)"
    for each in written:
        assert not re.search(rf"^{title}\n\n?[^\s>]", each.rendered.text, re.MULTILINE)
        for paragraph in each.paragraphs:
            assert re.fullmatch(rf"{title}|Confirm the payment: .+|.+\.|[-$].+", paragraph), (
                paragraph
            )


def allowed(reader: Recipient) -> set[str]:
    """Messages that the notice offers, with their choice where they have one."""
    return {
        f"{each.message} {each.fields['decision']}" if "decision" in each.fields else each.message
        for each in reader.allowed
    }


MAY = {
    "accept the claim": "accept_claim",
    "take the cancellation back": "withdraw_cancellation",
    "open a dispute": "open_dispute",
    "accept the delivery": "accept_delivery",
    "ask for changes": "request_changes",
    "accept the offer": "accept_split",
    "approve": "decide_refund approve",
    "decline": "decide_refund decline",
    "messag": "send_message",
    "split": "propose_split",
}
"""What texts say that a reader may do, and the message that does it."""


def test_texts_mention_only_messages_that_are_allowed(written: list[Written]) -> None:
    """Where a text says that the reader may do something, the message is allowed."""
    mentioned = set()
    for each in written:
        for sentence in (one for text in each.paragraphs for one in re.split(r"(?<=[.:;]) ", text)):
            if re.search(r"\byou (may|can) (?!no)|^consider ", sentence, re.IGNORECASE):
                for words, message in MAY.items():
                    if words in sentence:
                        assert message in allowed(each.reader), sentence
                        mentioned.add(words)
    assert mentioned


def test_the_next_deadline_is_shown_with_its_expiry(written: list[Written]) -> None:
    """In UTC and in the reader's own zone, and what happens if nobody acts."""
    shown_to = {"client": "Europe/Lisbon, UTC+", "freelancer": "(UTC)"}
    for each in written:
        found = [
            at for at, text in enumerate(each.paragraphs) if text.startswith("Next deadline: ")
        ]
        if not [one for one in each.request.deadlines if not one.staff_only]:
            assert not found
            continue
        moment = each.paragraphs[found[0] + 1]
        assert shown_to[each.reader.role] in moment
        assert "If nobody acts by then: " in moment


def test_movements_are_shown_with_source_and_target(written: list[Written]) -> None:
    """The reader's own accounts are "your …", the other party's have its name."""
    for each in written:
        for move in each.request.movements:
            line = f"${move.amount / 100:.2f} From {move.source} to {move.target}"
            for role, name in NAMES.items():
                whose = "your" if role == each.reader.role else f"{name}'s"
                line = line.replace(f"the {role}'s", whose)
            assert any(line in text for text in each.paragraphs), line


@pytest.mark.parametrize(
    ("transition", "client", "freelancer"),
    [
        (
            "client_cancelled",
            "You cancelled the project and asked Bo to refund $250.00.",
            "Ana cancelled the project and asked you to refund $250.00.",
        ),
        (
            "freelancer_cancelled",
            "Bo cancelled the project: all of the money, $250.00, goes back to you.",
            "You cancelled the project: all of the money, $250.00, goes back to Ana.",
        ),
        (
            "refund_declined",
            "Bo declined the refund and claimed $100.00 of the $250.00 in escrow.",
            "You declined the refund and claimed $100.00 of the $250.00 in escrow.",
        ),
        (
            "claim_accepted",
            "You accepted the claim: $150.00 goes back to you and $100.00 goes to Bo.",
            "Ana accepted the claim: $150.00 goes back to Ana and $100.00 goes to you.",
        ),
        (
            "freelancer_silent",
            "Bo did not answer the refund request in time, so our system granted it: all of the "
            "money, $250.00, goes back to you.",
            "You did not answer the refund request in time, so our system granted it: all of the "
            "money, $250.00, goes back to Ana.",
        ),
        (
            "client_dormant",
            "Nothing happened in this project for 90 days, so our system asked Bo in your name to "
            "refund $250.00.",
            "Nothing happened in this project for 90 days, so our system asked you in Ana's name "
            "to refund $250.00.",
        ),
        (
            "cancelled_by_platform",
            "Our staff cancelled the purchase: all of the money, $250.00, goes back to you.",
            "Our staff cancelled the purchase: all of the money, $250.00, goes back to Ana.",
        ),
        (
            "refund_settled",
            "Your refund of $250.00 has arrived.",
            "Ana's refund of $250.00 has arrived.",
        ),
    ],
)
def test_each_party_is_addressed_in_its_own_sentence(
    transition: str, client: str, freelancer: str
) -> None:
    """One text gives both sentences; timeline and Web UI use the third person."""
    for role, sentence in (("client", client), ("freelancer", freelancer)):
        found = (
            s for s in samples_of("en-US") if (s.request.transition, s.role) == (transition, role)
        )
        assert sentence in " ".join(next(found).rendered.text.split())


def test_a_late_notice_does_not_mix_two_stages() -> None:
    """R-39: Bo declined, and before the notice could be written Ana accepted the claim."""
    purchase = Purchase().requested()
    purchase.freelancer("decide_refund", decision="decline", claim=10_000)
    (declined,) = purchase.last.notices
    workflow_state = WorkflowState.begin(AcceptedStart.of(start({})), NOON, newest())
    pending = PendingNotice(
        notify=declined,
        number="1",
        at=purchase.now,
        amounts=purchase.state.amounts,
        stage=purchase.state.stage,
    )
    workflow_state.purchase = purchase.state
    current = notice_request(workflow_state, pending)
    purchase.client("accept_claim")
    workflow_state.purchase = purchase.state

    late = notice_request(workflow_state, pending)

    assert any(reader.allowed for reader in current.recipients)
    assert (late.text.summary, late.amounts) == (current.text.summary, current.amounts)
    assert late.deadlines == ()
    for reader in late.recipients:
        assert reader.allowed == ()
        assert "The purchase has changed since then." in render(late, reader, None).text
