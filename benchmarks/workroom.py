"""`make bench-pages`: how long the workroom's pages take beside a working worker, with many open
purchases. Writes docs/workroom-speed.md.

Server, worker, workroom and the people who open pages are processes on one machine. Meanwhile
people write messages, to purchases that the worker has in its cache and to others.
"""

import asyncio
import html
import itertools
import os
import platform
import random
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from multiprocessing.synchronize import Event
from pathlib import Path

import requests
import structlog
from requests.adapters import HTTPAdapter
from temporalio.client import Client
from urllib3.util import Retry

from activities.requests import Party
from benchmarks import sides
from benchmarks.growth import Handle, start_many
from benchmarks.lifecycles import buy, message, terms
from temporal import embedded
from temporal.converter import DATA_CONVERTER
from temporal.ports import free_port
from workflows.messages import Role, Sender
from workflows.view import DEADLINE
from workroom.local import serve_workroom, with_workroom
from workroom.server import day_link
from workroom.settings import WorkroomSettings

OPEN = 10_000
PEOPLE = 100
"""Clients who share the purchases."""
SAMPLES = 200
WARM_UP = 10
MESSAGES_A_SECOND = 5
TARGET = 100
"""Milliseconds, at p95."""
PAGE = Path("docs/workroom-speed.md")

Address = Callable[[], str]


async def room(place: sides.Place, ready: Event, settings: WorkroomSettings) -> None:
    """Run the workroom."""
    client = await Client.connect(place.address, data_converter=DATA_CONVERTER)
    async with serve_workroom(client, settings):
        ready.set()
        await asyncio.Event().wait()


async def wait_until_begun(client: Client, count: int) -> None:
    """Wait until the worker has done the first tasks of every purchase; on a busy machine it seems
    idle before."""
    begun = f"{DEADLINE.name} IS NOT NULL"
    while (await client.count_workflows(begun)).count < count:  # noqa: ASYNC110
        await asyncio.sleep(1)


async def disturb(handles: list[Handle]) -> None:
    """Write messages until cancelled, every second one to a purchase that was evicted."""
    text = message(Role.FREELANCER, text="Hello?")
    for number in itertools.count():
        among = handles[-PEOPLE:] if number % 2 else handles
        await random.choice(among).signal("send_message", text)
        await asyncio.sleep(1 / MESSAGES_A_SECOND)


class Reader:
    """A browser of one person. Like every browser, it asks again if the server closes a kept
    connection just when it is used."""

    def __init__(self, settings: WorkroomSettings, role: Role, person: str) -> None:
        self._browser, self._url = requests.Session(), settings.base_url
        self._browser.mount("http://", HTTPAdapter(max_retries=Retry(1)))
        self._browser.get(day_link(settings, Sender(role=role, id=person)), timeout=60)

    def open(self, path: str) -> float:
        """Open a page; the milliseconds until the whole of it is there."""
        before = time.perf_counter()
        answer = self._browser.get(f"{self._url}{path}", timeout=60)
        took = (time.perf_counter() - before) * 1000
        assert answer.status_code == 200, (path, answer.status_code, answer.text)
        return took

    def check(self, path: str) -> float:
        """Fill in a form and open the page that repeats it; only that page is measured."""
        form = self._browser.get(f"{self._url}{path}", timeout=60).text
        token = re.findall(r'name="token" value="([^"]+)"', form)[-1]  # the first signs out
        typed = {"token": html.unescape(token), "reason": "My plans have changed."}
        answer = self._browser.post(f"{self._url}{path}", typed, allow_redirects=False, timeout=60)
        assert answer.status_code == 303, (path, answer.status_code, answer.text)
        return self.open(answer.headers["location"])


def client_of(number: int) -> str:
    """The id of a purchase's client."""
    return f"client-{number % PEOPLE}"


def measure(name: str, open_page: Callable[[int], float], target: float | None = TARGET) -> str:
    """A row of the table. `target`: milliseconds at p95; None for what is no page."""
    for number in range(WARM_UP):
        open_page(number)
    took = sorted(open_page(number) for number in range(SAMPLES))
    p50, p95 = statistics.median(took), took[int(0.95 * SAMPLES) - 1]
    verdict = "" if target is None else "met" if p95 <= target else "**not met**"
    print(f"{name}: p50 {p50:.0f} ms, p95 {p95:.0f} ms", flush=True)
    return f"| {name} | {p50:.0f} | {p95:.0f} | {took[-1]:.0f} | {verdict} |"


def rows(settings: WorkroomSettings, ids: list[str], ask: Callable[[int], float]) -> list[str]:
    """Open every kind of page. `ask`: queries a purchase without a page; the milliseconds."""
    clients = [Reader(settings, Role.CLIENT, client_of(number)) for number in range(PEOPLE)]
    staff = [Reader(settings, Role.OPERATOR, f"operator-{number}") for number in range(20)]
    cached = max(len(ids) - 500, 0)

    def purchase(number: int, path: str) -> float:
        return clients[number % PEOPLE].open(f"/purchases/{ids[number]}{path}")

    def check(number: int) -> float:
        return clients[number % PEOPLE].check(f"/purchases/{ids[number]}/cancel")

    return [
        measure("Jobs of a client", lambda n: clients[n % PEOPLE].open("/")),
        measure("Jobs of staff: every purchase", lambda n: staff[n % 20].open("/")),
        measure(
            "Jobs of staff, searched by a purchase's id",
            lambda n: staff[n % 20].open(f"/?search={random.choice(ids)}"),
        ),
        measure("Staff", lambda n: staff[n % 20].open("/staff")),
        measure(
            "a purchase that the worker has in its cache",
            lambda _: purchase(random.randrange(cached, len(ids)), ""),
        ),
        measure(
            "a purchase that the worker has to replay",
            lambda _: purchase(random.randrange(max(len(ids) // 2, 1)), ""),
        ),
        measure("a form", lambda _: purchase(random.randrange(cached, len(ids)), "/cancel")),
        measure("a form, checked", lambda _: check(random.randrange(cached, len(ids)))),
        measure(
            "for comparison: one query, without a page",
            lambda _: ask(random.randrange(cached, len(ids))),
            target=None,
        ),
    ]


async def main(count: int) -> None:
    """Start the purchases, open the pages, write the page."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    url = f"127.0.0.1:{free_port()}"
    settings = WorkroomSettings.from_environment(with_workroom({"RECOURSE_WORKROOM": url}))
    ids: list[str] = []

    async def start(client: Client) -> Handle:
        bought = terms()
        person = Party(id=client_of(len(ids)), name="Ana", email="ana@example.com")
        ids.append(bought.purchase_id)
        return await buy(client, bought.model_copy(update={"client": person}))

    def ask(number: int) -> float:
        before = time.perf_counter()
        asyncio.run_coroutine_threadsafe(handles[number].query("status"), loop).result(60)
        return (time.perf_counter() - before) * 1000

    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor() as threads:
        async with embedded.server(database=Path(folder, "temporal.db")) as server:
            place = sides.Place(embedded.address(server.client), Path(folder))
            with ExitStack() as stack:
                worker = stack.enter_context(sides.running(sides.workflow_alone, place))
                handles = await start_many(partial(start, server.client), count, worker)
                await wait_until_begun(server.client, count)
                stack.enter_context(sides.running(partial(room, settings=settings), place))
                disturbing = asyncio.create_task(disturb(handles))
                loop = asyncio.get_running_loop()
                found = await loop.run_in_executor(threads, rows, settings, ids, ask)
                disturbing.cancel()
    write(count, found)


def write(count: int, found: list[str]) -> None:
    """Write docs/workroom-speed.md."""
    load = os.getloadavg()[0]
    PAGE.write_text(
        f"""# How fast the workroom is

Generated by `make bench-pages COUNT={count}`; do not edit. {count:,} purchases of {PEOPLE}
clients are open, and {MESSAGES_A_SECOND} messages a second keep the worker busy. Server, worker,
workroom and readers share {os.cpu_count()} cores ({platform.machine()}, load {load:.1f} at the
end). Each page is opened {SAMPLES} times, one after the other; the target is {TARGET} ms at p95.
The last row says how fast the machine is: one workflow query, of which a page makes up to three.

| page | p50, ms | p95, ms | slowest, ms | target |
|---|---:|---:|---:|---|
{chr(10).join(found)}
""",
        encoding="utf-8",
    )


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else OPEN))
