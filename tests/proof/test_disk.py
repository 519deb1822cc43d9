"""The disk under the ledger's SQLite is full, really: purchases wait, and the end is the same."""

import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from demo.runner import say, skip, start, until
from demo.scenarios import PRICE, SCENARIOS
from tests.conftest import settings
from tests.proof.conftest import Undisturbed
from tests.proof.count import ALL, PLAYED, TIME_LIMIT, counted
from tests.proof.fate import at_work
from tests.proof.left import left_of
from tests.proof.stage import Stage, stage
from tests.proof.wreck import noticed, said, survived
from workflows.messages import Role

APART = 60
"""Events between two of a story at which the disk is full."""
FIRST = range(1, APART, 20) if ALL else (15,)
DISK_BYTES = (64 if ALL else 8) * 1024 * 1024
FULL = "database or disk is full"


class Disk:
    """A small one, with nothing on it but the ledger."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        """To the last byte."""
        with self._ballast.open("ab", buffering=0) as ballast:
            for piece in (bytes(4096), bytes(1)):
                with suppress(OSError):
                    while ballast.write(piece):
                        pass

    def free(self) -> None:
        """Somebody clears up."""
        self._ballast.unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A file system in memory; needs the right to mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"a disk to fill cannot be mounted: {mounted.stderr.strip()}")
    yield Disk(folder)
    subprocess.run(["umount", folder], check=True)


@pytest.fixture
async def on_small_disk(disk: Disk, tmp_path: Path) -> AsyncIterator[Stage]:
    """A stage whose ledger is on the disk; mail and provider are elsewhere."""
    given = replace(settings(tmp_path), database_url=settings(disk.folder).database_url)
    async with stage(tmp_path, given) as opened:
        yield opened


@pytest.mark.timeout(TIME_LIMIT)
async def test_a_full_disk_at_any_event_leaves_the_same_end(
    disk: Disk,
    on_small_disk: Stage,
    undisturbed: Undisturbed,
    record_property: Callable[[str, object], None],
) -> None:
    """Whoever has no room writes nothing, and tries again until there is some."""

    async def full_for_a_while() -> None:
        disk.fill()
        await noticed(on_small_disk.folder, FULL)
        disk.free()

    kinds: Counter[str] = Counter()
    for first in FIRST:
        kinds += await survived(
            on_small_disk, undisturbed, PLAYED, full_for_a_while, first=first, apart=APART
        )
    assert said(on_small_disk.folder, FULL)
    record_property("proof", counted("the ledger's disk full", kinds, sample=not ALL))


async def test_a_disk_that_stays_full_is_said_and_then_it_goes_on(
    disk: Disk, on_small_disk: Stage, undisturbed: Undisturbed
) -> None:
    """Races: database down → the decision stands, the purchase says so and waits; no message is
    lost. With room again, an operator lets it go on."""
    scenario = next(scenario for scenario in SCENARIOS if scenario.name == "platform_cancels")
    post = replace(on_small_disk.post("waits"), give_up_after=timedelta(seconds=1))
    with at_work(post):
        handle = await start(on_small_disk.client, scenario.start("waits"))
        await until(handle, lambda found: found.payment == "held")
        disk.fill()
        await say(handle, Role.CLIENT, "submit_requirements", requirements="A lighthouse.")
        await handle.cancel()
        found = await until(handle, lambda found: bool(found.attention))
        assert [(item.kind, FULL in item.text) for item in found.attention] == [
            ("effect_blocked", True)
        ]
        assert (found.stage, found.reason) == ("settling", "cancelled_by_platform")
        assert (found.escrow.held, found.escrow.in_transit) == (PRICE, 0)

        disk.free()
        await say(handle, Role.OPERATOR, "resolve_attention", action="retry")
        await skip(on_small_disk, handle)
        result = await handle.result()
        left = await left_of(on_small_disk.client, on_small_disk.services, post.mailbox, result)

    expected, _ = await undisturbed(scenario)
    assert left.but_for(expected).keys() == {"timeline", "told"}
    waited = {"effect_blocked", "attention_retried"}
    assert [entry for entry in left.timeline if entry[0] not in waited] == expected.timeline
    assert {status for notices in left.told.values() for _, status in notices} == {"sent"}
    assert set(left.told) - set(expected.told) == {"operator"}
