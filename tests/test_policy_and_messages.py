"""Every message and the policy: what is accepted and what is refused (`DESIGN.md`)."""

import json
from datetime import timedelta

import pytest
from pydantic import ValidationError

from activities.amounts import MAX_AMOUNT
from tests.contract import BY, FIELDS, message, refuses, start
from workflows.messages import LARGEST_REQUIREMENTS, LONGEST_TEXT, MESSAGES
from workflows.policy import Policy

# --- messages


def test_every_message_of_the_contract_is_here() -> None:
    """Sixteen names; each has an example below."""
    assert set(FIELDS) == set(MESSAGES)
    assert all(kind.__doc__ for kind in MESSAGES.values())


@pytest.mark.parametrize("name", MESSAGES)
def test_a_good_message_is_accepted_and_survives_a_round_trip(name: str) -> None:
    """What was sent is what is read, and what is read can be stored."""
    first = message(name)
    assert first.name == name
    assert {field: getattr(first, field) for field in FIELDS[name]} == FIELDS[name]
    assert MESSAGES[name].model_validate_json(first.model_dump_json()) == first


@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_says_who_sends_it(name: str) -> None:
    """`by`, with a role that exists; `message_id` may be left out."""
    assert message(name, message_id=None).message_id is None
    given = json.dumps(FIELDS[name])
    refuses("by", MESSAGES[name].model_validate_json, given)
    for bad in (None, "client", {"role": "client"}, {"id": "ana"}, {**BY, "extra": 1}):
        refuses("by", message, name, by=bad)
    for role in ("boss", "Client", "", None, 1):
        refuses("by.role", message, name, by={"role": role, "id": "ana"})


@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_has_no_other_fields(name: str) -> None:
    """Unknown fields are refused in every message."""
    refuses("nots", message, name, nots="a typing error")


@pytest.mark.parametrize("name", MESSAGES)
@pytest.mark.parametrize("sent", ["null", "[]", "7", '"cancel"', "", "{", "{}", '{"by": NaN}'])
def test_anything_but_one_json_object_is_refused(name: str, sent: str) -> None:
    """Nothing, a list, a number, a text, half an object, an empty one."""
    refuses("", MESSAGES[name].model_validate_json, sent)


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
def test_what_a_message_needs_it_must_have(name: str, field: str) -> None:
    """A message without its point says nothing."""
    given = {key: value for key, value in FIELDS[name].items() if key != field}
    refuses(field, MESSAGES[name].model_validate_json, json.dumps({"by": BY, **given}))
    refuses(field, message, name, **{field: None})


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
    """Strict: 10.0, "1050" and true are not amounts."""
    refuses(field, message, name, **{field: amount})


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
    """Nothing like them."""
    refuses(field, message, name, **{field: bad})


def test_a_claim_goes_with_decline_only() -> None:
    """An approved refund is a full one."""
    refuses("", message, "decide_refund", decision="approve", claim=10_000)
    assert message("decide_refund", decision="approve", claim=None).claim is None


TEXTS = [
    (name, field)
    for name, fields in FIELDS.items()
    for field in fields
    if field in ("text", "reason", "note")
]


@pytest.mark.parametrize(("name", "field"), TEXTS)
def test_a_text_says_something_and_is_not_too_long(name: str, field: str) -> None:
    """No empty text, no NUL, no half of a character pair, at most ten thousand characters."""
    longest = "ä" * LONGEST_TEXT
    assert getattr(message(name, **{field: longest}), field) == longest
    for bad in ("", "  \n", "a\x00b", longest + "ä", 7, ["text"], "\ud800"):
        refuses("", message, name, **{field: bad})


@pytest.mark.parametrize("name", ["refund_id", "reference"])
@pytest.mark.parametrize("bad", ["", " ", "a\nb", "a" * 201, 7], ids=ascii)
def test_a_reference_is_one_line(name: str, bad: object) -> None:
    """Other systems' names for things."""
    refuses(name, message, "settlement_update", **{name: bad})


# --- requirements


@pytest.mark.parametrize("good", ["a logo", {"a": 1}, {"deep": {"er": [1, "2", None, True, 0.5]}}])
def test_requirements_are_a_text_or_an_object(good: object) -> None:
    """Whatever the freelancer's form asks for."""
    assert message("submit_requirements", requirements=good).requirements == good


@pytest.mark.parametrize("bad", ["", {}, [], ["a"], 7, True, None], ids=repr)
def test_requirements_are_nothing_else(bad: object) -> None:
    """Nothing, a list, a number."""
    refuses("requirements", message, "submit_requirements", requirements=bad)


def test_requirements_have_a_size() -> None:
    """At most 64 KiB of JSON."""
    longest = "a" * (LARGEST_REQUIREMENTS - 2)
    assert message("submit_requirements", requirements=longest)
    refuses("requirements", message, "submit_requirements", requirements=longest + "a")


@pytest.mark.parametrize("levels", [300, 2_000, 100_000])
def test_requirements_that_nest_too_deeply_are_refused(levels: int) -> None:
    """In words: no recursion runs out."""
    nested = '{"a":' * levels + "1" + "}" * levels
    sent = f'{{"by": {json.dumps(BY)}, "requirements": {nested}}}'
    refuses("", MESSAGES["submit_requirements"].model_validate_json, sent)


@pytest.mark.parametrize(
    "sent", ['"\\ud800"', '{"a": "\\udc00"}', '{"\\ud800": 1}', "NaN", "1e999"]
)
def test_requirements_that_cannot_be_stored_are_refused(sent: str) -> None:
    """Half of a character pair, or a number that is none."""
    whole = f'{{"by": {json.dumps(BY)}, "requirements": {sent}}}'
    refuses("", MESSAGES["submit_requirements"].model_validate_json, whole)


# --- the policy


def test_the_defaults_of_the_policy_are_those_of_the_rules() -> None:
    """RULES.md, Windows."""
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
def test_a_window_is_read_again_as_it_was_written(given: str, written: str) -> None:
    """However long: as days and time, never as years, whose length is not fixed."""
    policy = Policy.model_validate({"requirements_window": given})
    assert policy.model_dump(mode="json")["requirements_window"] == written
    assert Policy.model_validate_json(policy.model_dump_json()) == policy


@pytest.mark.parametrize("name", WINDOWS)
def test_a_window_is_an_iso_8601_duration(name: str) -> None:
    """PT48H, P2D and P1DT24H are the same time."""
    for good in ("PT48H", "P2D", "P1DT24H", "PT2880M"):
        policy = Policy.model_validate_json(json.dumps({name: good}))
        assert getattr(policy, name) == timedelta(hours=48)
        assert Policy.model_validate_json(policy.model_dump_json()) == policy
    for bad in ("48h", "two days", "", "-PT1H", "P3651D", 172800, 1.5, True, None):
        refuses(name, Policy.model_validate_json, json.dumps({name: bad}))


@pytest.mark.parametrize("name", [name for name in WINDOWS if name != "free_cancel_window"])
def test_a_window_is_longer_than_nothing(name: str) -> None:
    """Only the free window may be off."""
    refuses(name, Policy.model_validate_json, json.dumps({name: "PT0S"}))
    assert Policy.model_validate_json('{"free_cancel_window": "PT0S"}') == Policy()


@pytest.mark.parametrize("name", ["claim_window", "settlement_window"])
def test_a_window_in_business_days_says_so(name: str) -> None:
    """5 business days, or just 5: never hours or calendar days."""
    for good in ("3 business days", 3):
        policy = Policy.model_validate_json(json.dumps({name: good}))
        assert getattr(policy, name) == 3
        assert Policy.model_validate_json(policy.model_dump_json()) == policy
    assert getattr(Policy.model_validate_json(json.dumps({name: "1 business day"})), name) == 1
    for bad in ("P5D", "5 days", "0 business days", "367 business days", "5", 0, -1, 5.0, True):
        refuses(name, Policy.model_validate_json, json.dumps({name: bad}))


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
    """Nothing like them."""
    refuses(name, Policy.model_validate_json, json.dumps({name: bad}))


def test_reminders_are_the_policys_own() -> None:
    """Any number of them, or none."""
    given = {"reminders": {"review": ["P3D", "PT12H"], "claim": []}}
    found = start(policy=given).policy.reminders
    assert found.review == (timedelta(days=3), timedelta(hours=12))
    assert found.claim == ()
    assert found.requirements == Policy().reminders.requirements


def test_a_policy_never_changes() -> None:
    """A snapshot is frozen."""
    with pytest.raises(ValidationError, match="frozen"):
        start().policy.calendar = "DE"  # type: ignore[misc]
