"""`purchase`: an id starts one purchase, however often it is sent; invalid input starts nothing."""

import asyncio
import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from temporalio.client import Client

from temporal.errors import Failure
from temporal.purchases import Purchase
from tests.purchases import CLIENT
from tests.starter.conftest import Cli, held
from workflows.messages import Message, PurchaseStart, SendMessage
from workflows.summary import LONGEST_SUMMARY

GIVEN = {
    "--id": "never",
    "--title": "Logo design",
    "--client": "ana",
    "--client-name": "Ana",
    "--client-email": "ana@example.com",
    "--client-timezone": "Europe/Lisbon",
    "--client-locale": "pt_PT",
    "--freelancer": "bo",
    "--freelancer-name": "Bo",
    "--freelancer-email": "bo@example.com",
    "--price": "250.00",
    "--currency": "USD",
    "--payment-method": "pm_sandbox_ok",
}

DOCUMENT: dict[str, Any] = {
    "purchase_id": "never",
    "title": "Logo design",
    "client": {
        "id": "ana",
        "name": "Ana",
        "email": "ana@example.com",
        "timezone": "Europe/Lisbon",
        "locale": "pt_PT",
    },
    "freelancer": {"id": "bo", "name": "Bo", "email": "bo@example.com"},
    "price": {"amount": 25000, "currency": "USD"},
    "payment_method": "pm_sandbox_ok",
}


def options(**changed: str | None) -> list[str]:
    """The command with every option as in GIVEN, some changed or left out (None)."""
    given = {**GIVEN, **{f"--{name.replace('_', '-')}": text for name, text in changed.items()}}
    kept = [(name, text) for name, text in given.items() if text is not None]
    return ["purchase", *(word for option in kept for word in option)]


@pytest.mark.usefixtures("cli_worker")
async def test_the_same_input_again_succeeds_and_another_is_refused(
    cli: Cli, cli_client: Client
) -> None:
    """Two processes at once, then from a file with other key order and defaults written out."""
    first, second = await asyncio.gather(
        cli.process(*options(id="once"), "--json"), cli.process(*options(id="once"), "--json")
    )
    assert (first.status, second.status) == (0, 0)
    started = {"purchase_id": "once", "workflow_id": "purchase-once"}
    answers = [first.document, second.document]
    assert sorted(answers, key=lambda answer: answer["already_started"]) == [
        {**started, "already_started": False},
        {**started, "already_started": True},
    ]

    same = {**dict(reversed(DOCUMENT.items())), "purchase_id": "once", "policy": {}}
    again = await cli.process("purchase", "--file", "-", stdin=json.dumps(same))
    assert (again.status, again.err) == (0, "")
    assert "already started" in again.out

    other = await cli(*options(id="once", price="250.01", title="Another"))
    assert other.rejection == (1, "PURCHASE_EXISTS")
    assert "another title, price." in other.err
    assert (await Purchase(cli_client, "once").terms()).price.amount == 25_000


async def test_every_option_arrives(cli: Cli, cli_client: Client) -> None:
    """What is given is what the workflow gets."""
    started = await cli(
        *options(
            id="all",
            freelancer_timezone="Asia/Tokyo",
            freelancer_locale="ja",
            price="1000",
            currency="JPY",
            purchased_at="2026-01-05T10:00:00+01:00",
            policy='{"requirements_window": "PT1H"}',
        ),
        "--no-requirements-needed",
    )

    assert started.status == 0
    assert await Purchase(cli_client, "all").terms() == PurchaseStart.model_validate(
        {
            **DOCUMENT,
            "purchase_id": "all",
            "freelancer": {
                **DOCUMENT["freelancer"],
                "timezone": "Asia/Tokyo",
                "locale": "ja",
            },
            "price": {"amount": 1000, "currency": "JPY"},
            "requirements_needed": False,
            "purchased_at": "2026-01-05T09:00:00Z",
            "policy": {"requirements_window": "PT1H"},
        }
    )


async def test_the_web_ui_gets_the_terms_without_personal_data(cli_client: Client) -> None:
    """Summary, details and memo say what was bought; they fit, however long the title is."""
    terms = PurchaseStart.model_validate({**DOCUMENT, "purchase_id": "shown", "title": "Ü*" * 100})
    await Purchase(cli_client, "shown").start(terms)

    described = await Purchase(cli_client, "shown").handle.describe()
    shown = described.raw_description.execution_config.user_metadata
    summary, details = json.loads(shown.summary.data), json.loads(shown.details.data)
    assert len(summary.encode()) <= LONGEST_SUMMARY
    assert "250.00 USD" in details
    assert "- requirements window: 48 h" in details
    assert await described.memo_value("title", type_hint=str) == terms.title
    memo = await described.memo_value("terms", type_hint=str)
    for text in (summary, details, memo):
        assert "example.com" not in text
        assert "Ana" not in text


@pytest.mark.usefixtures("cli_worker")
async def test_a_purchase_with_a_long_history_is_still_known(cli_client: Client) -> None:
    """After continue-as-new the same input is the same and another is another."""
    bought = await held(cli_client)
    terms = await bought.terms()
    first = (await bought.handle.describe()).run_id
    while (await bought.handle.describe()).run_id == first:
        await asyncio.gather(*(bought.send(_greeting()) for _ in range(10)))

    assert await bought.start(terms) is False
    with pytest.raises(Failure, match="another title"):
        await bought.start(terms.model_copy(update={"title": "Another"}))


def _greeting() -> Message:
    return SendMessage.model_validate({"by": CLIENT, "message_id": str(uuid4()), "text": "Hi."})


BAD_OPTIONS = {
    "id is missing": ({"id": None}, "Missing: --id"),
    "much is missing": ({"title": None, "price": None}, "Missing: --title, --price"),
    "id is empty": ({"id": ""}, "--id must not be empty"),
    "id with white space": ({"id": "a b"}, "--id must have no spaces"),
    "id with a control character": ({"id": "a\x1b[2J"}, "--id"),
    "id too long": ({"id": "x" * 65}, "--id must have at most 64 characters"),
    "title is empty": ({"title": " "}, "--title must be one line"),
    "title of two lines": ({"title": "a\nb"}, "title"),
    "title too long": ({"title": "x" * 201}, "title"),
    "title is no Unicode": ({"title": "a\udcff"}, ""),
    "client is empty": ({"client": ""}, "--client must not be empty"),
    "client name is empty": ({"client_name": ""}, "--client-name"),
    "client mail": ({"client_email": "ana"}, "--client-email is not a mail address"),
    "client zone": ({"client_timezone": "Europe/Lisboa"}, "--client-timezone"),
    "client zone is a region": ({"client_timezone": "Europe"}, "--client-timezone"),
    "client zone leaves its folder": ({"client_timezone": "../x"}, "--client-timezone"),
    "client locale": ({"client_locale": "xx_YY"}, "--client-locale"),
    "client locale is empty": ({"client_locale": ""}, "--client-locale"),
    "freelancer is the client": ({"freelancer": "ana"}, "the same person"),
    "freelancer name": ({"freelancer_name": "\x00"}, "--freelancer-name"),
    "freelancer mail": ({"freelancer_email": "bo@"}, "--freelancer-email"),
    "freelancer zone": ({"freelancer_timezone": "Mars"}, "--freelancer-timezone"),
    "freelancer locale": ({"freelancer_locale": "!"}, "--freelancer-locale"),
    "price of nothing": ({"price": "0"}, "--price must be more than 0"),
    "price that nobody can pay": (
        {"price": "10.005", "currency": "KWD"},
        "--price: 10.005 KWD cannot be paid",
    ),
    "price below zero": ({"price": "-1"}, "--price"),
    "price in words": ({"price": "much"}, "--price"),
    "price that is no number": ({"price": "nan"}, "--price"),
    "price without end": ({"price": "1e999999"}, "--price"),
    "price too fine": ({"price": "1.001"}, "--price"),
    "price too fine for yen": ({"price": "1.5", "currency": "JPY"}, "--price"),
    "price too large": ({"price": "99999999999999.99"}, "--price"),
    "price with a comma": ({"price": "1,50"}, "--price"),
    "currency unknown": ({"currency": "XXQ"}, "--currency"),
    "currency in small letters": ({"currency": "usd"}, "--currency"),
    "currency withdrawn": ({"currency": "BGN"}, "--currency"),
    "currency of gold": ({"currency": "XAU"}, "--currency"),
    "payment method is empty": ({"payment_method": ""}, "--payment-method"),
    "purchased when": ({"purchased_at": "yesterday"}, "--purchased-at must be an instant"),
    "purchased in no zone": (
        {"purchased_at": "2026-01-05T10:00:00"},
        "--purchased-at must be an instant",
    ),
    "purchased in the future": ({"purchased_at": "2100-01-01T00:00:00Z"}, "future"),
    "policy is no JSON": ({"policy": "48 hours"}, "--policy"),
    "policy is no object": ({"policy": "[]"}, "--policy"),
    "policy unknown": ({"policy": '{"window": "PT1H"}'}, "--policy: window is unknown"),
    "policy of nothing": ({"policy": '{"review_window": "PT0S"}'}, "--policy: review_window"),
    "policy calendar": ({"policy": '{"calendar": "ZZ"}'}, "policy"),
    "policy zone": ({"policy": '{"calendar_timezone": "Mars"}'}, "policy"),
    "policy too deep": ({"policy": '{"a":' * 50_000}, "--policy"),
    "policy with numbers of its own": ({"policy": '{"claim_window": NaN}'}, "--policy"),
    "file and options": ({"file": "-"}, "both"),
}


@pytest.mark.parametrize(("changed", "says"), BAD_OPTIONS.values(), ids=BAD_OPTIONS)
async def test_what_cannot_be_right_starts_nothing(
    changed: dict[str, str | None], says: str, cli: Cli
) -> None:
    """Exit 2, and a sentence that names the field; refused before the server is even asked."""
    answer = await cli(*options(**changed), TEMPORAL_ADDRESS="localhost:1")

    assert answer.rejection == (2, "INVALID_INPUT")
    assert says in answer.err


BAD_FILES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "not JSON"),
    "not JSON": (b"{", "not JSON"),
    "not text": (b"\xff\xfe{", "not JSON"),
    "not an object": (b"[]", "JSON object"),
    "too large": (b" " * 1_000_001, "larger"),
    "nothing in it": (b"{}", "purchase_id is missing"),
    "unknown field": (json.dumps({**DOCUMENT, "titel": "x"}).encode(), "titel is unknown"),
    "amount of people": (
        json.dumps({**DOCUMENT, "price": {"amount": "250.00", "currency": "USD"}}).encode(),
        "price.amount",
    ),
    "half a letter": (json.dumps({**DOCUMENT, "title": "\ud800"}).encode(), ""),
    "needed or not": (
        json.dumps({**DOCUMENT, "requirements_needed": "no"}).encode(),
        "requirements_needed",
    ),
}


@pytest.mark.parametrize(("content", "says"), BAD_FILES.values(), ids=BAD_FILES)
async def test_a_bad_file_starts_nothing(
    content: bytes, says: str, cli: Cli, tmp_path: Path
) -> None:
    """Exit 2 and a sentence; refused before the server is even asked."""
    file = tmp_path / "input.json"
    file.write_bytes(content)

    answer = await cli("purchase", "--file", str(file), TEMPORAL_ADDRESS="localhost:1")

    assert answer.rejection == (2, "INVALID_INPUT")
    assert says in answer.err


async def test_a_file_that_is_not_there(cli: Cli, tmp_path: Path) -> None:
    """A missing file and a folder are wrong input, too."""
    for name in (tmp_path / "none.json", tmp_path):
        assert (await cli("purchase", "--file", str(name))).rejection == (2, "INVALID_INPUT")


async def test_a_purchase_that_is_paid_names_its_payment_instead_of_a_payment_method(
    cli: Cli, cli_client: Client, cli_worker: None
) -> None:
    started = await cli(*options(id="paid", payment_method=None, payment_reference="ch_1"))
    assert started.rejection == (1, "PAYMENT_DECLINED")
    assert "does not know this payment" in started.err
    terms = await Purchase(cli_client, "paid").terms()
    assert (terms.payment_method, terms.payment_reference) == (None, "ch_1")
    neither = await cli(*options(payment_method=None))
    assert "Missing: --payment-method" in neither.err
    both = await cli(*options(payment_reference="ch_1"))
    assert both.status == 2
    assert "give either payment_method or payment_reference" in both.err
