"""The tables are complete in every version: each row has its texts, label, sample and place."""

import re
import string
from dataclasses import replace
from typing import get_args

import pytest

from activities.formatter import Formatter, TextValues
from tests.lifecycle.builders import Purchase
from tests.lifecycle.builders import message as sent
from workflows.lifecycle import permissions, samples, texts
from workflows.lifecycle.deadlines import DeadlineRule
from workflows.lifecycle.events import Fact
from workflows.lifecycle.state import WINDOWS, Code, DeadlineName, Stage
from workflows.lifecycle.texts import Text
from workflows.lifecycle.transition import To, Transition, choice_of, message
from workflows.lifecycle.versions import VERSIONS, Rules
from workflows.messages import MESSAGES, Role
from workflows.policy import Policy

ROWS = [(version, row) for version, rules in VERSIONS.items() for row in rules.transitions]
DEADLINE_ROWS = [(version, rule) for version, rules in VERSIONS.items() for rule in rules.deadlines]
EVERY_AMOUNT = (
    *("escrow", "claim", "rest", "refund", "release", "offer_refund", "offer_release"),
    *("disputed", "elsewhere", "failed"),
)
VALUES = (
    *("because", "attempt", "newest", "effect", "problem", "notice", "message", "code"),
    *("reference", "evidence", "ours", "debt", "next", "interval"),
)
DURATION = re.compile(r"\d+ ?(h|hours?|days?|d|minutes?|weeks?)\b|business day|every day|daily")


def every_text() -> list[Text]:
    """Every text of `texts.py`."""
    return [value for value in vars(texts).values() if isinstance(value, Text)]


def format_all(text: Text) -> list[str]:
    """Every sentence of a text with every name filled in."""
    formatter = Formatter("Ana", "Bo", lambda minor: f"{minor} USD", you="client")
    given = TextValues(
        "client",
        dict.fromkeys(EVERY_AMOUNT, 100),
        {field: getattr(Policy(), field) for field in WINDOWS},
        {**dict.fromkeys(VALUES, "x"), "answer": "x"},
    )
    parts = [text.heading, text.summary, text.explanation, text.expiry]
    parts += [paragraph for paragraphs in text.advice.values() for paragraph in paragraphs]
    return [formatter.format(part, given) for part in parts]


@pytest.mark.parametrize("version", VERSIONS)
def test_row_ids_are_unique_and_in_order(version: int) -> None:
    """A row is found by its id, such as R-01."""
    ids = [row.id for row in VERSIONS[version].transitions]
    assert ids == sorted(set(ids))
    assert all(re.fullmatch(r"R-\d{2,3}", row_id) for row_id in ids)


@pytest.mark.parametrize(("version", "row"), ROWS, ids=lambda each: getattr(each, "id", each))
def test_a_row_is_complete(version: int, row: Transition) -> None:
    """Each row has texts and a source; a row of a message has a label and a sample, one of a
    deadline an expiry text."""
    assert row.text.heading
    assert row.text.summary.endswith((".", "}"))
    assert row.text.explanation.endswith((".", "}"))
    assert set(row.source) <= set("AUO/")
    assert isinstance(row.to, Stage | To)
    if row.cause.deadline:
        assert row.text.expiry
        assert row.id in VERSIONS[version].deadline(row.cause.deadline).expiry
    if row.cause.message:
        assert row.cause.message in MESSAGES
        assert row.form or row.cause.message == "settlement_update"
    if row.silent_for_facts:
        assert row.notify == ()
    assert all("{" not in sentence for sentence in format_all(row.text))


@pytest.mark.parametrize(
    ("version", "rule"), DEADLINE_ROWS, ids=lambda each: getattr(each, "name", each)
)
def test_a_deadline_is_complete(version: int, rule: DeadlineRule) -> None:
    """Each deadline has a window of the policy, a label and rows for its expiry; a text if it has
    reminders."""
    assert rule.window in Policy.model_fields
    assert rule.label
    ids = {row.id: row for row in VERSIONS[version].transitions}
    assert rule.expiry
    for row_id in rule.expiry:
        assert ids[row_id].cause.deadline is rule.name
    assert bool(rule.reminds) == bool(rule.reminder)
    assert rule.waiting_for in {role.value for role in Role}


def test_every_message_fact_and_deadline_has_a_row() -> None:
    """Everything that can happen to a purchase is in the table, and one deadline governs each open
    stage."""
    rules = VERSIONS[max(VERSIONS)]
    for key in [*MESSAGES, *get_args(Fact), *DeadlineName]:
        if getattr(key, "__name__", "") != "DeadlineExpired":
            assert rules.rows(key), key
    assert {rule.name for rule in rules.deadlines} == set(DeadlineName)
    governed = [rule.governs for rule in rules.deadlines if rule.governs]
    assert sorted(governed) == sorted(set(Stage) - {Stage.CLOSED})


def test_every_choice_of_a_row_is_one_that_its_message_can_make() -> None:
    """The table shows no cause that cannot happen."""
    choices = {
        name: {
            choice
            for field in ("decision", "action", "status")
            if field in kind.model_fields
            for choice in get_args(kind.model_fields[field].annotation)
        }
        for name, kind in MESSAGES.items()
    }
    for rules in VERSIONS.values():
        for row in rules.transitions:
            if row.cause.message and row.cause.choice:
                assert row.cause.choice in choices[row.cause.message], row.id


@pytest.mark.parametrize("role", Role)
def test_every_message_has_a_sample_for_every_role(role: Role) -> None:
    """Permissions are found with samples, so each message needs one for each role."""
    state = Purchase().working().state
    for name in MESSAGES:
        assert list(samples(state, name, role))
    assert len(permissions(state, role, Purchase().now)) == len(MESSAGES)


def test_no_text_contains_a_literal_duration() -> None:
    """Every window in every sentence is the purchase's own."""
    for text in every_text():
        parts = [text.heading, text.summary, text.explanation, text.expiry]
        for part in [*parts, *(p for each in text.advice.values() for p in each)]:
            assert not DURATION.search(part), part
    assert not DURATION.search(texts.REFUND_TAKES)


def test_a_purchase_shows_its_own_windows() -> None:
    """R-30: a purchase with a cancel window of 36 hours says 36 hours, not 24."""
    purchase = Purchase(freelancer_cancel_window="PT36H").reviewed()
    text = texts.FREELANCER_CANCELLED.explanation
    formatter = Formatter("Ana", "Bo", str)
    given = TextValues(windows=purchase.state.windows)
    assert "within 36 hours of receiving them" in formatter.format(text, given)


def test_a_message_without_choices_makes_none() -> None:
    """R-14, R-21: only messages that offer a choice make one."""
    assert choice_of(sent("deliver", Role.FREELANCER)) == ""
    assert choice_of(sent("decide_refund", Role.FREELANCER, decision="decline")) == "decline"


def test_every_rejection_code_has_a_sentence_for_its_sender() -> None:
    """The notice of a rejection quotes one sentence for each code."""
    assert set(texts.WHY_REJECTED) == {code.value for code in Code}
    assert all(text.endswith(".") for text in texts.WHY_REJECTED.values())


def test_a_text_with_an_unknown_name_fails() -> None:
    """A misspelled name fails in these tests, not as a KeyError in production."""
    with pytest.raises(KeyError, match="refnud"):
        format_all(Text(heading="x", summary="{refnud} is gone.", explanation="x."))


def test_a_row_without_an_expiry_text_fails() -> None:
    """The test of the rows finds what a new row lacks."""
    rules = VERSIONS[max(VERSIONS)]
    row = next(row for row in rules.transitions if row.cause.deadline)
    bare = replace(row, text=replace(row.text, expiry=""))
    with pytest.raises(AssertionError):
        test_a_row_is_complete(max(VERSIONS), bare)


def test_texts_use_plain_names_only() -> None:
    """A text uses `{name}` only, without attributes or conversions."""
    for text in every_text():
        for _, name, spec, conversion in string.Formatter().parse(text.summary):
            assert name is None or re.fullmatch(r"[A-Za-z_']+", name)
            assert not spec
            assert conversion is None


def test_the_rows_of_a_message_are_in_the_tables_order() -> None:
    """The first open row applies, so the order is part of the rule."""
    rules: Rules = VERSIONS[max(VERSIONS)]
    order = {row.id: number for number, row in enumerate(rules.transitions)}
    for name in MESSAGES:
        numbers = [order[row.id] for row in rules.rows(name)]
        assert numbers == sorted(numbers)


def test_a_message_and_a_deadline_may_have_the_same_name() -> None:
    """Rows are found by the kind of their cause as well as by its name."""
    first = VERSIONS[max(VERSIONS)]
    row = replace(first.rows("deliver")[0], cause=message("claim", Role.FREELANCER))
    rules = Rules((*first.transitions, row), first.deadlines)
    assert rules.rows("claim") == (row,)
    assert rules.rows(DeadlineName.CLAIM) == first.rows(DeadlineName.CLAIM)
