"""Does one thing for many purchases: at a rate, with a progress bar and a report at the end.

An interrupted batch is continued by the same command, or by the one that its last line names: what
is done already is recognised.
"""

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated, TypeVar

import typer
from rich.console import Console, Group, RenderableType
from rich.progress import Progress
from rich.text import Text

from activities.requests import Model, Money
from activities.sanitize import one_line
from starter import show
from starter.options import SHOWN
from temporal.errors import Unreachable
from workflows.messages import Deadline

Item = TypeVar("Item")

CONCURRENT = 20
"""Purchases that are worked on at the same time."""

Rate = Annotated[
    float, typer.Option(min=0.1, max=10_000, help="At most this many purchases a second.")
]
SAME_COMMAND = "Run the same command to go on."
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check and report; change nothing.")]


class Becomes(Model):
    """How an imported purchase would stand. All of the price would be held in escrow."""

    stage: str
    price: Money
    claim: int | None
    deadlines: tuple[Deadline, ...]


class Outcome(Model):
    """What became of one purchase. `done`: it is as the command was to leave it. `becomes`: in the
    dry run of an import."""

    purchase_id: str
    result: str
    done: bool
    text: str = ""
    becomes: Becomes | None = None


class Report(Model):
    """What became of all of them; `results` counts them by result."""

    dry_run: bool
    results: dict[str, int]
    purchases: tuple[Outcome, ...]

    @property
    def complete(self) -> bool:
        """Whether every purchase is done."""
        return all(each.done for each in self.purchases)


async def run(
    items: Sequence[Item],
    work: Callable[[Item], Awaitable[Outcome]],
    *,
    rate: float,
    dry_run: bool = False,
    to_go_on: str = SAME_COMMAND,
) -> Report:
    """Work on every item, `rate` a second at most, and report them in their order. Stops at the
    first that raises Unreachable, and says how far it came; `to_go_on`: how the batch is then
    continued."""
    found: dict[int, Outcome] = {}
    waiting = enumerate(items)
    began, started = time.monotonic(), 0
    screen = Console(stderr=True)

    async def work_on_next() -> None:
        nonlocal started
        for place, item in waiting:
            started += 1
            await asyncio.sleep(max(0.0, began + (started - 1) / rate - time.monotonic()))
            found[place] = await work(item)
            progress.advance(bar)

    with Progress(console=screen, disable=not screen.is_terminal, transient=True) as progress:
        bar = progress.add_task("Checking" if dry_run else "Working", total=len(items))
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(CONCURRENT):
                    group.create_task(work_on_next())
        except asyncio.CancelledError:  # Ctrl-C
            print(f"Interrupted. {_stopped(found, items, to_go_on)}", file=sys.stderr)
            raise
        except ExceptionGroup as errors:
            first = errors.exceptions[0]
            if isinstance(first, Unreachable):
                text = f"{first.text} {_stopped(found, items, to_go_on)}"
                raise Unreachable(first.code, text) from None
            raise first from None
    outcomes = tuple(found[place] for place in sorted(found))
    results = Counter(each.result for each in outcomes)
    return Report(dry_run=dry_run, results=dict(results), purchases=outcomes)


def _stopped(found: Mapping[int, Outcome], items: Sequence[object], to_go_on: str) -> str:
    return f"Done so far: {len(found)} of {len(items)}. {to_go_on}"


def shown(
    report: Report,
    title: str,
    reason: Callable[[str], str | Text] = show.prose,
    limit: int = SHOWN,
) -> RenderableType:
    """The report for people: how many, and what is not done; then, in a dry run, what would be. The
    title is a line of its own: a table wraps its title to its width. `reason` makes a cell of an
    outcome's text. It names `limit` purchases; the report for programs names all."""
    counts = [(result.replace("_", " "), str(number)) for result, number in report.results.items()]
    counted = show.table("", ("result", "purchases"), counts)
    blocks: list[RenderableType] = [Text(one_line(title)), counted]
    done = [each for each in report.purchases if each.done]
    named = [each for each in report.purchases if not each.done] + (done if report.dry_run else [])
    if named:
        rows = (
            (each.purchase_id, each.result.replace("_", " "), reason(each.text))
            for each in named[:limit]
        )
        blocks.append(show.table("Of these", ("purchase", "result", "details"), rows))
    return Group(*blocks, *show.more(len(named), limit))
