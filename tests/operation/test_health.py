"""The worker's health checks, and its errors for invalid settings."""

import asyncio
import json
import socket
from collections.abc import Mapping
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from temporal import embedded
from temporal.ports import free_port
from tests.operation.processes import working
from tests.test_worker import environment, run


def asked(url: str) -> tuple[int, Mapping[str, object]]:
    """Status and answer."""
    try:
        with urlopen(url) as answer:  # noqa: S310 - it is one of ours
            return answer.status, json.load(answer)
    except HTTPError as rejection:
        with rejection:
            return rejection.code, json.load(rejection)


async def test_a_worker_is_ready_as_long_as_it_takes_work(tmp_path: Path) -> None:
    """Ready; not ready when the server is gone, but alive: a restart would not help it."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    async with embedded.server() as server:
        async with working(server, tmp_path, RECOURSE_HEALTH=f"127.0.0.1:{port}") as post:
            ready = await asyncio.to_thread(asked, f"{url}/readyz")
            await server.shutdown()
            unready = await asyncio.to_thread(asked, f"{url}/readyz")
            alive = await asyncio.to_thread(asked, f"{url}/healthz")
        assert post.process.returncode == 0

    assert ready == (200, {"failing": []})
    assert unready == (503, {"failing": ["temporal"]})
    assert alive == (200, {"result": "alive"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RECOURSE_HEALTH", "rubbish"),
        ("RECOURSE_HEALTH", "127.0.0.1:99999"),
        ("RECOURSE_HEALTH", "127.0.0.1:TAKEN"),
        ("RECOURSE_METRICS", "rubbish"),
        ("RECOURSE_METRICS", "127.0.0.1:TAKEN"),
        ("RECOURSE_QUEUES", "money,mail"),
        ("RECOURSE_QUEUES", ","),
    ],
)
async def test_a_worker_with_a_setting_that_cannot_be_says_so(
    name: str, value: str, tmp_path: Path
) -> None:
    """Exit 2 and one sentence that names it; an address that is taken, too."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        given = value.replace("TAKEN", str(taken.getsockname()[1]))
        async with embedded.server() as server:
            address = embedded.address(server.client)
            process = await run(environment(tmp_path, TEMPORAL_ADDRESS=address, **{name: given}))
            _, written = await process.communicate()

    said = [line for line in written.decode().splitlines() if not line.startswith("{")]
    assert (process.returncode, len(said)) == (2, 1)
    assert given in said[0]
