"""The worker process: what it says when it cannot work, and how it stops."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from itertools import chain
from pathlib import Path

import pytest
from temporalio.testing import WorkflowEnvironment

import worker
from activities.services import Services
from temporal import embedded
from temporal.ports import free_port
from tests.conftest import settings

ROOT = Path(__file__).parents[1]


def environment(folder: Path, **changed: str) -> Mapping[str, str]:
    """The environment of a worker with its parts under `folder`. Tests run workers at the same
    time, which would choose the same port for the workroom until one of them listens."""
    given = settings(folder)
    return {
        **os.environ,
        "RECOURSE_DATABASE_URL": given.database_url,
        "RECOURSE_MAIL_URL": given.mail_url,
        "RECOURSE_PAYMENTS": given.payments,
        "TEMPORAL_ADDRESS": "127.0.0.1:1",
        "RECOURSE_WORKROOM": f"127.0.0.1:{free_port()}",
        **changed,
    }


async def run(
    env: Mapping[str, str], *arguments: str, folder: Path = ROOT
) -> asyncio.subprocess.Process:
    """A worker process that runs in this folder."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, str(ROOT / "worker.py"), *arguments),
        cwd=folder,
        env=env,
        stderr=asyncio.subprocess.PIPE,
    )


@pytest.mark.parametrize(
    ("changed", "status", "says"),
    [
        ({}, 3, "No Temporal server answers at 127.0.0.1:1"),
        ({"TEMPORAL_PROFILE": "nobody"}, 3, "nobody"),
        ({"RECOURSE_DATABASE_URL": "postgresql+psycopg://a@127.0.0.1:1/b"}, 3, "cannot be reached"),
        ({"RECOURSE_DATABASE_URL": "sqlite:////proc/no/recourse.db"}, 3, "cannot be created"),
        ({"RECOURSE_DATABASE_URL": "mysql://a/b"}, 2, "RECOURSE_DATABASE_URL"),
        ({"RECOURSE_PAYMENTS": "cowries"}, 2, "RECOURSE_PAYMENTS"),
        ({"RECOURSE_PAYMENTS": "stripe", "STRIPE_API_KEY": "secret"}, 2, "RECOURSE_DEPLOYMENT"),
        ({"RECOURSE_DEPLOYMENT": "Shop"}, 2, "RECOURSE_DEPLOYMENT"),
        ({"RECOURSE_MAIL_URL": "pigeon://a"}, 2, "RECOURSE_MAIL_URL"),
        ({"RECOURSE_MAIL_FROM": "us"}, 2, "RECOURSE_MAIL_FROM"),
        ({"RECOURSE_OPERATOR_EMAIL": "us"}, 2, "RECOURSE_OPERATOR_EMAIL"),
        ({"RECOURSE_BASE_URL": "us"}, 2, "RECOURSE_BASE_URL"),
    ],
    ids=str,
)
async def test_worker_that_cannot_work_says_why_in_one_sentence(
    changed: dict[str, str], status: int, says: str, tmp_path: Path
) -> None:
    """Exit 3 when server or database cannot be reached, 2 for a wrong setting; no traceback."""
    process = await run(environment(tmp_path, **changed))

    _, written = await process.communicate()

    assert process.returncode == status
    assert says in written.decode()
    assert len(written.decode().strip().splitlines()) == 1


async def test_worker_ends_with_a_copy_of_another_deployments_database(tmp_path: Path) -> None:
    """Before it connects to a server; no money moves."""
    Services(replace(settings(tmp_path), deployment="production")).close()
    process = await run(environment(tmp_path, RECOURSE_DEPLOYMENT="staging"))

    _, written = await process.communicate()

    assert process.returncode == 2
    assert "belongs to the deployment 'production'" in written.decode()
    assert len(written.decode().strip().splitlines()) == 1


async def test_wrong_namespace_is_named(server: WorkflowEnvironment, tmp_path: Path) -> None:
    """Exit 3, and which namespace is missing."""
    address = embedded.address(server.client)
    process = await run(
        environment(tmp_path, TEMPORAL_ADDRESS=address, TEMPORAL_NAMESPACE="nowhere")
    )

    _, written = await process.communicate()

    assert process.returncode == 3
    assert "'nowhere'" in written.decode()


@pytest.mark.parametrize("name", [signal.SIGTERM, signal.SIGINT])
async def test_worker_stops_gracefully(name: signal.Signals, tmp_path: Path) -> None:
    """SIGTERM and SIGINT end it with status 0; its log is JSON where nobody is looking."""
    async with embedded.server() as own:
        address = embedded.address(own.client)
        process = await run(environment(tmp_path, TEMPORAL_ADDRESS=address))
        assert process.stderr is not None
        lines = []
        async for line in process.stderr:
            lines.append(json.loads(line))
            if lines[-1]["event"] == "worker_started":
                process.send_signal(name)
        await process.wait()

    assert process.returncode == 0
    assert lines[-1]["event"] == "worker_stopped"
    assert "search_attributes_registered" not in {line["event"] for line in lines}


@pytest.mark.parametrize("option", ["--port", "--ui-port"])
async def test_an_embedded_server_whose_port_is_taken_does_not_start(
    option: str, tmp_path: Path
) -> None:
    """It would otherwise work on the server that is there. Nothing is started, and the sentence
    names the process that has the port."""
    async with embedded.server() as other:
        port = embedded.address(other.client).rpartition(":")[2]
        ports = {"--port": "0", "--ui-port": "0", option: port}
        process = await run(
            environment(tmp_path),
            *("--dev", *chain.from_iterable(ports.items())),
            folder=tmp_path,
        )
        _, written = await process.communicate()

    assert process.returncode == 2
    (sentence,) = written.decode().splitlines()
    assert re.match(rf"Port {port} is taken by temporal \(process \d+\)\. End that", sentence)
    assert not (tmp_path / "var" / "temporal.db").exists()


async def test_embedded_servers_on_free_ports_do_not_share_a_file(tmp_path: Path) -> None:
    """The first one works and says where, with all of its data in this folder; the second one in
    the same folder is rejected."""
    free = ("--dev", "--port", "0", "--ui-port", "0")
    unset = dict.fromkeys(("RECOURSE_DATABASE_URL", "RECOURSE_MAIL_URL", "RECOURSE_PAYMENTS"), "")
    first = await run(environment(tmp_path, **unset), *free, folder=tmp_path)
    assert first.stderr is not None
    lines: dict[str, dict[str, str]] = {}
    while "worker_started" not in lines:
        if (written := await first.stderr.readline()).startswith(b"{"):  # else the server's own
            line = json.loads(written)
            lines[line["event"]] = line
    second = await run(environment(tmp_path), *free, folder=tmp_path)
    _, written = await second.communicate()
    first.terminate()
    await first.communicate()

    assert first.returncode == 0
    data = {each.name for each in (tmp_path / "var").iterdir()}
    assert {"temporal.db", "recourse.db", "sandbox.db"} <= data
    assert lines["web_ui"]["address"].startswith("http://localhost:")
    assert second.returncode == 2
    assert f"Another embedded server uses {tmp_path}/var/temporal.db" in written.decode()


REMEMBERS_SOME_AND_FORGETS_MANY = f"""
import gc
from collections import deque

gc.set_threshold(*{worker.GC_THRESHOLDS})
before, most = len(gc.get_objects()), 0
remembered = deque(maxlen={worker.CACHED_WORKFLOWS})
for number in range(6 * {worker.CACHED_WORKFLOWS}):
    purchase = [[] for _ in range(250)]
    for part in purchase:
        part.append(purchase)
    remembered.append(purchase)
    if not number % 100:
        most = max(most, len(gc.get_objects()) - before)
print(most / (251 * {worker.CACHED_WORKFLOWS}))
"""


def test_purchases_that_a_worker_has_forgotten_do_not_pile_up() -> None:
    """Each leaves some 250 objects in reference cycles; the memory never holds much more than twice
    the purchases of the worker's cache."""
    ran = [sys.executable, "-c", REMEMBERS_SOME_AND_FORGETS_MANY]
    found = subprocess.run(ran, check=True, capture_output=True, text=True)
    assert float(found.stdout) < 2.5
