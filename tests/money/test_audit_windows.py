"""An audit by windows: which purchases it compares, and which charges it does not read."""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any, cast

from activities.audit import WINDOW, reconcile
from activities.ledger import Ledger
from activities.payments import PaymentProvider, Statement
from activities.payments.sandbox import SandboxProvider
from activities.payments.sandbox_events import SandboxEvent
from activities.requests import AuditReport, Money
from tests.money.environment import NOW, Environment, payment, run
from tests.money.test_audit import FakeDirectory

LAST_YEAR = NOW - timedelta(days=365)
SINCE = NOW - WINDOW


def bought(
    environment: Environment, purchase_id: str, *, years_ago: bool, released: bool = True
) -> None:
    """A purchase, paid and released at once."""
    at, key = LAST_YEAR if years_ago else NOW, f"purchase-{purchase_id}"
    changed = {"key": f"{key}/hold", "purchase_id": purchase_id, "at": at}
    run(environment.money.take_payment, payment().model_copy(update=changed))
    if released:
        release(environment, purchase_id, at)


def release(environment: Environment, purchase_id: str, at: datetime) -> None:
    environment.ledger.decide(
        key=f"purchase-{purchase_id}/release",
        purchase_id=purchase_id,
        refund=0,
        release=25_000,
        currency="USD",
        at=at,
    )


def happens(environment: Environment, purchase_id: str, event: SandboxEvent, amount: int) -> None:
    money = Money(amount=amount, currency="USD")
    environment.sandbox.make_happen(event, f"purchase-{purchase_id}/hold", money, NOW)


class Watched:
    """The sandbox, and the keys of the charges that were read."""

    def __init__(self, sandbox: SandboxProvider) -> None:
        self._sandbox = sandbox
        self.read: set[str] = set()

    def statement(self, *given: Any) -> Statement:
        found = self._sandbox.statement(*given)
        self.read |= {charge.key for charge in found.charges}
        return found


async def audited(
    environment: Environment, running: Collection[str] = ()
) -> tuple[AuditReport, set[str]]:
    """The report, and the purchases whose charges were read."""
    watched = Watched(environment.sandbox)
    directory = FakeDirectory([set(running)], now=set(running), stage="in_progress")
    provider = cast(PaymentProvider, watched)
    report = await reconcile(environment.ledger, provider, directory, since=SINCE)
    return report, {key.split("/")[0].removeprefix("purchase-") for key in watched.read}


async def test_a_purchase_of_last_year_is_not_compared_every_day(environment: Environment) -> None:
    bought(environment, "old", years_ago=True)
    bought(environment, "new", years_ago=False)
    report, read = await audited(environment)
    assert (read, report.purchases, report.compared) == ({"new"}, 2, 1)
    assert report.differences == ()
    assert [total.at_provider for total in report.totals] == [None]


async def test_what_moves_now_at_an_old_charge_is_found(environment: Environment) -> None:
    """The refund is in the provider's list, and brings its charge."""
    bought(environment, "old", years_ago=True)
    happens(environment, "old", SandboxEvent.REFUND_ELSEWHERE, 5_000)
    report, read = await audited(environment)
    assert read == {"old"}
    (found,) = report.differences
    assert "the provider refunded 50.00 USD" in found.what


async def test_an_old_purchase_with_money_inside_is_always_compared(
    environment: Environment,
) -> None:
    """At any age, and also if nothing was made at the provider for a year."""
    bought(environment, "open", years_ago=True, released=False)
    environment.sandbox.make_happen(
        SandboxEvent.INQUIRY_OPENED, "purchase-open/hold", None, LAST_YEAR
    )
    environment.sandbox.make_happen(
        SandboxEvent.DISPUTE_OPENED, "purchase-open/hold", None, LAST_YEAR
    )
    report, read = await audited(environment, running={"open"})
    assert read == {"open"}
    (found,) = report.differences
    assert "disputes 250.00 USD" in found.what


async def test_an_old_purchase_that_is_running_is_always_compared(environment: Environment) -> None:
    """As in an aftercare case that waits for a bank."""
    bought(environment, "old", years_ago=True)
    _, read = await audited(environment, running={"old"})
    assert read == {"old"}


async def test_an_old_charge_of_a_purchase_that_closed_now_is_compared(
    environment: Environment,
) -> None:
    bought(environment, "slow", years_ago=True, released=False)
    release(environment, "slow", NOW)
    _, read = await audited(environment)
    assert read == {"slow"}


async def test_a_new_charge_that_the_ledger_does_not_have_is_found(
    environment: Environment,
) -> None:
    """As after a ledger was restored from an old backup."""
    environment.sandbox.charge(
        "purchase-lost/hold", Money(amount=25_000, currency="USD"), "pm_sandbox_ok", NOW
    )
    report, _ = await audited(environment)
    (found,) = report.differences
    assert "the ledger has no hold" in found.what


async def test_the_whole_is_compared_on_request(environment: Environment) -> None:
    """`recourse audit --all`, with what is kept at the provider."""
    bought(environment, "old", years_ago=True)
    lines: list[str] = []
    report = await reconcile(
        environment.ledger,
        environment.sandbox,
        FakeDirectory([set()]),
        report_progress=lines.append,
    )
    assert (report.compared, report.totals[0].at_provider) == (1, 25_000)
    assert lines == [
        "Reading the provider's records of all charges",
        "Reading the ledger",
        "Comparing purchases: 1 of 1",
    ]


def test_a_hold_of_an_early_release_has_no_reference(environment: Environment) -> None:
    """Its charge is looked up by its key."""
    ledger: Ledger = environment.ledger
    ledger.hold(key="purchase-p-9/hold", purchase_id="p-9", amount=1, currency="USD", at=LAST_YEAR)
    assert ledger.watched(SINCE) == {"p-9": ""}
