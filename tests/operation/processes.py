"""A worker as a process of its own, as it is deployed."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from temporalio.testing import WorkflowEnvironment

from temporal import embedded
from tests.http_processes import ROOT, read_until_stopped
from tests.test_worker import environment as environment_of


@dataclass
class Post:
    """The process, the environment it was given, and the lines it has written to stderr."""

    process: asyncio.subprocess.Process
    environment: Mapping[str, str]
    lines: list[str] = field(default_factory=list)

    def said(self, event: str, times: int = 1) -> bool:
        """Whether it has logged this at least `times` times."""
        return [json.loads(line)["event"] for line in self.lines].count(event) >= times

    async def until_said(self, event: str, times: int = 1) -> None:
        """Wait until it has."""
        while not self.said(event, times):
            assert self.process.returncode is None, "".join(self.lines)
            await asyncio.sleep(0.02)


@asynccontextmanager
async def working(
    server: WorkflowEnvironment, folder: Path, program: str = "worker", **settings: str
) -> AsyncIterator[Post]:
    """A worker on this server with its parts under `folder`, once it works; stopped afterwards."""
    address = embedded.address(server.client)
    given = environment_of(folder, TEMPORAL_ADDRESS=address, **settings)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", program), cwd=ROOT, env=given, stderr=asyncio.subprocess.PIPE
    )
    post = Post(process, given)
    async with read_until_stopped(process, post.lines):
        await post.until_said("worker_started")
        yield post
