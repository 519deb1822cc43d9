"""Restate: a server with a log of its own, in one binary, that calls the service over HTTP."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import httpx
import restate
from hypercorn.asyncio import serve
from hypercorn.config import Config
from restate import DurablePromise, Workflow, WorkflowContext, WorkflowSharedContext

from benchmarks.peers.noted import Noted
from benchmarks.peers.script import BEGINS, MESSAGES, SETTLES, WINDOWS
from benchmarks.sides import Place
from temporal import embedded

NPM = Path("var/npm/node_modules/@restatedev")


def binary() -> str | None:
    """Where its server is, if it is anywhere: the binary itself, not what npm wraps around it."""
    found = next(NPM.glob("restate-server-*/bin/restate-server"), None)
    return str(found.resolve()) if found else shutil.which("restate-server")


def version() -> str:
    """Of its server."""
    if (found := binary()) is None:
        return "missing"
    told = [found, "--version"]
    said = subprocess.run(told, capture_output=True, text=True, check=True)  # noqa: S603
    return said.stdout.split()[-1]


async def restate_worker(place: Place, ready: Event) -> None:
    """The service; `place.address` is where it listens."""
    noted = Noted(place.folder)
    purchase = Workflow("Purchase")

    async def run(ctx: WorkflowContext, name: str) -> str:
        async def do(step: str) -> None:
            await ctx.run_typed(step, noted.step, purchase=name, step=step)

        for step in BEGINS:
            await do(step)
        for message in MESSAGES:
            which, _ = await restate.select(
                heard=ctx.promise(message).value(),
                late=ctx.sleep(timedelta(seconds=WINDOWS[message])),
            )
            if which == "late":
                break
            await do(f"tell of {message}")
        for step in SETTLES:
            await do(step)
        return "refunded"

    async def say(ctx: WorkflowSharedContext, message: str) -> None:
        promise: DurablePromise[Any] = ctx.promise(message)
        await promise.resolve({"by": "somebody"})

    purchase.main()(run)
    purchase.handler()(say)
    config = Config()
    config.bind = [place.address]
    config.accesslog = config.errorlog = None
    ready.set()
    await serve(restate.app([purchase]), config)


class Restate:
    """Its users: whoever speaks HTTP."""

    def __init__(self, ingress: str) -> None:
        self._http = httpx.AsyncClient(base_url=ingress, timeout=30)

    async def start(self, purchase: str) -> None:
        """Buy."""
        await self._post(f"/Purchase/{purchase}/run/send", purchase)

    async def say(self, purchase: str, message: str) -> None:
        """Send a message."""
        await self._post(f"/Purchase/{purchase}/say/send", message)

    async def _post(self, path: str, what: str) -> None:
        (await self._http.post(path, json=what)).raise_for_status()

    async def close(self) -> None:
        """Hang up."""
        await self._http.aclose()


@asynccontextmanager
async def server(folder: Path) -> AsyncIterator[tuple[str, str]]:
    """Its server, as it comes: where it takes requests, and where it is administered."""
    found = binary()
    assert found is not None
    ingress, admin, node = (embedded.free_port() for _ in range(3))
    settings = {
        "RESTATE_BASE_DIR": str(folder / "restate"),
        "RESTATE_INGRESS__BIND_ADDRESS": f"127.0.0.1:{ingress}",
        "RESTATE_ADMIN__BIND_ADDRESS": f"127.0.0.1:{admin}",
        "RESTATE_BIND_ADDRESS": f"127.0.0.1:{node}",
        "RESTATE_ADVERTISED_ADDRESS": f"http://127.0.0.1:{node}",
        "RESTATE_NODE_NAME": "peer",
        "RESTATE_AUTO_PROVISION": "true",
        "RESTATE_LOG_FILTER": "error",
        "DO_NOT_TRACK": "1",
    }
    process = await asyncio.create_subprocess_exec(
        found,
        env={**os.environ, **settings},
        stdout=asyncio.subprocess.DEVNULL,
        cwd=folder,
    )
    try:
        await _answers(f"http://127.0.0.1:{admin}/health")
        await _answers(f"http://127.0.0.1:{ingress}/restate/health")
        yield f"http://127.0.0.1:{ingress}", f"http://127.0.0.1:{admin}"
    finally:
        process.terminate()
        await process.wait()


async def register(admin: str, service: str) -> None:
    """Tell the server where the service is."""
    async with httpx.AsyncClient(timeout=30) as http:
        answer = await http.post(
            f"{admin}/deployments", json={"uri": f"http://{service}", "use_http_11": False}
        )
        answer.raise_for_status()


async def _answers(url: str) -> None:
    async with httpx.AsyncClient() as http, asyncio.timeout(60):
        while True:
            with suppress(httpx.TransportError):
                if (await http.get(url)).is_success:
                    return
            await asyncio.sleep(0.1)
