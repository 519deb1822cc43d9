"""Staff find a person's purchases by mail address or name; the ledger has no text of either."""

import json

import pytest
import sqlalchemy as sa

from activities.ledger import Ledger, bought
from activities.people import fingerprints_for
from activities.sealing import UNENCRYPTED, Seal
from temporal.codec import Encryption
from tests.money.environment import payment

ANA = {"id": "ana", "name": "Ana María Óscar", "email": "Ana@Example.com"}
BO = {"id": "bo", "name": "Bo", "email": "bo@example.com"}
OLD, NEW = (Encryption({name: name.encode() * 32}) for name in ("a", "b"))
ROTATED = Encryption({"b": b"b" * 32, "a": b"a" * 32})


def register(ledger: Ledger, seal: Seal, purchase_id: str = "p-1", **client: str) -> None:
    """Buy something as this client."""
    document = json.dumps({"client": ANA | client, "freelancer": BO})
    changed = {"purchase_id": purchase_id, "document": document}
    ledger.register(bought(payment().model_copy(update=changed), seal))


@pytest.mark.parametrize("seal", [UNENCRYPTED, OLD], ids=["without keys", "with keys"])
@pytest.mark.parametrize(
    "text",
    ["ana@example.com", "ANA@EXAMPLE.COM", "Ana María Óscar", "maría", "Oscar", "Bo", "Óscár"],
)
def test_a_purchase_is_found_by_address_name_and_word(
    text: str, seal: Seal, ledger: Ledger
) -> None:
    """Upper and lower case are the same, and accents may be left out; of either party."""
    register(ledger, seal)
    found = ledger.purchases_of(fingerprints_for(text, seal))
    assert found == ([] if text == "Óscár" else ["p-1"])


def test_others_are_not_found(ledger: Ledger) -> None:
    register(ledger, UNENCRYPTED)
    register(ledger, UNENCRYPTED, "p-2", name="Eve", email="eve@example.com")
    assert ledger.purchases_of(fingerprints_for("Eve", UNENCRYPTED)) == ["p-2"]
    assert ledger.purchases_of(fingerprints_for("bo@example.com", UNENCRYPTED)) == ["p-1", "p-2"]
    assert ledger.purchases_of(fingerprints_for("ana", OLD)) == []


def test_a_purchase_is_found_after_the_key_was_changed(ledger: Ledger) -> None:
    register(ledger, OLD)
    register(ledger, NEW, "p-2")
    assert ledger.purchases_of(fingerprints_for("ana@example.com", ROTATED)) == ["p-1", "p-2"]
    assert ledger.purchases_of(fingerprints_for("ana@example.com", NEW)) == ["p-2"]


def test_the_ledger_has_neither_address_nor_name(ledger: Ledger) -> None:
    """Not even a hash that somebody without the keys can compute from a name."""
    register(ledger, OLD)
    with ledger._engine.connect() as connection:
        rows = connection.execute(sa.text("SELECT fingerprint FROM person")).scalars().all()
    assert len(rows) == 10
    assert not set(rows) & set(fingerprints_for("ana@example.com", UNENCRYPTED))
