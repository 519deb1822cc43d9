"""The codec server as people start it: a process of its own."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workflows.codec import SETTING

HOUSE = Path(__file__).parents[2]
TOKEN = "a-token-that-nobody-guesses"


@dataclass
class CodecServer:
    """Where it listens, and what it has logged."""

    address: str
    lines: list[dict[str, Any]] = field(default_factory=list)


@asynccontextmanager
async def codec_server(keys: str, ui_origin: str) -> AsyncIterator[CodecServer]:
    """`python -m starter codec`, listening."""
    running = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "starter", "codec", "--port", "0"),
        cwd=HOUSE,
        stderr=asyncio.subprocess.PIPE,
        env={
            **os.environ,
            SETTING: keys,
            "RECOURSE_CODEC_TOKENS": f"ines:{TOKEN},rui:another-token-of-somebody",
            "RECOURSE_UI_ORIGIN": ui_origin,
        },
    )
    assert running.stderr is not None
    address = None
    while address is None:
        address = json.loads(await running.stderr.readline()).get("address")
    found = CodecServer(f"http://{address}")
    reading = asyncio.create_task(_read(running.stderr, found.lines))
    try:
        yield found
    finally:
        running.terminate()
        await running.wait()
        await reading


async def _read(stream: asyncio.StreamReader, lines: list[dict[str, Any]]) -> None:
    async for line in stream:  # one by one: a test waits for them
        lines += [json.loads(line)]
