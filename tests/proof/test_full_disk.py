"""The disk of the ledger's SQLite database is really full: purchases wait, and end the same."""

import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from demo.runner import send, skip, start, until
from demo.scenarios import PRICE, SCENARIOS
from tests.conftest import settings
from tests.proof.conftest import UndisturbedRuns
from tests.proof.counts import ALL, SELECTED, TIME_LIMIT, counted
from tests.proof.fault_injection import running_worker
from tests.proof.final_state import final_state
from tests.proof.harness import Harness, new_harness
from tests.proof.outages import survive_outages, times_logged, until_logged
from workflows.messages import Role

APART = 60
"""Events between two times in one scenario at which the disk is full."""
FIRST = range(1, APART, 20) if ALL else (15,)
DISK_BYTES = (64 if ALL else 8) * 1024 * 1024
FULL = "database or disk is full"
GIVE_UP_AFTER = timedelta(seconds=5)
"""Longer than a busy machine stalls; else the payment itself can be given up."""


class Disk:
    """A small disk with nothing on it but the ledger."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        """Fill the disk to the last byte."""
        with self._ballast.open("ab", buffering=0) as ballast:
            for piece in (bytes(4096), bytes(1)):
                with suppress(OSError):
                    while ballast.write(piece):
                        pass

    def free(self) -> None:
        """Make room again."""
        self._ballast.unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A file system in memory. Skips the test if it may not be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"A disk to fill cannot be mounted, run as root: {mounted.stderr.strip()}")
    yield Disk(folder)
    subprocess.run(["umount", folder], check=True)


@pytest.fixture
async def on_small_disk(disk: Disk, tmp_path: Path) -> AsyncIterator[Harness]:
    """A harness whose ledger is on the small disk; mail and provider are elsewhere."""
    given = replace(settings(tmp_path), database_url=settings(disk.folder).database_url)
    async with new_harness(tmp_path, given) as opened:
        yield opened


@pytest.mark.timeout(TIME_LIMIT)
async def test_a_purchase_ends_the_same_when_the_ledgers_disk_fills_at_any_event(
    disk: Disk,
    on_small_disk: Harness,
    undisturbed: UndisturbedRuns,
    record_property: Callable[[str, object], None],
) -> None:
    """A transaction that finds no room writes nothing, and is retried until there is room."""

    async def fill_for_a_while() -> None:
        disk.fill()
        await until_logged(on_small_disk.folder, FULL)
        disk.free()

    kinds: Counter[str] = Counter()
    for first in FIRST:
        kinds += await survive_outages(
            on_small_disk, undisturbed, SELECTED, fill_for_a_while, first=first, apart=APART
        )
    assert times_logged(on_small_disk.folder, FULL)
    record_property("proof", counted("the ledger's disk full", kinds, sample=not ALL))


async def test_a_purchase_on_a_full_disk_alerts_an_operator_and_resumes_on_retry(
    disk: Disk, on_small_disk: Harness, undisturbed: UndisturbedRuns
) -> None:
    """While the database is down a decision stands, the purchase asks for attention and waits, and
    no message is lost. When there is room again, an operator's retry resumes it."""
    scenario = next(scenario for scenario in SCENARIOS if scenario.name == "platform_cancels")
    setup = replace(on_small_disk.worker_setup("waits"), give_up_after=GIVE_UP_AFTER)
    with running_worker(setup):
        handle = await start(on_small_disk.client, scenario.start("waits"))
        await until(handle, lambda found: found.payment == "held")
        disk.fill()
        await send(handle, Role.CLIENT, "submit_requirements", requirements="A lighthouse.")
        await handle.cancel()
        found = await until(handle, lambda found: bool(found.attention))
        assert [(item.kind, FULL in item.text) for item in found.attention] == [
            ("effect_blocked", True)
        ]
        assert (found.stage, found.reason) == ("settling", "cancelled_by_platform")
        assert (found.escrow.held, found.escrow.in_transit) == (PRICE, 0)

        disk.free()
        await send(handle, Role.OPERATOR, "resolve_attention", action="retry")
        await skip(on_small_disk, handle)
        result = await handle.result()
        state = await final_state(
            on_small_disk.client, on_small_disk.services, setup.mailbox, result
        )

    expected, _ = await undisturbed(scenario)
    assert state.differences_from(expected).keys() == {"timeline", "notices"}
    waited = {"effect_blocked", "attention_retried"}
    assert [entry for entry in state.timeline if entry[0] not in waited] == expected.timeline
    assert {status for notices in state.notices.values() for _, status in notices} == {"sent"}
    assert set(state.notices) - set(expected.notices) == {"operator"}
