"""The errors of the ledger: codes for programs, exact messages for people, no parameters."""

import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError, OperationalError

from activities.amounts import MAX_AMOUNT
from activities.database import DatabaseUnreachable, create_engine
from activities.database.engine import transact
from activities.ledger import Ledger, LedgerRejected, operations
from activities.ledger.audit import audit
from activities.ledger.validate import Rejection, validate
from tests.ledger.conftest import engine_of
from tests.ledger.test_audit import without_rules

AT = datetime(2026, 11, 1, tzinfo=UTC)


def hold(ledger: Ledger, key: str = "p-1/hold", **given: object) -> bool:
    terms = {"purchase_id": "p-1", "amount": 100, "currency": "USD", "at": AT} | given
    return ledger.hold(key=key, **terms)  # type: ignore[arg-type]


def decide(ledger: Ledger, key: str = "p-1/decided", refund: int = 100, release: int = 0) -> bool:
    return ledger.decide(
        key=key, purchase_id="p-1", refund=refund, release=release, currency="USD", at=AT
    )


def settle(ledger: Ledger, amount: int = 100, reference: str = "re_1") -> bool:
    terms = {"purchase_id": "p-1", "currency": "USD", "at": AT, "reference": reference}
    return ledger.settle(key="p-1/settled", amount=amount, **terms)  # type: ignore[arg-type]


def rejection(ask: Callable[[], object]) -> tuple[str, str]:
    """Return code and message of the expected rejection; its text has both."""
    with pytest.raises(LedgerRejected) as rejected:
        ask()
    error = rejected.value
    assert str(error) == f"{error.code}: {error.text}"
    return error.code, error.text


# --- Invalid requests


@pytest.mark.parametrize("amount", [0, -1, 1.0, True, MAX_AMOUNT + 1])
def test_an_invalid_amount_is_named(ledger: Ledger, amount: object) -> None:
    assert rejection(lambda: hold(ledger, amount=amount)) == (
        "INVALID_AMOUNT",
        f"The amount {amount!r} is invalid: give whole minor units from 1 to {MAX_AMOUNT}.",
    )


def test_an_invalid_field_is_named(ledger: Ledger) -> None:
    sentences = {
        rejection(lambda: hold(ledger, currency="usd")),
        rejection(lambda: hold(ledger, key="a\0b")),
        rejection(lambda: hold(ledger, purchase_id="")),
        rejection(lambda: settle(ledger, reference="re\n1")),
        rejection(lambda: hold(ledger, at=AT.replace(tzinfo=None))),
    }
    assert sentences == {
        ("INVALID_REQUEST", text)
        for text in (
            "The currency 'usd' is invalid: give three capital letters.",
            "The key must have no spaces, no invisible and no control characters.",
            "The purchase_id must have no spaces, no invisible and no control characters.",
            "The reference must be one line of text, without control characters.",
            "The time 2026-11-01 00:00:00 has no time zone: give an instant.",
        )
    }


# --- Rejections by the rules


def test_each_rejection_has_a_code_and_a_sentence(ledger: Ledger) -> None:
    assert rejection(lambda: decide(ledger, key="early")) == (
        "NO_HOLD",
        "Purchase p-1 has no hold: post its hold first.",
    )
    hold(ledger)
    assert rejection(lambda: hold(ledger, key="again")) == (
        "ALREADY_HELD",
        "Purchase p-1 has a hold already; it can have only one.",
    )
    assert rejection(lambda: decide(ledger, key="much", refund=101)) == (
        "NOT_ENOUGH_MONEY",
        "escrow:p-1 has 100 USD (minor units), the operation needs 101.",
    )
    assert rejection(lambda: decide(ledger, key="little", refund=60, release=39)) == (
        "MONEY_LEFT_OVER",
        "A decision must move the whole escrow: escrow:p-1 has 100 USD (minor units), the decision"
        " moves 99.",
    )
    decide(ledger)
    assert rejection(lambda: decide(ledger, key="twice")) == (
        "ALREADY_DECIDED",
        "Purchase p-1 has a decision already; it can have only one.",
    )
    assert rejection(lambda: hold(ledger, key="p-1/decided", amount=7)) == (
        "KEY_REUSED",
        "The key p-1/decided belongs to the refund of purchase p-1, recorded as"
        ' {"currency":"USD","kind":"refund","legs":[{"amount":100,"credit":"refunds-in-transit:p-1"'
        ',"debit":"escrow:p-1"}],"purchase_id":"p-1","reference":""}.'
        " Give a different operation another key.",
    )


def test_a_currency_mismatch_names_both_currencies(ledger: Ledger) -> None:
    hold(ledger)
    euro = {"key": "e", "purchase_id": "p-1", "refund": 100, "release": 0, "at": AT}
    assert rejection(lambda: ledger.decide(currency="EUR", **euro)) == (  # type: ignore[arg-type]
        "CURRENCY_MISMATCH",
        "Purchase p-1 is in USD, not EUR.",
    )


def test_a_deleted_account_has_no_balance() -> None:
    operation = operations.decide("k", "p-1", 100, 0, "USD", AT)
    assert validate(operation, {}, {"hold": "USD"}) == Rejection(
        "NOT_ENOUGH_MONEY", "escrow:p-1 has 0 USD (minor units), the operation needs 100."
    )


def test_the_database_rejects_what_validate_misses(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold(ledger)
    monkeypatch.setattr("activities.ledger.recording.validate", lambda *_: None)
    code, text = rejection(lambda: decide(ledger, refund=101))
    assert code == "REJECTED_BY_DATABASE"
    assert text.startswith("The database rejected p-1/decided: ")
    assert text.endswith(". Run: recourse audit")
    assert "\n" not in text
    assert ledger.audit() == []


def test_the_audit_names_a_purchase_whose_id_has_colons(ledger: Ledger, engine: Engine) -> None:
    hold(ledger, purchase_id="shop:7:p-1")
    with without_rules(engine) as connection:
        connection.execute(sa.text("UPDATE account SET balance = 7 WHERE id LIKE 'escrow:%'"))
        found = {(one.purchase_id, one.what) for one in audit(connection)}
    assert (
        "shop:7:p-1",
        "The balance of escrow:shop:7:p-1 is 7, but its transfers sum to 100.",
    ) in found
    assert {purchase for purchase, _ in found} == {None, "shop:7:p-1"}


# --- Unreachable databases


def test_an_unreachable_database_is_reported_in_one_line(
    ledger: Ledger, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(_connection: object) -> None:
        raise engine.dialect.loaded_dbapi.OperationalError(
            "\nthe connection was lost\nHINT: restart it\nand retry"
        )

    monkeypatch.setattr(engine.dialect, "do_commit", cut)
    with pytest.raises(DatabaseUnreachable) as unreachable:
        hold(ledger)
    assert str(unreachable.value) == "The database cannot be reached: the connection was lost"


def test_a_database_that_stays_busy_is_reported_with_its_reason(engine: Engine) -> None:
    def busy(_connection: object) -> None:
        locked = sqlite3.OperationalError("database is locked")
        locked.sqlite_errorcode = sqlite3.SQLITE_BUSY
        raise OperationalError("UPDATE account", None, locked)

    with pytest.raises(DatabaseUnreachable) as unreachable:
        transact(engine, busy)
    assert str(unreachable.value) == (
        "The database was busy 5 times in a row (database is locked). Send the request again."
    )


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", {"connect_timeout": 5, "target_session_attrs": "read-write"}),
        ("?connect_timeout=2", {"connect_timeout": "2", "target_session_attrs": "read-write"}),
    ],
)
def test_what_the_address_of_the_database_says_comes_before_our_defaults(
    query: str, expected: dict[str, object]
) -> None:
    engine = create_engine(f"postgresql+psycopg://ana@127.0.0.1:1/recourse{query}")
    given: dict[str, object] = {}

    @sa.event.listens_for(engine, "do_connect")
    def _note(dialect: object, record: object, args: object, parameters: dict[str, object]) -> None:
        given.update(parameters)

    with pytest.raises(DatabaseUnreachable):
        transact(engine, lambda _: None)
    assert {name: given[name] for name in expected} == expected


def test_a_directory_that_cannot_be_created_is_reported(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    file = tmp_path_factory.mktemp("full") / "file"
    file.write_text("no directory")
    with pytest.raises(DatabaseUnreachable, match="directory of the database cannot be created: "):
        create_engine(f"sqlite:///{file}/sub/ledger.db")


def test_the_directory_of_a_new_file_is_created(tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("new") / "some" / "where" / "ledger.db"
    with engine_of(f"sqlite:///{file}") as engine, engine.connect():
        assert file.exists()


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("sqlite://", "The database must be a file: sqlite:///path/to/recourse.db."),
        (
            "mysql://x/y",
            "mysql is not supported: the database must be sqlite:///… or postgresql+psycopg://….",
        ),
    ],
)
def test_an_unsupported_database_error_says_what_is_supported(url: str, sentence: str) -> None:
    with pytest.raises(ValueError, match="database must be") as rejected:
        create_engine(url)
    assert str(rejected.value) == sentence


def test_an_error_does_not_contain_the_parameters(engine: Engine) -> None:
    query = sa.text("SELECT * FROM nowhere WHERE purchase = :secret")
    with engine.connect() as connection, pytest.raises(DBAPIError) as error:
        connection.execute(query, {"secret": "ana-4711"})
    assert "nowhere" in str(error.value)
    assert "ana-4711" not in str(error.value)
