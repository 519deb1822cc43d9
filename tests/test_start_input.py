"""Validation of the start input: invalid input is rejected before money moves."""

import json
import unicodedata
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError
from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue

from activities.amounts import MAX_AMOUNT
from docs.samples import START
from tests.contract import assert_rejected, message, start
from workflows.acceptance import document_of
from workflows.budget import LARGEST_START
from workflows.messages import PurchaseStart
from workflows.policy import GivenPolicy


def test_the_start_input_of_the_contract_is_accepted() -> None:
    """The complete example is accepted, and so is one without the optional fields."""
    whole = start()
    assert whole.policy == GivenPolicy()
    assert whole.client.timezone == "Europe/Lisbon"
    optional = ("requirements_needed", "purchased_at", "policy")
    short = {name: value for name, value in START.items() if name not in optional}
    least = PurchaseStart.model_validate_json(json.dumps(short))
    assert least == whole
    assert (least.requirements_needed, least.purchased_at) == (True, None)


@pytest.mark.parametrize("both", [True, False])
def test_a_purchase_has_one_way_to_be_paid(both: bool) -> None:
    """Either a payment method is charged, or a payment that was made elsewhere is named."""
    given = {**START, "payment_reference": "ch_1"}
    assert_rejected("", start, **(given if both else {"payment_method": None}))
    paid = PurchaseStart.model_validate_json(json.dumps({**given, "payment_method": None}))
    assert paid.payment_reference == "ch_1"


def test_the_start_input_survives_a_round_trip() -> None:
    """A stored start input is read back unchanged."""
    first = start(purchased_at="2026-03-02T12:00:00Z", policy={"claim_window": "3 business days"})
    assert PurchaseStart.model_validate_json(first.model_dump_json()) == first


@pytest.mark.parametrize("name", [n for n in START if n not in ("requirements_needed", "policy")])
def test_a_start_input_without_a_required_field_is_rejected(name: str) -> None:
    """Leaving out a field is rejected, unless it is optional."""
    given = {key: value for key, value in START.items() if key != name}
    if name == "purchased_at":
        PurchaseStart.model_validate_json(json.dumps(given))
    else:
        shown = "" if name == "payment_method" else name  # a payment_reference would do as well
        assert_rejected(shown, PurchaseStart.model_validate_json, json.dumps(given))


@pytest.mark.parametrize("bad", ["", "x" * 65, "x" * 700_000, "é", "a b", "\x01", None], ids=ascii)
@pytest.mark.parametrize("field", ["timezone", "locale"])
def test_a_time_zone_and_a_locale_are_short(field: str, bad: object) -> None:
    """Both are repeated in every notice. An unknown one is accepted, and a default is used."""
    assert_rejected(f"client.{field}", start, client={**START["client"], field: bad})
    assert start(client={**START["client"], field: "xx_unknown"})


def test_a_name_has_a_size_in_bytes() -> None:
    """A name is repeated in many sentences of the timeline."""
    longest = "😀" * 100
    assert start(client={**START["client"], "name": longest}).client.name == longest
    assert_rejected("client.name", start, client={**START["client"], "name": longest + "a"})


def test_a_deadline_has_few_reminders() -> None:
    """Each is kept twice with the purchase."""
    assert start(policy={"reminders": {"claim": ["PT1H"] * 10}})
    assert_rejected("policy.reminders", start, policy={"reminders": {"claim": ["PT1H"] * 11}})


def test_a_large_start_input_is_rejected_unparsed() -> None:
    """Every field has a bound; only spaces and unknown fields make an input this large."""
    padded = json.dumps(START) + " " * LARGEST_START
    given = RawValue(Payload(metadata={"encoding": b"json/plain"}, data=padded.encode()))
    with pytest.raises(ValueError, match="too large"):
        document_of([given])


BAD_AMOUNTS = [0, -1, 1.0, 10.5, "25000", True, None, MAX_AMOUNT + 1, [1]]


@pytest.mark.parametrize("amount", BAD_AMOUNTS, ids=repr)
def test_a_price_is_a_positive_whole_number_of_minor_units(amount: object) -> None:
    """Floats, texts, booleans, null, zero, negative numbers, and numbers too large for JSON readers
    to read exactly, are rejected."""
    assert_rejected("price.amount", start, price={"amount": amount, "currency": "USD"})


@pytest.mark.parametrize("currency", ["XYZ", "usd", "US", "USDT", "", "XAU", "XTS", 840, None])
def test_a_currency_is_one_of_iso_4217_with_minor_units(currency: object) -> None:
    """Unknown codes, lower case, gold and test codes are rejected."""
    assert_rejected("price.currency", start, price={"amount": 1, "currency": currency})


@pytest.mark.parametrize("currency", ["USD", "EUR", "JPY", "KWD"])
def test_currencies_with_any_number_of_decimals_are_accepted(currency: str) -> None:
    """Currencies with two, none and three decimals are accepted."""
    assert start(price={"amount": 1, "currency": currency}).price.currency == currency


def test_client_and_freelancer_must_be_different() -> None:
    """Equal ids are rejected, also when they are written with different code points."""
    assert_rejected("", start, freelancer={**START["freelancer"], "id": "ana"})
    composed, decomposed = "ann\u00e1", "anna\u0301"
    assert_rejected(
        "",
        start,
        client={**START["client"], "id": composed},
        freelancer={**START["freelancer"], "id": decomposed},
    )


@pytest.mark.parametrize(
    ("place", "changed"),
    [
        ("extra", {"extra": 1}),
        ("client.extra", {"client": {**START["client"], "extra": 1}}),
        ("price.extra", {"price": {"amount": 1, "currency": "USD", "extra": 1}}),
        ("policy.extra", {"policy": {"extra": 1}}),
        ("policy.reminders.extra", {"policy": {"reminders": {"extra": []}}}),
    ],
)
def test_an_unknown_field_is_rejected(place: str, changed: dict[str, Any]) -> None:
    """A misspelt field is rejected at every level instead of being ignored."""
    assert_rejected(place, start, **changed)


BAD_IDS = [
    "",
    " ana",
    "an a",
    "ana\n",
    "ana\x00",
    "an\u00a0a",
    "an\u200ba",
    "an\u202ea",
    "\ufeffana",
    "an\u2028a",
    "a" * 65,
    7,
    None,
    True,
    ["ana"],
]


@pytest.mark.parametrize("bad", BAD_IDS, ids=ascii)
def test_an_id_has_no_white_space_and_no_invisible_characters(bad: object) -> None:
    """The rule holds for purchase, party and message ids."""
    assert_rejected("client.id", start, client={**START["client"], "id": bad})
    assert_rejected("purchase_id", start, purchase_id=bad)
    assert_rejected("by.id", message, "cancel", by={"role": "client", "id": bad})
    if bad is not None:
        assert_rejected("message_id", message, "cancel", message_id=bad)


@pytest.mark.parametrize(
    "good", ["a", "a" * 64, "user:42", "ana@example.com", "anaïs", "安娜", "🙂"]
)
def test_an_id_may_be_written_in_any_script(good: str) -> None:
    """Ids come from other systems and may have letters, digits and emoji of any script."""
    assert message("cancel", by={"role": "client", "id": good}).by.id == good


def test_ids_are_compared_in_their_composed_form() -> None:
    """Ids are normalised to NFC, so that equal letters are equal ids however they were typed."""
    decomposed = unicodedata.normalize("NFD", "anaïs")
    assert decomposed != "anaïs"
    assert message("cancel", by={"role": "client", "id": decomposed}).by.id == "anaïs"


@pytest.mark.parametrize("bad", ["", "  ", "two\nlines", "a\x00b", "a" * 201, 3, None], ids=ascii)
def test_a_title_and_a_name_are_one_line_of_text(bad: object) -> None:
    """Line breaks are rejected, since these texts become mail headers."""
    assert_rejected("title", start, title=bad)
    assert_rejected("client.name", start, client={**START["client"], "name": bad})
    if bad is not None:
        assert_rejected("payment_method", start, payment_method=bad)


@pytest.mark.parametrize(
    "bad",
    [
        *("", "ana", "@example.com", "ana@", "a b@example.com", "a@b\nc", "<a@b>", "a@b,c@d", None),
        *("ana@☕.example", "ana@bücher。example", "ana@a\u200bß.example", "ana@ﬁ.example"),
        *("ana@-ß.example", "ana@ß-.example", "ana@ab--ß.example", "ana@\u0301a.example"),
        *(f"ana@{'ß' * 60}.example", f"{'é' * 33}@example.com", "jos\u200bé@example.com"),
        *("☕@example.com", "\u202ejosé@example.com", "jo\u0300 sé@example.com", "ﬁ@example.com"),
    ],
    ids=ascii,
)
def test_an_email_is_one_mail_address(bad: object) -> None:
    """Anything but one plain address is rejected, so that nobody can add recipients."""
    assert_rejected("client.email", start, client={**START["client"], "email": bad})


@pytest.mark.parametrize(
    "bad",
    [
        "yesterday",
        "2026-03-02T12:00:00",
        "2026-13-01T00:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
    ],
)
def test_a_purchase_time_is_an_instant(bad: str) -> None:
    """RFC 3339 with an offset is required; a local time is rejected, and so is an instant that UTC
    cannot express."""
    assert_rejected("purchased_at", start, purchased_at=bad)


def test_a_purchase_time_is_kept_in_utc() -> None:
    """A time with any offset is stored in UTC."""
    at = start(purchased_at="2026-03-02T12:00:00+01:00").purchased_at
    assert at == datetime(2026, 3, 2, 11, tzinfo=UTC)
    assert at is not None
    assert at.tzinfo is UTC


@pytest.mark.parametrize("bad", ["yes", "true", 1, 0, None])
def test_requirements_needed_is_true_or_false(bad: object) -> None:
    """Only JSON booleans are accepted."""
    assert_rejected("requirements_needed", start, requirements_needed=bad)


def test_errors_do_not_repeat_what_was_sent() -> None:
    """Validation errors leave out the input, which may hold personal data."""
    with pytest.raises(ValidationError) as caught:
        start(client={**START["client"], "email": "secret address"})
    assert "secret" not in str(caught.value)
