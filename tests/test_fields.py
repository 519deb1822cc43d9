"""What a message may carry, every later step can take: each field is carried through all layers."""

import itertools
import json
import shlex
import unicodedata
from datetime import UTC, datetime
from email import message_from_bytes, policy

import idna
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from sqlalchemy import Engine

from activities import fields
from activities.keys import workflow_id_of
from activities.ledger import Ledger
from activities.notices.commands import message_command, status_command
from activities.notices.log import DeliveryLog, Notice
from activities.notices.message import Outgoing, message_id, sender
from activities.notices.render import render
from activities.notices.webhook import event
from activities.payments.stripe import StripeProvider
from activities.requests import Money, RefundRequest, SettlementPosting
from docs.samples import START
from tests.contract import message, start
from tests.ledger.conftest import (
    databases,
    postgres,
    postgres_databases,
    shared_engine,
    sqlite_files,
)
from tests.notices.builders import ACCEPT, client, freelancer, operator, request
from tests.payments.builders import NOW, VISA
from tests.payments.conftest import client as stripe_client
from tests.payments.conftest import fake, provider, served
from workflows.messages import PurchaseStart

__all__ = ["databases", "fake", "postgres", "postgres_databases", "provider", "served"]
__all__ += ["shared_engine", "sqlite_files", "stripe_client"]

ODD = (
    "a\u00a0b",  # no-break space
    "a\u3000b",  # ideographic space
    "a\u200cb",  # zero-width non-joiner, as Persian needs it
    "a\u202eb",  # bidirectional override
    "\ue000",  # private use
    "\U000105d2\u0307",  # one letter since Unicode 16
    "\U0001fae9",  # unassigned before Unicode 16
    "\u0378",  # unassigned
    "\U000e0080",  # reserved for invisible characters
    "a" + "\u0301" * 9,
    "'\"\\;$(x)`%_{x}<b>&amp;",
    "=?utf-8?q?x?=",
    "-x",
    "\U0001d160",  # becomes three characters in NFC
    "\U0001f600" * 64,
    "purchase-",
    "a/b",
    "\u0627\u0644",
)
"""Texts at the border of what some layer takes."""

ODD_CHARACTERS = sorted({char for text in ODD for char in text})
TEXTS = st.one_of(
    st.sampled_from(ODD),
    st.text(min_size=1, max_size=64),
    st.text(st.sampled_from(ODD_CHARACTERS), min_size=1, max_size=64),
)
NUMBERS = itertools.count(1)
OFTEN = settings(
    max_examples=150,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


def accepted(text: str, field: str) -> PurchaseStart | None:
    """The start input with this text in one of its fields, if it is accepted."""
    party, _, own = field.rpartition(".")
    changed = {party: {**START[party], own: text}} if party else {own: text}
    try:
        return start(**changed)
    except (ValidationError, UnicodeEncodeError):
        return None


# --- ids and references: the ledger and the provider


@OFTEN
@given(text=TEXTS)
def test_the_ledger_takes_every_id_and_reference(shared_engine: Engine, text: str) -> None:
    """A purchase id and a reference that a message may carry are in the ledger as sent."""
    ledger, number = Ledger(shared_engine), next(NUMBERS)
    terms = accepted(text, "purchase_id") or start(purchase_id=f"plain-{number}")
    try:
        proof = message("resolve_attention", reference=text).reference
    except ValidationError:
        proof = "plain"
    key, purchase = f"{workflow_id_of(terms.purchase_id)}/{number}", terms.purchase_id
    if ledger.balances(purchase) is None:
        ledger.hold(key=f"{key}/hold", purchase_id=purchase, amount=5, currency="USD", at=NOW)
        ledger.decide(
            key=f"{key}/refund", purchase_id=purchase, refund=5, release=0, currency="USD", at=NOW
        )
        posting = SettlementPosting(
            key=f"{key}/settled",
            purchase_id=purchase,
            amount=5,
            currency="USD",
            reference=proof,
            at=NOW,
        )
        assert ledger.settle(**dict(posting))
    balances = ledger.balances(purchase)
    assert balances is not None
    assert balances.refunded == 5


@settings(OFTEN, max_examples=25)
@given(text=TEXTS)
def test_the_provider_takes_every_id(provider: StripeProvider, text: str) -> None:
    """The keys of charge and refund, and what the metadata keeps of them, are found again."""
    terms = accepted(text, "purchase_id")
    if terms is None:
        return
    workflow_id = workflow_id_of(terms.purchase_id)
    price = Money.model_validate(terms.price.model_dump())
    charge = provider.charge(f"{workflow_id}/hold", price, VISA, NOW)
    refund = RefundRequest(
        refund_id=f"{workflow_id}/refund/2",
        purchase_id=terms.purchase_id,
        charge_reference=charge.reference,
        amount=price,
        payment_method=VISA,
        at=NOW,
    )
    provider.refund(refund.refund_id, refund.charge_reference, refund.amount, NOW)

    assert provider.find_charge(f"{workflow_id}/hold") == charge
    assert provider.find_refund(refund.refund_id, charge.reference, NOW) is not None
    assert f"{workflow_id}/hold" in {record.key for record in provider.statement().charges}


# --- notices


@OFTEN
@given(text=TEXTS)
@pytest.mark.parametrize("field", ["purchase_id", "client.id", "client.name", "title"])
def test_a_notice_can_be_sent_about_every_text(
    shared_engine: Engine, field: str, text: str
) -> None:
    """Rendered, kept in the delivery log, sent by mail and as a webhook; commands name the id."""
    terms = accepted(text, field)
    if terms is None:
        return
    asked = request(
        purchase_id=terms.purchase_id,
        title=terms.title,
        client=terms.client.model_copy(update={"locale": "fr_FR"}),  # no catalogue has this sample
        note=text if _is_note(text) else None,
        transition_id=str(next(NUMBERS)),
    )
    for reader in (client(), freelancer(), operator()):
        rendered = render(asked, reader, None)
        notice = Notice(
            purchase_id=asked.purchase_id,
            transition_id=asked.transition_id,
            transition=asked.transition,
            role=reader.role,
            address=terms.client.email,
            channel="maildir",
            message_id=message_id(
                asked.purchase_id, asked.transition_id, reader.role, "maildir", "example.com"
            ),
            at=datetime(2026, 3, 2, tzinfo=UTC),
            **vars(rendered),
        )
        (kept,) = DeliveryLog(shared_engine).insert_if_absent([notice])
        sent = Outgoing(kept, terms.client.name, sender("Recourse <a@example.com>")).mail()
        read = message_from_bytes(sent.as_bytes(), policy=policy.default)
        assert read["To"].addresses[0].addr_spec == terms.client.email
        assert json.loads(event(kept))["data"]["purchase_id"] == terms.purchase_id
    assert shlex.split(status_command(asked))[-1] == terms.purchase_id
    command = message_command(asked, client(), ACCEPT, terms.client.id)
    assert shlex.split(command)[2:5] == [terms.purchase_id, "--as", f"client:{terms.client.id}"]


def _is_note(text: str) -> bool:
    try:
        message("cancel", reason=text)
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize(
    ("address", "is_accepted"),
    [
        ("ana@example.com", True),
        ("ana@b\u00fccher.example", True),
        ("j\u00f6rg@example.com", True),
        ("\u2615@example.com", False),
        ("ana@exa_mple.com", False),
        ("ana@example..com", False),
        ("a" * 65 + "@example.com", False),
        ("=?x?=@example.com", False),
        ("ana@" + "a" * 64 + ".com", False),
    ],
)
def test_a_start_with_an_address_that_no_mail_can_reach_is_rejected(
    address: str, is_accepted: bool
) -> None:
    """Mail and the start input judge an address alike."""
    assert (accepted(address, "client.email") is not None) is is_accepted


# --- the same on every version of Python


def test_ids_do_not_depend_on_the_version_of_unicode() -> None:
    """Characters that Unicode 3.2 knows are composed, later ones stay as they are."""
    for text in ("\U000105d2\u0307", "\U00011099\U000110ba", "a\u1dfa\u0323"):
        assert fields.identifier(text) == text
    assert fields.identifier("anai\u0308s") == "ana\u00efs"
    assert fields.identifier("\u1112\u1161\u11ab") == "\ud55c"
    table = unicodedata.ucd_3_2_0
    known = sum(table.category(chr(code)) != "Cn" for code in range(0x110000))
    assert known == 234_737


@pytest.mark.parametrize("text", ["\U0001fae9", "\u0378"])
def test_an_id_may_hold_characters_that_unicode_adds_later(text: str) -> None:
    """Whether this Python knows them or not."""
    assert fields.identifier(text) == text


def test_the_length_of_an_id_is_that_of_its_composed_form() -> None:
    """One character may become three."""
    assert len(fields.identifier("\U0001d160" * 21)) == 63
    with pytest.raises(ValueError, match="at most 64"):
        fields.identifier("\U0001d160" * 22)


def test_every_format_character_of_this_python_is_invisible() -> None:
    """A later version of Unicode may add one: then this fails, and the list gets it."""
    shown = fields.CONTROLS | fields.NOT_CHARACTERS | fields.SPACES | fields.INVISIBLE
    missing = [
        hex(code)
        for code in range(0x110000)
        if unicodedata.category(chr(code)) in ("Cc", "Cf", "Cs", "Zs", "Zl", "Zp")
        and chr(code) not in shown
    ]
    assert missing == []


@pytest.mark.parametrize(
    "domain",
    [
        *("faß.de", "Faß.DE", "βόλος.com", "ΒΌΛΟΣ.com", "bücher.example", "BÜCHER.example"),
        *("例え.テスト", "пример.рф", "مثال.إختبار", "उदाहरण.परीक्षा", "דוגמה.טעסט", "실례.테스트"),
        *("a.b.straße-9.example", "cafe\u0301.example", "ÅSA.example", "〇二.example"),
    ],
)
def test_a_domain_is_written_as_in_idna_2008(domain: str) -> None:
    """faß.de is another domain than fass.de. The library says how; ours cannot change a replay."""
    _, written = fields.mail_address(f"ana@{domain}")
    assert written.lower() == idna.encode(domain, uts46=True).decode()
