"""Attempts that take too long: their threads go on."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event

import pytest
from temporalio.testing import WorkflowEnvironment

from activities.payments.sandbox import SandboxProvider
from activities.payments.sandbox_events import SandboxEvent
from activities.services import Services
from demo.runner import until
from demo.scenarios import PRICE
from tests.conftest import settings
from tests.purchases import FREELANCER, held, purchase_of
from worker import build_worker
from workflows import effects


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    """A ledger, provider and mailbox of its own."""
    services = Services(settings(tmp_path))
    yield services
    services.close()


async def test_a_look_at_the_payment_that_took_too_long_decides_nothing(
    bare_server: WorkflowEnvironment,
    services: Services,
    threads: ThreadPoolExecutor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The provider answers the first question before a refund so late that a second one is asked.
    In between, the client's bank withdraws the money. The first answer, which does not know that,
    arrives before the bank dispute is posted."""
    monkeypatch.setattr(effects, "ATTEMPT_TIMEOUT", timedelta(seconds=3))
    provider = services.provider
    assert isinstance(provider, SandboxProvider)
    asked: list[str] = []
    ask, asked_again = provider.payment, Event()
    async with build_worker(bare_server.client, services, threads):
        handle = await held(bare_server)
        purchase_id = purchase_of(handle)

        def posted() -> bool:
            balances = services.ledger.balances(purchase_id)
            return balances is not None and not balances.held

        def payment(reference: str, at: datetime) -> object:
            asked.append(reference)
            if len(asked) == 1:
                answer = ask(reference, at)
                asked_again.wait(20)
                return answer
            if len(asked) == 2:
                hold, now = f"{handle.id}/hold", datetime.now(UTC)
                provider.make_happen(SandboxEvent.DISPUTE_OPENED, hold, None, now)
                asked_again.set()
                deadline = time.monotonic() + 2
                while time.monotonic() < deadline and not posted():
                    time.sleep(0.02)
            return ask(reference, at)

        monkeypatch.setattr(provider, "payment", payment)
        await handle.signal("give_refund", {"by": FREELANCER})

        await until(handle, lambda found: found.frozen is not None)
        found = await until(handle, lambda _: posted())

        assert "effect_blocked" not in [item.kind for item in found.attention]
        balances = services.ledger.balances(purchase_id)
        assert balances is not None
        assert balances.charged_back == PRICE
        await handle.terminate("seen")
