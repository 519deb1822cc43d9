"""What moves at the provider without Recourse, on a real server: the audit finds nothing, and a
lost ledger is restored."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from temporalio.testing import WorkflowEnvironment

from activities.audit import reconcile
from activities.database import create_engine, migrate
from activities.ledger import Ledger, PurchaseBalances
from activities.payments.sandbox import SandboxProvider
from activities.payments.sandbox_events import SandboxEvent
from activities.requests import Money
from activities.restore import restore
from activities.services import Services
from demo.runner import Handle, send, until
from temporal.directory import TemporalPurchaseDirectory
from tests.purchases import held, purchase_of
from workflows.messages import Role, Status

pytestmark = pytest.mark.usefixtures("worker")

Balances = tuple[int, int, int, int, int]
"""Held, in transit, refunded, released, charged back."""


async def happens(
    services: Services,
    handle: Handle,
    event: SandboxEvent,
    amount: int | None = None,
    *,
    seen: Callable[[Status], bool],
) -> None:
    """It happens at the sandbox, and the purchase looks at its payment until `seen`."""
    provider = services.provider
    assert isinstance(provider, SandboxProvider)
    money = Money(amount=amount, currency="USD") if amount else None
    provider.make_happen(event, f"{handle.id}/hold", money, datetime.now(UTC))
    by = {"role": "payments", "id": "sandbox"}
    await handle.signal("check_payment", {"by": by, "message_id": str(event)})
    await until(handle, seen)


def balances(ledger: Ledger, handle: Handle) -> Balances:
    found = ledger.balances(purchase_of(handle))
    assert isinstance(found, PurchaseBalances)
    return found.held, found.in_transit, found.refunded, found.released, found.charged_back


async def assert_audited(
    server: WorkflowEnvironment, services: Services, handle: Handle, expected: Balances
) -> None:
    """The ledger has these balances, and no difference to provider and workflow."""
    directory = TemporalPurchaseDirectory(server.client)
    report = await reconcile(services.ledger, services.provider, directory)
    assert [each for each in report.differences if each.purchase_id == purchase_of(handle)] == []
    assert balances(services.ledger, handle) == expected


async def assert_restored(
    server: WorkflowEnvironment, services: Services, handle: Handle, folder: Path
) -> None:
    """An empty ledger gets the same transfers."""
    engine = create_engine(f"sqlite:///{folder}/empty.db")
    try:
        migrate(engine)
        empty, purchase_id = Ledger(engine), purchase_of(handle)
        directory = TemporalPurchaseDirectory(server.client)
        report = await restore(empty, services.provider, directory, purchase_id)
        assert report.differences == ()
        assert empty.transfers(purchase_id) == services.ledger.transfers(purchase_id)
    finally:
        engine.dispose()


async def test_a_dispute_that_is_won(
    server: WorkflowEnvironment, services: Services, tmp_path: Path
) -> None:
    handle = await held(server)
    await happens(
        services,
        handle,
        SandboxEvent.DISPUTE_OPENED,
        10000,
        seen=lambda found: found.escrow.charged_back == 10000,
    )
    await until_posted(services, handle, 2)
    await assert_audited(server, services, handle, (15000, 0, 0, 0, 10000))
    await happens(
        services, handle, SandboxEvent.DISPUTE_WON, seen=lambda found: found.frozen is None
    )
    await until_posted(services, handle, 3)
    await assert_audited(server, services, handle, (25000, 0, 0, 0, 0))
    await assert_restored(server, services, handle, tmp_path)


async def test_a_dispute_that_is_lost(
    server: WorkflowEnvironment, services: Services, tmp_path: Path
) -> None:
    handle = await held(server)
    await happens(
        services,
        handle,
        SandboxEvent.DISPUTE_OPENED,
        seen=lambda found: found.escrow.charged_back == 25000,
    )
    await happens(
        services, handle, SandboxEvent.DISPUTE_LOST, seen=lambda found: found.stage == "closed"
    )
    await assert_audited(server, services, handle, (0, 0, 0, 0, 25000))
    await assert_restored(server, services, handle, tmp_path)


async def test_a_refund_made_elsewhere(
    server: WorkflowEnvironment, services: Services, tmp_path: Path
) -> None:
    handle = await held(server, payment_method="pm_sandbox_at_once")
    await happens(
        services,
        handle,
        SandboxEvent.REFUND_ELSEWHERE,
        10000,
        seen=lambda found: found.escrow.refunded == 10000,
    )
    await until_posted(services, handle, 2)
    await assert_audited(server, services, handle, (15000, 0, 10000, 0, 0))
    await send(handle, Role.FREELANCER, "give_refund")
    await handle.result()
    await assert_audited(server, services, handle, (0, 0, 25000, 0, 0))
    await assert_restored(server, services, handle, tmp_path)


async def until_posted(services: Services, handle: Handle, transfers: int) -> None:
    """Wait until the ledger has at least this many transfers of the purchase."""
    for _ in range(600):
        if len(services.ledger.transfers(purchase_of(handle))) >= transfers:
            return
        await handle.describe()
    raise AssertionError(services.ledger.transfers(purchase_of(handle)))
