"""What happens at the sandbox without a call of ours, by events and by payment methods."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from activities.payments import (
    BankDispute,
    ChargeRecord,
    PaymentReport,
    ProviderRejected,
    RefundRecord,
)
from activities.payments.sandbox import SandboxProvider
from activities.payments.sandbox_events import EventRejected, EventResult, SandboxEvent
from activities.payments.sandbox_methods import RETURNED_AFTER
from activities.requests import Money
from tests.payments.builders import KEY, NOW, PART, PRICE, REFUND, usd

DAY = timedelta(days=1)
Event = SandboxEvent


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sandbox.db"


@pytest.fixture
def sandbox(path: Path) -> Iterator[SandboxProvider]:
    with closing(SandboxProvider(path)) as provider:
        yield provider


def charged(sandbox: SandboxProvider, method: str = "pm_sandbox_ok", key: str = KEY) -> str:
    """Charge the price; return the reference."""
    return sandbox.charge(key, PRICE, method, NOW).reference


def happens(
    sandbox: SandboxProvider,
    event: SandboxEvent,
    amount: Money | None = None,
    *,
    days: int = 0,
    key: str = KEY,
) -> EventResult:
    """Make an event happen to the charge, some days after it was made."""
    return sandbox.make_happen(event, key, amount, NOW + days * DAY)


def report(sandbox: SandboxProvider, charge: str, days: int = 0) -> PaymentReport:
    """What the sandbox reports about a charge it knows."""
    found = sandbox.payment(charge, NOW + days * DAY)
    assert found is not None
    return found


def recorded(sandbox: SandboxProvider) -> ChargeRecord:
    """The one charge of the statement."""
    (found,) = sandbox.statement().charges
    return found


# --- What is reported about a charge -----------------------------------------------------------


def test_everything_about_a_charge_is_reported(sandbox: SandboxProvider) -> None:
    charge = charged(sandbox)
    assert report(sandbox, charge) == PaymentReport(charge, PRICE, KEY)
    sent = sandbox.refund(REFUND, charge, PART, NOW)
    disputed = happens(sandbox, Event.DISPUTE_OPENED, usd(50_00))
    refund = RefundRecord(REFUND, PART, sent.reference, "pending", charge)
    dispute = BankDispute(disputed.reference, "opened", usd(50_00), "product not received")
    assert report(sandbox, charge) == PaymentReport(charge, PRICE, KEY, (refund,), (dispute,))
    assert report(sandbox, charge, days=4).refunds[0].status == "settled"


def test_an_unknown_charge_and_one_that_nobody_paid_are_distinguished(
    sandbox: SandboxProvider,
) -> None:
    assert sandbox.payment("ch_unheard_of", NOW) is None
    declined = charged(sandbox, "pm_sandbox_declined")
    assert report(sandbox, declined).captured is None


# --- Disputes ----------------------------------------------------------------------------------


def test_a_dispute_that_is_won_gives_the_money_back(sandbox: SandboxProvider) -> None:
    charge = charged(sandbox)
    opened = happens(sandbox, Event.DISPUTE_OPENED)
    assert (opened.amount, opened.status) == (PRICE, "opened")
    with pytest.raises(ProviderRejected, match="The charge is disputed: the client's bank has"):
        sandbox.refund(REFUND, charge, PART, NOW)
    won = happens(sandbox, Event.DISPUTE_WON)
    assert (won.reference, won.status) == (opened.reference, "won")
    assert sandbox.refund(REFUND, charge, PRICE, NOW).status == "pending"
    assert recorded(sandbox).disputed


def test_what_a_dispute_did_not_withdraw_can_be_refunded(sandbox: SandboxProvider) -> None:
    charge = charged(sandbox)
    happens(sandbox, Event.DISPUTE_OPENED, PART)
    happens(sandbox, Event.DISPUTE_LOST)
    with pytest.raises(ProviderRejected, match="withdrawn 10000 of 25000"):
        sandbox.refund(REFUND, charge, usd(150_01), NOW)
    sandbox.refund(REFUND, charge, usd(150_00), NOW)


def test_a_bank_can_withdraw_what_was_refunded_but_no_more_than_was_paid(
    sandbox: SandboxProvider,
) -> None:
    charge = charged(sandbox)
    sandbox.refund(REFUND, charge, PRICE, NOW)
    happens(sandbox, Event.DISPUTE_OPENED, PART)
    with pytest.raises(EventRejected, match=r"150\.01 USD is not possible: 150\.00 USD of"):
        happens(sandbox, Event.DISPUTE_OPENED, usd(150_01))
    assert happens(sandbox, Event.DISPUTE_OPENED).amount == usd(150_00)
    with pytest.raises(EventRejected, match=r"Nothing of the payment .* is left"):
        happens(sandbox, Event.DISPUTE_OPENED)
    assert len(report(sandbox, charge).disputes) == 2


def test_an_inquiry_withdraws_nothing_and_may_become_a_dispute(sandbox: SandboxProvider) -> None:
    charge = charged(sandbox)
    inquiry = happens(sandbox, Event.INQUIRY_OPENED)
    assert inquiry.status == "inquiry"
    assert not recorded(sandbox).disputed
    sandbox.refund(REFUND, charge, PART, NOW)
    with pytest.raises(EventRejected, match="no open dispute that can be lost"):
        happens(sandbox, Event.DISPUTE_LOST)
    assert happens(sandbox, Event.DISPUTE_OPENED).reference == inquiry.reference
    (dispute,) = report(sandbox, charge).disputes
    assert (dispute.status, dispute.amount) == ("opened", PRICE)
    assert recorded(sandbox).disputes == (dispute,)


@pytest.mark.parametrize("event", [Event.DISPUTE_WON, Event.DISPUTE_LOST])
def test_only_an_open_dispute_can_end(sandbox: SandboxProvider, event: SandboxEvent) -> None:
    charged(sandbox)
    with pytest.raises(EventRejected, match="no open dispute") as rejected:
        happens(sandbox, event)
    assert rejected.value.code == "NOT_ALLOWED_NOW"
    happens(sandbox, Event.DISPUTE_OPENED)
    happens(sandbox, event)
    with pytest.raises(EventRejected, match="no open dispute"):
        happens(sandbox, event)


def test_a_payment_method_is_disputed_as_soon_as_it_has_paid(sandbox: SandboxProvider) -> None:
    charge = charged(sandbox, "pm_sandbox_disputed")
    assert charged(sandbox, "pm_sandbox_disputed") == charge
    (dispute,) = report(sandbox, charge).disputes
    assert (dispute.status, dispute.amount) == ("opened", PRICE)


# --- Refunds made elsewhere --------------------------------------------------------------------


def test_a_refund_made_elsewhere_has_no_id_of_ours_and_counts(sandbox: SandboxProvider) -> None:
    charge = charged(sandbox)
    for amount in (PART, None):
        happens(sandbox, Event.REFUND_ELSEWHERE, amount)
    refunds = report(sandbox, charge).refunds
    assert [(each.refund_id, each.amount) for each in refunds] == [("", PART), ("", usd(150_00))]
    assert recorded(sandbox).refunded == PRICE.amount
    assert sandbox.refunds() == []
    with pytest.raises(ProviderRejected, match="remaining charge of 0"):
        sandbox.refund(REFUND, charge, usd(1), NOW)


def test_no_more_is_refunded_elsewhere_than_is_left(sandbox: SandboxProvider) -> None:
    charge = charged(sandbox)
    sandbox.refund(REFUND, charge, PART, NOW)
    happens(sandbox, Event.DISPUTE_OPENED, usd(50_00))
    with pytest.raises(EventRejected, match=r"100\.00 USD of the payment is left"):
        happens(sandbox, Event.REFUND_ELSEWHERE, usd(100_01))
    with pytest.raises(EventRejected, match="not possible") as rejected:
        happens(sandbox, Event.REFUND_ELSEWHERE, usd(0))
    assert rejected.value.code == "INVALID_AMOUNT"
    with pytest.raises(EventRejected, match="in USD"):
        happens(sandbox, Event.REFUND_ELSEWHERE, Money(amount=1, currency="EUR"))
    assert happens(sandbox, Event.REFUND_ELSEWHERE).amount == usd(100_00)


# --- The life of a refund ----------------------------------------------------------------------


def test_a_sent_refund_has_the_reference_of_the_bank(sandbox: SandboxProvider) -> None:
    charge = charged(sandbox)
    asked = sandbox.refund(REFUND, charge, PRICE, NOW)
    sent = happens(sandbox, Event.REFUND_SENT)
    assert sent.reference != asked.reference
    assert len(sent.reference) == 23
    assert sent.reference.isdigit()
    for days in (0, 100):  # what the payment method would do is replaced
        found = sandbox.find_refund(REFUND, charge, NOW + days * DAY)
        assert found is not None
        assert (found.status, found.reference) == ("sent", sent.reference)
    settled = happens(sandbox, Event.REFUND_SETTLED)
    assert (settled.status, settled.reference) == ("settled", sent.reference)


@pytest.mark.parametrize(
    "events",
    [
        (Event.REFUND_SENT, Event.REFUND_RETURNED),
        (Event.REFUND_SETTLED, Event.REFUND_RETURNED),
        (Event.REFUND_SENT, Event.REFUND_FAILED),
        (Event.REFUND_FAILED,),
    ],
)
def test_a_refund_that_failed_or_was_returned_can_be_sent_again(
    sandbox: SandboxProvider, events: tuple[SandboxEvent, ...]
) -> None:
    charge = charged(sandbox)
    sandbox.refund(REFUND, charge, PRICE, NOW)
    for event in events:
        happens(sandbox, event)
    (refund,) = report(sandbox, charge, days=100).refunds
    assert refund.status == "failed"
    assert "cannot receive money" in refund.text
    assert not refund.cancelled
    assert recorded(sandbox).refunded == 0
    sandbox.refund(f"{REFUND}-2", charge, PRICE, NOW)
    assert happens(sandbox, Event.REFUND_SENT).status == "sent"
    assert [each.status for each in report(sandbox, charge).refunds] == ["failed", "sent"]


def test_a_pending_refund_can_be_cancelled(sandbox: SandboxProvider) -> None:
    charge = charged(sandbox)
    sandbox.refund(REFUND, charge, PRICE, NOW)
    assert happens(sandbox, Event.REFUND_CANCELLED).status == "failed"
    (refund,) = report(sandbox, charge).refunds
    assert (refund.status, refund.cancelled) == ("failed", True)


def test_a_refund_made_elsewhere_can_fail(sandbox: SandboxProvider) -> None:
    """Then the payment can be refunded again; our own refunds stay as they are."""
    charge = charged(sandbox)
    with pytest.raises(EventRejected, match="No refund of this purchase was made elsewhere"):
        happens(sandbox, Event.REFUND_ELSEWHERE_FAILED)
    happens(sandbox, Event.REFUND_ELSEWHERE)
    happens(sandbox, Event.REFUND_ELSEWHERE_FAILED)
    assert recorded(sandbox).refunded == 0
    sandbox.refund(REFUND, charge, PRICE, NOW)
    assert [each.status for each in report(sandbox, charge).refunds] == ["failed", "pending"]


@pytest.mark.parametrize(
    ("first", "event", "why"),
    [
        (Event.REFUND_SENT, Event.REFUND_SENT, "is sent; it must be pending"),
        (Event.REFUND_SETTLED, Event.REFUND_FAILED, "is settled; it must be pending or sent"),
        (Event.REFUND_FAILED, Event.REFUND_SETTLED, "is failed; it must be pending or sent"),
        (None, Event.REFUND_RETURNED, "is pending; it must be sent or settled"),
    ],
)
def test_a_refund_changes_only_as_at_a_provider(
    sandbox: SandboxProvider, first: SandboxEvent | None, event: SandboxEvent, why: str
) -> None:
    sandbox.refund(REFUND, charged(sandbox), PRICE, NOW)
    if first:
        happens(sandbox, first)
    with pytest.raises(EventRejected, match=why):
        happens(sandbox, event)


def test_the_events_of_refunds_are_about_the_last_one_that_we_asked_for(
    sandbox: SandboxProvider,
) -> None:
    charge = charged(sandbox)
    happens(sandbox, Event.REFUND_ELSEWHERE, PART)
    with pytest.raises(EventRejected, match="No refund of this purchase was asked for"):
        happens(sandbox, Event.REFUND_SENT)
    sandbox.refund(REFUND, charge, PART, NOW)
    happens(sandbox, Event.REFUND_ELSEWHERE)
    happens(sandbox, Event.REFUND_SENT)
    statuses = [each.status for each in report(sandbox, charge).refunds]
    assert statuses == ["pending", "sent", "pending"]


@pytest.mark.parametrize(
    ("method", "statuses"),
    [
        ("pm_sandbox_refund_sent", ["sent", "sent", "sent"]),
        ("pm_sandbox_refund_returned", ["sent", "sent", "failed"]),
        ("pm_sandbox_refund_pending", ["pending", "pending", "pending"]),
    ],
)
def test_the_payment_method_decides_how_a_refund_goes_on(
    sandbox: SandboxProvider, method: str, statuses: list[str]
) -> None:
    charge = charged(sandbox, method)
    first = sandbox.refund(REFUND, charge, PRICE, NOW)
    days = (0, RETURNED_AFTER.days - 1, RETURNED_AFTER.days)
    found = [report(sandbox, charge, days=day).refunds[0] for day in days]
    assert [each.status for each in found] == statuses
    assert {each.reference for each in found} == {first.reference}
    assert first.reference.isdigit() == (first.status == "sent")
    assert ("Insufficient balance" in first.text) == (first.status == "pending")
    (last,) = sandbox.statement().refunds
    assert last.status == statuses[-1]


# --- Payments that need the client, and payments made elsewhere --------------------------------


def test_a_payment_that_needs_the_client_is_paid_once_the_client_confirms(
    sandbox: SandboxProvider,
) -> None:
    waiting = sandbox.charge(KEY, PRICE, "pm_sandbox_needs_client", NOW)
    assert (waiting.status, waiting.charged) == ("needs_client", None)
    assert waiting.confirm_url.startswith("https://")
    assert sandbox.charge(KEY, PRICE, "pm_sandbox_needs_client", NOW) == waiting
    assert sandbox.find_charge(KEY) == waiting
    assert report(sandbox, waiting.reference).captured is None
    with pytest.raises(EventRejected, match="has not paid"):
        happens(sandbox, Event.DISPUTE_OPENED)
    happens(sandbox, Event.PAYMENT_CONFIRMED)
    paid = sandbox.charge(KEY, PRICE, "pm_sandbox_needs_client", NOW)
    assert (paid.status, paid.charged, paid.reference) == ("succeeded", PRICE, waiting.reference)
    with pytest.raises(EventRejected, match="does not wait for the client"):
        happens(sandbox, Event.PAYMENT_CONFIRMED)


def test_a_payment_that_was_voided_can_no_longer_be_confirmed(sandbox: SandboxProvider) -> None:
    sandbox.charge(KEY, PRICE, "pm_sandbox_needs_client", NOW)
    assert sandbox.void(KEY, PRICE, "pm_sandbox_needs_client", NOW) is None
    with pytest.raises(EventRejected, match="it is void"):
        happens(sandbox, Event.PAYMENT_CONFIRMED)
    voided = sandbox.charge(KEY, PRICE, "pm_sandbox_needs_client", NOW)
    assert (voided.status, voided.charged) == ("declined", None)


def test_a_payment_made_elsewhere_is_ours_once_it_is_claimed(sandbox: SandboxProvider) -> None:
    made = happens(sandbox, Event.PAYMENT_MADE, PRICE)
    assert report(sandbox, made.reference) == PaymentReport(made.reference, PRICE, "")
    assert sandbox.find_charge(KEY) is None
    assert sandbox.statement().charges == ()
    with pytest.raises(ProviderRejected, match="made elsewhere and not claimed"):
        sandbox.refund(REFUND, made.reference, PRICE, NOW)

    for _ in range(2):
        claimed = sandbox.claim(KEY, made.reference, NOW)
        assert claimed == PaymentReport(made.reference, PRICE, KEY)
    found = sandbox.find_charge(KEY)
    assert found is not None
    assert (found.status, found.charged, found.reference) == ("succeeded", PRICE, made.reference)
    assert recorded(sandbox).key == KEY
    assert sandbox.refund(REFUND, made.reference, PRICE, NOW).status == "pending"
    assert happens(sandbox, Event.REFUND_SENT).charge_reference == made.reference


def test_a_charge_is_claimed_for_one_purchase_of_one_deployment(
    path: Path, sandbox: SandboxProvider
) -> None:
    made = happens(sandbox, Event.PAYMENT_MADE, PRICE)
    sandbox.claim(KEY, made.reference, NOW)
    with pytest.raises(ProviderRejected, match="charge belongs to another purchase"):
        sandbox.claim("purchase-p-2/hold", made.reference, NOW)
    with (
        closing(SandboxProvider(path, "staging")) as staging,
        pytest.raises(ProviderRejected, match="another deployment"),
    ):
        staging.claim(KEY, made.reference, NOW)
    other = happens(sandbox, Event.PAYMENT_MADE, PRICE)
    with pytest.raises(ProviderRejected, match="key belongs to another charge"):
        sandbox.claim(KEY, other.reference, NOW)
    assert sandbox.claim(KEY, "ch_unheard_of", NOW) is None


def test_each_payment_made_elsewhere_is_another_one(sandbox: SandboxProvider) -> None:
    first = happens(sandbox, Event.PAYMENT_MADE, PRICE)
    sandbox.claim(KEY, first.reference, NOW)
    more = [happens(sandbox, Event.PAYMENT_MADE, PRICE).reference for _ in range(2)]
    assert len({first.reference, *more}) == 3


# --- What cannot happen ------------------------------------------------------------------------


@pytest.mark.parametrize("event", sorted(set(Event) - {Event.PAYMENT_MADE}))
def test_nothing_happens_to_a_payment_that_does_not_exist(
    sandbox: SandboxProvider, path: Path, event: SandboxEvent
) -> None:
    with closing(SandboxProvider(path, "staging")) as staging:
        charged(staging)
    with pytest.raises(EventRejected, match="no payment of this purchase") as rejected:
        happens(sandbox, event)
    assert rejected.value.code == "NOT_FOUND"


def test_an_amount_goes_with_the_events_that_have_one(sandbox: SandboxProvider) -> None:
    charged(sandbox)
    with pytest.raises(ValueError, match="dispute-won takes no amount"):
        happens(sandbox, Event.DISPUTE_WON, PART)
    for nothing in (None, usd(0)):
        with pytest.raises(ValueError, match="payment-made needs an amount"):
            happens(sandbox, Event.PAYMENT_MADE, nothing)


# --- The file ----------------------------------------------------------------------------------


def test_a_file_of_an_older_sandbox_is_opened_and_learns_disputes(path: Path) -> None:
    with closing(SandboxProvider(path)) as sandbox:
        charge = charged(sandbox)
    with closing(sqlite3.connect(path)) as older:
        older.execute("DROP TABLE disputes")
    with closing(SandboxProvider(path)) as sandbox:
        assert report(sandbox, charge).disputes == ()
        happens(sandbox, Event.DISPUTE_OPENED)
        assert len(report(sandbox, charge).disputes) == 1
