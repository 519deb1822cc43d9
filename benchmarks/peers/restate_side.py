"""Restate: a server with its own log, in one binary, that calls the service over HTTP."""

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

from benchmarks.peers.recorder import Recorder
from benchmarks.peers.script import FIRST_STEPS, LAST_STEPS, MESSAGES, WINDOWS, notify
from benchmarks.sides import Place
from temporal.ports import free_port

NPM = Path("var/npm/node_modules/@restatedev")


def binary() -> str | None:
    """The path of Restate's server, or None: the binary itself, not npm's wrapper."""
    found = next(NPM.glob("restate-server-*/bin/restate-server"), None)
    return str(found.resolve()) if found else shutil.which("restate-server")


def version() -> str:
    """The version of Restate's server."""
    if (found := binary()) is None:
        return "missing"
    command = [found, "--version"]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    return ran.stdout.split()[-1]


async def restate_worker(place: Place, ready: Event) -> None:
    """Run the service, which listens at `place.address`."""
    recorder = Recorder(place.folder, place.database)
    purchase = Workflow("Purchase")

    async def run(ctx: WorkflowContext, name: str) -> str:
        async def run_step(step: str) -> None:
            await ctx.run_typed(step, recorder.record, purchase=name, step=step)

        for step in FIRST_STEPS:
            await run_step(step)
        for message in MESSAGES:
            first, _ = await restate.select(
                received=ctx.promise(message).value(),
                expired=ctx.sleep(timedelta(seconds=WINDOWS[message])),
            )
            if first == "expired":
                break
            await run_step(notify(message))
        for step in LAST_STEPS:
            await run_step(step)
        return "refunded"

    async def receive(ctx: WorkflowSharedContext, message: str) -> None:
        promise: DurablePromise[Any] = ctx.promise(message)
        await promise.resolve({"by": "client"})

    purchase.main()(run)
    purchase.handler()(receive)
    config = Config()
    config.bind = [place.address]
    config.accesslog = config.errorlog = None
    ready.set()
    await serve(restate.app([purchase]), config)


class Restate:
    """A client of Restate, over HTTP."""

    def __init__(self, ingress: str) -> None:
        self._http = httpx.AsyncClient(base_url=ingress, timeout=30)

    async def start(self, purchase: str) -> None:
        """Start a purchase."""
        await self._post(f"/Purchase/{purchase}/run/send", purchase)

    async def send(self, purchase: str, message: str) -> None:
        """Send a message."""
        await self._post(f"/Purchase/{purchase}/receive/send", message)

    async def _post(self, path: str, body: str) -> None:
        (await self._http.post(path, json=body)).raise_for_status()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()


@asynccontextmanager
async def server(folder: Path) -> AsyncIterator[tuple[str, str]]:
    """Run Restate's server with its defaults; gives the URLs for requests and for
    administration."""
    found = binary()
    assert found is not None
    ingress, admin, node = (free_port() for _ in range(3))
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
        await _wait_for(f"http://127.0.0.1:{admin}/health")
        await _wait_for(f"http://127.0.0.1:{ingress}/restate/health")
        yield f"http://127.0.0.1:{ingress}", f"http://127.0.0.1:{admin}"
    finally:
        process.terminate()
        await process.wait()


async def register(admin: str, service: str) -> None:
    """Register the service's address with the server."""
    async with httpx.AsyncClient(timeout=30) as http:
        answer = await http.post(
            f"{admin}/deployments", json={"uri": f"http://{service}", "use_http_11": False}
        )
        answer.raise_for_status()


async def _wait_for(url: str) -> None:
    async with httpx.AsyncClient() as http, asyncio.timeout(60):
        while True:
            with suppress(httpx.TransportError):
                if (await http.get(url)).is_success:
                    return
            await asyncio.sleep(0.1)
