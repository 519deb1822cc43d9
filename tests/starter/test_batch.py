"""A batch keeps its rate, reports everything, and says how far it came when it stops."""

import asyncio
import time

import pytest
from rich.console import Console

from starter import batch, bulk
from starter.batch import Outcome
from temporal.errors import Unreachable


async def done(number: int) -> Outcome:
    """One that is done at once."""
    return Outcome(purchase_id=f"p-{number}", result="done", done=True)


async def test_every_item_is_in_the_report_and_the_rate_is_kept() -> None:
    began = time.monotonic()
    report = await batch.run(range(50), done, rate=100)
    assert time.monotonic() - began >= 0.49
    assert report.results == {"done": 50}
    assert [each.purchase_id for each in report.purchases] == [f"p-{n}" for n in range(50)]


async def test_the_report_keeps_the_order_and_names_first_what_is_not_done(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Also if later ones are done earlier, and if a dry run has more rows than are shown."""
    first_is_done = asyncio.Event()

    async def odd_ones_last(number: int) -> Outcome:
        await (asyncio.sleep(0) if number % 2 else first_is_done.wait())
        first_is_done.set()
        return Outcome(purchase_id=f"p-{number}", result="seen", done=number != 5)

    report = await batch.run(range(6), odd_ones_last, rate=10_000, dry_run=True)

    assert [each.purchase_id for each in report.purchases] == [f"p-{n}" for n in range(6)]
    Console().print(batch.shown(report, "Check", limit=2))
    shown = capsys.readouterr().out
    assert [name for name in ("p-0", "p-1", "p-5") if name in shown] == ["p-0", "p-5"]
    assert shown.index("p-5") < shown.index("p-0")


async def test_it_stops_when_the_server_is_away_and_says_how_far_it_came() -> None:
    async def until_seven(number: int) -> Outcome:
        if number == 7:
            raise Unreachable("SERVER_UNREACHABLE", "No server answers.")
        return await done(number)

    with pytest.raises(Unreachable) as stopped:
        await batch.run(range(1_000), until_seven, rate=1_000)

    assert stopped.value.code == "SERVER_UNREACHABLE"
    assert "No server answers. Done so far: " in stopped.value.text
    assert "of 1000. Run the same command to go on." in stopped.value.text


async def test_an_interrupted_one_says_how_far_it_came(capsys: pytest.CaptureFixture[str]) -> None:
    running = asyncio.create_task(batch.run(range(1_000), done, rate=10))
    await asyncio.sleep(0.05)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert "Interrupted. Done so far: 1 of 1000." in capsys.readouterr().err


async def test_an_interrupted_message_is_continued_under_its_id(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The same command alone would send it a second time, under a new id."""
    running = asyncio.create_task(
        batch.run(range(1_000), done, rate=10, to_go_on=bulk.to_go_on("batch-7"))
    )
    await asyncio.sleep(0.05)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert capsys.readouterr().err == (
        "Interrupted. Done so far: 1 of 1000. To go on, run the same command with "
        "--message-id batch-7.\n"
    )


async def test_an_unexpected_error_is_not_hidden() -> None:
    async def fails(number: int) -> Outcome:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await batch.run([1], fails, rate=10)
