"""`make bench-bulk`: an import of 10,000 purchases, and 2,000 that a provider's outage has blocked
and one command continues. Each command is killed in the middle and run again. Writes docs/bulk.md.

Server, worker and command are processes on one machine; ledger, sandbox and the server's data are
files.
"""

import asyncio
import json
import logging
import os
import platform
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from activities.payments import PaymentProvider, ProviderUnreachable
from activities.payments.sandbox import SandboxProvider
from activities.payments.sandbox_events import SandboxEvent
from activities.requests import Money
from activities.services import Services, Settings
from benchmarks import sides
from benchmarks.growth import Handle
from benchmarks.lifecycles import buy, message, terms
from temporal import embedded
from temporal.runs import RUNNING
from workflows.messages import Role
from workflows.view import NEEDS_ATTENTION

IMPORTED, BLOCKED = 10_000, 2_000
PRICE = Money(amount=250_00, currency="USD")
RATE = 1_000
"""Purchases a second at most; more than any machine reaches, so that the rate is the machine's."""
KILLED_AFTER = 0.4
"""The part of the purchases after which the import is killed."""
ALREADY_PAID = 0.9
"""The batch is killed when fewer than this part still have their money; the worker is behind it."""
CONCURRENT = 400
"""Purchases whose clocks are skipped at the same time; each attempt takes the server a second."""
UNTIL_BLOCKED = timedelta(minutes=6)
"""After five minutes of failed attempts an effect is reported as blocked."""
OUTAGE = timedelta(hours=6)
WHOLE_OUTAGE = 3
"""Purchases whose clock is skipped over the whole outage, with 266 attempts each."""
PAGE = Path("docs/bulk.md")


# --- commands


@dataclass(frozen=True)
class Ran:
    """A command that has ended."""

    seconds: float
    status: int
    answer: Any


def environment(place: sides.Place) -> dict[str, str]:
    """What a shell exports for the command line of this place."""
    settings = place.settings
    return {
        **os.environ,
        "TEMPORAL_ADDRESS": place.address,
        "RECOURSE_DATABASE_URL": settings.database_url,
        "RECOURSE_PAYMENTS": settings.payments,
        "RECOURSE_MAIL_URL": settings.mail_url,
    }


async def command(
    place: sides.Place, *arguments: str, killed_when: Callable[[], bool] | None = None
) -> Ran:
    """Run a command of the command line; kill it as soon as `killed_when` holds."""
    return await asyncio.to_thread(_command, place, arguments, killed_when)


def _command(
    place: sides.Place, arguments: Sequence[str], killed_when: Callable[[], bool] | None
) -> Ran:
    began, out = time.monotonic(), place.folder / "answer.json"
    with out.open("wb") as written:
        process = subprocess.Popen(  # noqa: S603 - a command of ours
            [sys.executable, "-m", "starter", *arguments, "--json"],
            env=environment(place),
            stdout=written,
        )
    ended = threading.Event()
    if killed_when:
        threading.Thread(target=_kill, args=(process.pid, killed_when, ended)).start()
    process.wait()
    ended.set()
    text = out.read_text(encoding="utf-8")
    return Ran(
        time.monotonic() - began,
        process.returncode,
        json.loads(text) if text else None,
    )


def _kill(process: int, when: Callable[[], bool], ended: threading.Event) -> None:
    """Kill a process with SIGKILL: it can neither finish nor say anything."""
    while not ended.wait(0.5):
        if when():
            os.kill(process, 9)
            return


def held(place: sides.Place) -> int:
    """How many purchases have their money in escrow."""
    with closing(sqlite3.connect(place.folder / "recourse.db")) as database:
        query = "SELECT count(*) FROM purchase_balances WHERE held > 0"
        return int(database.execute(query).fetchone()[0])


def expect(what: str, found: object, wanted: object) -> None:
    """End the run if it did not do what it measures."""
    if found != wanted:
        raise RuntimeError(f"{what}: {found}, not {wanted}")


# --- 10,000 that run elsewhere


def elsewhere(provider: SandboxProvider, count: int) -> Iterator[dict[str, Any]]:
    """Purchases of another system, paid there a month ago."""
    now = datetime.now(UTC).replace(microsecond=0)
    paid_at, ends = now - timedelta(days=30), now + timedelta(days=30)
    for number in range(count):
        paid = provider.make_happen(SandboxEvent.PAYMENT_MADE, f"shop-{number}", PRICE, paid_at)
        yield {
            **terms().model_dump(mode="json", exclude={"payment_method", "policy"}),
            "payment_reference": paid.reference,
            "purchased_at": paid_at.isoformat(),
            "imported": {"stage": "in_progress", "deadlines": {"dormancy": ends.isoformat()}},
        }


def written(folder: Path, count: int) -> str:
    """A file of purchases that another system has, and its name."""
    file = folder / "purchases.jsonl"
    with closing(SandboxProvider(folder / "sandbox.db", "local")) as provider:
        lines = [json.dumps(each) for each in elsewhere(provider, count)]
    file.write_text("\n".join(lines), encoding="utf-8")
    return str(file)


async def import_many(count: int) -> list[str]:
    """Import the purchases of a file, killed in the middle and run again."""
    with tempfile.TemporaryDirectory() as folder:
        file = written(Path(folder), count)
        async with embedded.server(database=Path(folder, "temporal.db")) as server:
            place = sides.Place(embedded.address(server.client), Path(folder))
            with sides.running(sides.whole_product, place) as worker:
                return await _import(place, worker, file, count)


async def _import(place: sides.Place, worker: int, file: str, count: int) -> list[str]:
    checked = await command(place, "import", file, "--dry-run", "--rate", str(RATE))
    expect("checked", checked.answer["results"], {"can_be_imported": count})
    words = ("import", file, "--rate", str(RATE))
    first = await command(place, *words, killed_when=lambda: held(place) > count * KILLED_AFTER)
    expect("exit status of the first import", first.status, -9)
    done = held(place)
    second = await command(place, *words)
    expect("imported", second.answer["results"].keys(), {"already_imported", "imported"})
    expect("held", held(place), count)
    print(second.answer["results"], flush=True)
    audited = await command(place, "audit")
    expect("differences", audited.answer["differences"], [])
    return [
        row("`recourse import FILE --dry-run`", count, checked),
        row(f"`recourse import FILE`, killed after {done:,}", done, first),
        row("`recourse import FILE` again; it recognises what is imported", count - done, second),
        row("`recourse audit`, without a difference", count, audited),
        f"\nThe worker has {sides.memory(worker):.0f} MB at the end.",
    ]


def row(what: str, count: int, ran: Ran) -> str:
    """A row of a table; `count`: how many purchases the command has worked on."""
    print(f"{what}: {count} in {ran.seconds:.0f} s", flush=True)
    took = f"{ran.seconds:.0f} s" if ran.seconds < 120 else f"{ran.seconds / 60:.1f} min"
    return f"| {what} | {count:,} | {took} | {count / ran.seconds:.0f} |"


# --- 2,000 after an outage


class OutOfReach:
    """The sandbox, which cannot be reached as long as the file `outage` is there."""

    def __init__(self, provider: PaymentProvider, outage: Path) -> None:
        self._provider, self._outage = provider, outage

    def __getattr__(self, name: str) -> Any:
        if name not in ("account", "close") and self._outage.exists():
            raise ProviderUnreachable("it does not answer")
        return getattr(self._provider, name)


def with_outages(place: sides.Place, ready: Event) -> Any:
    """Run Recourse with a provider that has outages, and no log line for each attempt."""
    logging.disable()

    def create(settings: Settings) -> Services:
        from activities import services

        opened = services.provider_of
        outage = place.folder / "outage"
        services.provider_of = lambda given: OutOfReach(opened(given), outage)  # type: ignore[assignment]
        return Services(settings)

    return sides.recourse(place, ready, create)


async def continue_many(count: int) -> list[str]:
    """Let the provider fail while refunds are due, and retry all of them with one command."""
    with tempfile.TemporaryDirectory() as folder:
        async with embedded.server(skip_time=True) as server:
            place = sides.Place(embedded.address(server.client), Path(folder))
            with sides.running(with_outages, place) as worker:
                outage = place.folder / "outage"
                handles = await each_of(range(count), lambda _: buy(server.client, terms()))
                await until(lambda: held(place) == count)
                outage.touch()
                began = time.monotonic()
                await each_of(enumerate(handles), partial(block, server))
                await until_listed(server.client, count)
                blocked = time.monotonic() - began
                print(f"{count} blocked in {blocked:.0f} s", flush=True)
                outage.unlink()
                return await _continue(place, server.client, worker, count)


async def each_of(items: Any, work: Callable[[Any], Any]) -> list[Any]:
    """Do something for each, several at a time."""
    slots = asyncio.Semaphore(CONCURRENT)

    async def one(item: Any) -> Any:
        async with slots:
            return await work(item)

    return await asyncio.gather(*map(one, items))


async def block(server: WorkflowEnvironment, numbered: tuple[int, Handle]) -> None:
    """Ask for a refund, and skip the purchase's time until it needs a person."""
    number, handle = numbered
    await handle.signal("give_refund", message(Role.FREELANCER))
    await server.fast_forward(handle, OUTAGE if number < WHOLE_OUTAGE else UNTIL_BLOCKED)


async def until(holds: Callable[[], bool]) -> None:
    """Wait for a condition."""
    while not holds():  # noqa: ASYNC110 - it is another process
        await asyncio.sleep(0.5)


async def until_listed(client: Client, count: int) -> None:
    """Wait until the server lists this number of purchases that need attention."""
    query = f"{RUNNING} AND {NEEDS_ATTENTION.name} = true"
    while (await client.count_workflows(query)).count < count:  # noqa: ASYNC110 - as above
        await asyncio.sleep(0.5)


async def _continue(place: sides.Place, client: Client, worker: int, count: int) -> list[str]:
    retry = ("--as", "operator:desk", "--data", '{"action": "retry"}', "--rate", str(RATE))
    where = ("--where", f"{NEEDS_ATTENTION.name} = true")
    words = ("send", "resolve-attention", *where, *retry)
    checked = await command(place, *words)
    ready = checked.answer["results"].get("can_be_sent", 0)
    print(checked.answer["results"], flush=True)
    expect("checked", sum(checked.answer["results"].values()), count)
    sent = (*words, "--yes", "--message-id", checked.answer["message_id"])
    first = await command(place, *sent, killed_when=lambda: held(place) < count * ALREADY_PAID)
    expect("exit status of the first batch", first.status, -9)
    second = await command(place, *sent)
    print(second.answer["results"], flush=True)
    expect("sent", set(second.answer["results"]) <= {"accepted", "rejected"}, True)
    began = time.monotonic()
    await until(lambda: held(place) == 0)
    drained = time.monotonic() - began
    rest = sum(second.answer["results"].values())
    audited = await command(place, "audit")
    expect("differences", audited.answer["differences"], [])
    return [
        row("`recourse send resolve-attention --where …`, the check", count, checked),
        row(f"the same with `--yes`, killed after {count - rest:,}", count - rest, first),
        row("the same again", rest, second),
        row("`recourse audit`, without a difference", count, audited),
        f"\nThe check finds {ready:,} that wait. The last batch retries "
        f"{second.answer['results'].get('accepted', 0):,}, and reports as rejected\n"
        "those that have gone on by themselves since the provider is back. The last refund\n"
        f"was posted {drained:.0f} s after the command. The worker has "
        f"{sides.memory(worker):.0f} MB at the end.",
    ]


# --- the page


async def main(imported: int, blocked: int) -> None:
    """Measure what has a number of purchases, and write its part of docs/bulk.md."""
    if imported:
        rows = await import_many(imported)
        write("Purchases that run elsewhere", IMPORT_TEXT, rows)
    if blocked:
        rows = await continue_many(blocked)
        write("Purchases after an outage of the provider", OUTAGE_TEXT, rows)


def write(title: str, text: str, rows: Sequence[str]) -> None:
    """Write one part of the page; the other part stays."""
    load = os.getloadavg()[0]
    where = f"{os.cpu_count()} cores ({platform.machine()}, load {load:.1f} at the end)"
    part = f"## {title}\n\n{text} Measured on {where}.\n\n{TABLE}\n" + "\n".join(rows) + "\n"
    page = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    parts = {each.partition("\n")[0]: f"## {each}" for each in page.split("\n## ")[1:]}
    parts[title] = part
    PAGE.write_text(
        "\n".join([HEAD, *(parts[each].rstrip() + "\n" for each in sorted(parts, reverse=True))]),
        encoding="utf-8",
    )


HEAD = """# Many purchases with one command

Measured with `make bench-bulk`; do not edit. Server, worker and command share one machine. Each
command was killed in the middle with SIGKILL and run again: nothing was charged, refunded or
imported twice, and the audit found no difference.
"""
IMPORT_TEXT = "Each has a payment at the provider, a stage and a deadline."
OUTAGE_TEXT = (
    "The provider cannot be reached while the freelancers give refunds. The purchases' clocks are\n"
    f"skipped until all need attention, those of {WHOLE_OUTAGE} over six hours. Then it is back."
)
TABLE = """| command | purchases | took | a second |
|---|---:|---:|---:|"""


if __name__ == "__main__":
    given = [int(number) for number in sys.argv[1:]] or [IMPORTED, BLOCKED]
    asyncio.run(main(*given))
