"""Validation of every message and of the policy: what is accepted and what is rejected."""

import json
from datetime import timedelta
from typing import Annotated

import pytest
from pydantic import Field, ValidationError

from activities.amounts import MAX_AMOUNT
from docs.samples import ANA
from tests.contract import FIELDS, assert_rejected, message, start
from workflows.descriptions import describe
from workflows.messages import LARGEST_REQUIREMENTS, LONGEST_TEXT, MESSAGES
from workflows.policy import BusinessDays, Duration, GivenPolicy, Offsets, Policy

# --- messages


def test_every_message_of_the_contract_has_a_model_and_an_example() -> None:
    """Every message model has an example in `tests.contract` and a description."""
    assert set(FIELDS) == set(MESSAGES)
    assert all(kind.__doc__ for kind in MESSAGES.values())


@pytest.mark.parametrize("name", MESSAGES)
def test_a_good_message_is_accepted_and_survives_a_round_trip(name: str) -> None:
    """Every field is parsed as it was sent, and a stored message is read back unchanged."""
    first = message(name)
    assert first.name == name
    assert {field: getattr(first, field) for field in FIELDS[name]} == FIELDS[name]
    assert MESSAGES[name].model_validate_json(first.model_dump_json()) == first


@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_says_who_sends_it(name: str) -> None:
    """The field `by` with a known role is required; `message_id` is optional."""
    assert message(name, message_id=None).message_id is None
    given = json.dumps(FIELDS[name])
    assert_rejected("by", MESSAGES[name].model_validate_json, given)
    for bad in (None, "client", {"role": "client"}, {"id": "ana"}, {**ANA, "extra": 1}):
        assert_rejected("by", message, name, by=bad)
    for role in ("boss", "Client", "", None, 1):
        assert_rejected("by.role", message, name, by={"role": role, "id": "ana"})


@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_has_no_other_fields(name: str) -> None:
    """Every message with an unknown field is rejected."""
    assert_rejected("nots", message, name, nots="a typing error")


@pytest.mark.parametrize("name", MESSAGES)
@pytest.mark.parametrize("sent", ["null", "[]", "7", '"cancel"', "", "{", "{}", '{"by": NaN}'])
def test_anything_but_one_json_object_is_refused(name: str, sent: str) -> None:
    """Null, a list, a number, a text, half an object and an empty object are rejected."""
    assert_rejected("", MESSAGES[name].model_validate_json, sent)


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("submit_requirements", "requirements"),
        ("decide_refund", "decision"),
        ("open_dispute", "reason"),
        ("propose_split", "refund"),
        ("accept_split", "refund"),
        ("resolve_dispute", "refund"),
        ("send_message", "text"),
        ("settlement_update", "refund_id"),
        ("settlement_update", "status"),
        ("resolve_attention", "action"),
    ],
)
def test_a_message_without_a_required_field_is_rejected(name: str, field: str) -> None:
    """Leaving out a required field, or setting it to null, is rejected."""
    given = {key: value for key, value in FIELDS[name].items() if key != field}
    assert_rejected(field, MESSAGES[name].model_validate_json, json.dumps({"by": ANA, **given}))
    assert_rejected(field, message, name, **{field: None})


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("decide_refund", "claim"),
        ("propose_split", "refund"),
        ("accept_split", "refund"),
        ("resolve_dispute", "refund"),
    ],
)
@pytest.mark.parametrize("amount", [-1, 1.0, 10.5, "100", True, MAX_AMOUNT + 1, [1]], ids=repr)
def test_amounts_are_whole_numbers_of_minor_units(name: str, field: str, amount: object) -> None:
    """Floats, texts, booleans, negative and too large numbers are rejected as amounts."""
    assert_rejected(field, message, name, **{field: amount})


@pytest.mark.parametrize(
    ("name", "field", "bad"),
    [
        ("decide_refund", "decision", "approved"),
        ("decide_refund", "decision", True),
        ("settlement_update", "status", "pending"),
        ("resolve_attention", "action", "ignore"),
    ],
)
def test_choices_are_the_ones_of_the_contract(name: str, field: str, bad: object) -> None:
    """Any other value than the contract's is rejected."""
    assert_rejected(field, message, name, **{field: bad})


def test_a_claim_goes_with_decline_only() -> None:
    """A claim with `approve` is rejected: an approved refund is always in full."""
    assert_rejected("", message, "decide_refund", decision="approve", claim=10_000)
    assert message("decide_refund", decision="approve", claim=None).claim is None


TEXTS = [
    (name, field)
    for name, fields in FIELDS.items()
    for field in fields
    if field in ("text", "reason", "note")
]


@pytest.mark.parametrize(("name", "field"), TEXTS)
def test_a_text_is_not_empty_and_not_too_long(name: str, field: str) -> None:
    """An empty text, a NUL, a lone surrogate and more than ten thousand characters are rejected."""
    longest = "ä" * LONGEST_TEXT
    assert getattr(message(name, **{field: longest}), field) == longest
    for bad in ("", "  \n", "a\x00b", longest + "ä", 7, ["text"], "\ud800"):
        assert_rejected("", message, name, **{field: bad})


@pytest.mark.parametrize("name", ["refund_id", "reference"])
@pytest.mark.parametrize("bad", ["", " ", "a\nb", "a" * 201, 7], ids=ascii)
def test_a_reference_is_one_line(name: str, bad: object) -> None:
    """References of other systems are one non-empty line of at most 200 characters."""
    assert_rejected(name, message, "settlement_update", **{name: bad})


# --- requirements


@pytest.mark.parametrize("good", ["a logo", {"a": 1}, {"deep": {"er": [1, "2", None, True, 0.5]}}])
def test_requirements_are_a_text_or_an_object(good: object) -> None:
    """Requirements may be free text or the fields of a form."""
    assert message("submit_requirements", requirements=good).requirements == good


@pytest.mark.parametrize("bad", ["", {}, [], ["a"], 7, True, None], ids=repr)
def test_requirements_are_nothing_else(bad: object) -> None:
    """An empty value, a list, a number, a boolean and null are rejected."""
    assert_rejected("requirements", message, "submit_requirements", requirements=bad)


def test_requirements_have_a_size() -> None:
    """Requirements of more than 64 KiB of JSON are rejected."""
    longest = "a" * (LARGEST_REQUIREMENTS - 2)
    assert message("submit_requirements", requirements=longest)
    assert_rejected("requirements", message, "submit_requirements", requirements=longest + "a")


@pytest.mark.parametrize("levels", [300, 2_000, 100_000])
def test_requirements_that_nest_too_deeply_are_refused(levels: int) -> None:
    """They are rejected as invalid; no recursion limit is hit."""
    nested = '{"a":' * levels + "1" + "}" * levels
    sent = f'{{"by": {json.dumps(ANA)}, "requirements": {nested}}}'
    assert_rejected("", MESSAGES["submit_requirements"].model_validate_json, sent)


@pytest.mark.parametrize(
    "sent",
    [
        '"\\ud800"',
        '{"a": "\\udc00"}',
        '{"\\ud800": 1}',
        "NaN",
        "1e999",
        '{"a": NaN}',
        '{"a": [{"b": -Infinity}]}',
        '{"a": 1e999}',
    ],
)
def test_requirements_that_cannot_be_stored_are_refused(sent: str) -> None:
    """Lone surrogates, NaN and infinity cannot be stored as JSON and are rejected."""
    whole = f'{{"by": {json.dumps(ANA)}, "requirements": {sent}}}'
    assert_rejected("", MESSAGES["submit_requirements"].model_validate_json, whole)


# --- the policy


def test_the_defaults_of_the_policy_are_those_of_the_rules() -> None:
    """The default windows, choices and reminders are those of docs/rules.md."""
    assert Policy().model_dump() == {
        "payment_window": timedelta(hours=1),
        "requirements_window": timedelta(hours=48),
        "freelancer_cancel_window": timedelta(hours=24),
        "refund_decision_window": timedelta(days=7),
        "refund_decision_silence": "refund",
        "claim_window": "5 business days",
        "claim_silence": "pay_claim",
        "review_window": timedelta(days=14),
        "dormancy_window": timedelta(days=90),
        "dispute_window": timedelta(days=30),
        "settlement_window": "5 business days",
        "arrival": "presumed",
        "aftercare_window": timedelta(days=120),
        "chargeback_after_release": "platform",
        "cancel_before_requirements": "ask",
        "free_cancel_window": timedelta(hours=0),
        "calendar": "US",
        "calendar_timezone": "UTC",
        "reminders": {
            "requirements": (timedelta(hours=24), timedelta(hours=4)),
            "freelancer_cancel": (timedelta(hours=6),),
            "refund_decision": (timedelta(days=4), timedelta(days=1), timedelta(hours=4)),
            "claim": (timedelta(days=1),),
            "review": (timedelta(days=2),),
        },
    }


WINDOWS = [
    name
    for name in Policy.model_fields
    if name.endswith("_window") and name not in ("claim_window", "settlement_window")
]


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ("PT48H", "P2D"),
        ("P1DT24H", "P2D"),
        ("PT36H", "P1DT12H"),
        ("PT0.5S", "PT0.5S"),
        ("P365D", "P365D"),
        ("P1000DT1H", "P1000DT1H"),
        ("P3650D", "P3650D"),
    ],
)
def test_a_window_survives_a_round_trip(given: str, written: str) -> None:
    """Windows are written in days and time, never in years, whose length varies."""
    policy = GivenPolicy.model_validate({"requirements_window": given})
    assert policy.model_dump(mode="json")["requirements_window"] == written
    assert GivenPolicy.model_validate_json(policy.model_dump_json()) == policy


@pytest.mark.parametrize("name", WINDOWS)
def test_a_window_is_an_iso_8601_duration(name: str) -> None:
    """Equal durations may be written differently; other notations are rejected."""
    for good in ("PT48H", "P2D", "P1DT24H", "PT2880M"):
        policy = GivenPolicy.model_validate_json(json.dumps({name: good}))
        assert getattr(policy, name) == timedelta(hours=48)
        assert GivenPolicy.model_validate_json(policy.model_dump_json()) == policy
    for bad in ("48h", "two days", "", "-PT1H", "P3651D", 172800, 1.5, True, None):
        assert_rejected(name, GivenPolicy.model_validate_json, json.dumps({name: bad}))


@pytest.mark.parametrize("name", [name for name in WINDOWS if name != "free_cancel_window"])
def test_a_window_is_longer_than_zero(name: str) -> None:
    """Only the free cancellation window may be zero, which switches it off."""
    assert_rejected(name, GivenPolicy.model_validate_json, json.dumps({name: "PT0S"}))
    assert GivenPolicy.model_validate_json('{"free_cancel_window": "PT0S"}') == GivenPolicy()


@pytest.mark.parametrize("name", ["claim_window", "settlement_window"])
def test_a_business_day_window_is_written_in_business_days(name: str) -> None:
    """`3 business days` and `3` are accepted; hours and calendar days are rejected."""
    for good in ("3 business days", 3):
        policy = GivenPolicy.model_validate_json(json.dumps({name: good}))
        assert getattr(policy, name) == 3
        assert GivenPolicy.model_validate_json(policy.model_dump_json()) == policy
    assert getattr(GivenPolicy.model_validate_json(json.dumps({name: "1 business day"})), name) == 1
    for bad in ("P5D", "5 days", "0 business days", "367 business days", "5", 0, -1, 5.0, True):
        assert_rejected(name, GivenPolicy.model_validate_json, json.dumps({name: bad}))


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("refund_decision_silence", "pay"),
        ("claim_silence", "refund"),
        ("cancel_before_requirements", True),
        ("calendar", "us"),
        ("calendar", "USA"),
        ("calendar_timezone", "UTC\n"),
        ("calendar_timezone", ""),
        ("reminders", {"review": "P2D"}),
        ("reminders", {"review": ["PT0S"]}),
        ("reminders", {"review": [172800]}),
    ],
)
def test_choices_of_the_policy_are_the_known_ones(name: str, bad: object) -> None:
    """Any other choice, calendar, time zone or reminder is rejected."""
    assert_rejected(name, GivenPolicy.model_validate_json, json.dumps({name: bad}))


def test_a_policy_can_set_its_own_reminders() -> None:
    """A policy may set any number of reminders per window, or none."""
    given = {"reminders": {"review": ["P3D", "PT12H"], "claim": []}}
    found = start(policy=given).policy.reminders
    assert found.review == (timedelta(days=3), timedelta(hours=12))
    assert found.claim == ()
    assert found.requirements == Policy().reminders.requirements


def test_a_policy_never_changes() -> None:
    """A policy is immutable, so the snapshot pinned to a purchase stays as it is."""
    with pytest.raises(ValidationError, match="frozen"):
        start().policy.calendar = "DE"  # type: ignore[misc]


class _LaterPolicy(GivenPolicy):
    """A policy with more fields, each in one place."""

    answer_window: Duration = timedelta(days=2)
    """How long an answer may take."""
    pause_window: Annotated[Duration, Field(le=timedelta(days=7))] = timedelta(days=7)
    """How long a pause lasts."""
    trial_window: Duration = timedelta(0)
    """How long the trial is,
    from the purchase on."""
    proof_window: BusinessDays = 3
    """How long a proof may take."""
    proof_reminders: Offsets = ()
    """Of the proof."""


def test_a_new_field_of_the_policy_is_described_and_bounded_by_its_type() -> None:
    """A field needs a type, a default and a docstring. A window whose default is zero may be
    zero."""
    fields = describe(_LaterPolicy.model_json_schema())["properties"]
    assert {name: fields[name]["description"] for name in _LaterPolicy.__annotations__} == {
        "answer_window": "How long an answer may take, an ISO 8601 duration of elapsed time, "
        "longer than zero, at most P3650D",
        "pause_window": "How long a pause lasts, an ISO 8601 duration of elapsed time, longer than "
        "zero, at most P7D",
        "trial_window": "How long the trial is, from the purchase on, an ISO 8601 duration, at "
        "most P3650D; PT0S: never",
        "proof_window": 'How long a proof may take, written as "N business days", N from 1 to 366, '
        "in the policy's calendar",
        "proof_reminders": "Of the proof, at most 10 ISO 8601 durations, each how long before the "
        "deadline",
    }
    assert _LaterPolicy.model_validate({"trial_window": "PT0S"}) == _LaterPolicy()
    bad = {"answer_window": "PT0S", "pause_window": "P8D", "proof_window": 0}
    for name, value in bad.items():
        assert_rejected(name, _LaterPolicy.model_validate, {name: value})
