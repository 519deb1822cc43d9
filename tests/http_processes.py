"""Commands of ours that listen for HTTP, as people start them: processes of their own."""

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
    """The process, where it listens, and the lines it has written to stderr from then on."""

    process: asyncio.subprocess.Process
    url: str
    lines: list[str] = field(default_factory=list)


@asynccontextmanager
async def read_until_stopped(
    process: asyncio.subprocess.Process, lines: list[str]
) -> AsyncIterator[None]:
    """Keep each line of its stderr as it comes: a test may wait for one. Stopped in the end,
    if it still runs."""
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
    """Keep each line of a stream as it comes."""
    async for line in stream:
        lines += [line.decode()]


@asynccontextmanager
async def http_process(command: str, **environment: str) -> AsyncIterator[HttpProcess]:
    """`python -m starter COMMAND --port 0`, once it listens; stopped, if it still runs."""
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
