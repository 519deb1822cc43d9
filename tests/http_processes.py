"""Runs commands of the command line that serve HTTP, each as a process."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]


@dataclass
class HttpProcess:
    """A running process, its URL, and the lines it has written to stderr since it accepts
    requests."""

    process: asyncio.subprocess.Process
    url: str
    lines: list[str] = field(default_factory=list)


@asynccontextmanager
async def read_until_stopped(
    process: asyncio.subprocess.Process, lines: list[str]
) -> AsyncIterator[None]:
    """Append each line of the process's stderr to `lines` as it comes. The process is terminated at
    the end if it still runs."""
    assert process.stderr is not None
    reading = asyncio.create_task(read(process.stderr, lines))
    try:
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
        await reading


async def read(stream: asyncio.StreamReader, lines: list[str]) -> None:
    """Append each line of a stream to `lines` as it comes."""
    async for line in stream:
        lines += [line.decode()]


@asynccontextmanager
async def http_process(command: str, **environment: str) -> AsyncIterator[HttpProcess]:
    """`python -m starter COMMAND --port 0`, once it accepts requests; terminated at the end."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "starter", command, "--port", "0"),
        cwd=ROOT,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **environment},
    )
    assert process.stderr is not None
    address = ""
    while not address:
        address = json.loads(await process.stderr.readline()).get("address", "")
    found = HttpProcess(process, f"http://{address}")
    async with read_until_stopped(process, found.lines):
        yield found
