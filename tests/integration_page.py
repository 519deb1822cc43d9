"""Runs the commands and programs of docs/integration.md against a server of the tests."""

import asyncio
import json
import os
import re
import sys
from pathlib import Path

from temporalio.testing import WorkflowEnvironment

from docs.generate import HERE
from docs.samples import START
from temporal import embedded
from temporal.client import DEFAULT_ADDRESS
from tests.purchases import numbers

PAGE = (HERE / "integration.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The code blocks of the page in this language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


async def run(server: WorkflowEnvironment, *words: str, folder: Path = HERE) -> tuple[int, str]:
    """Run a command in a folder: exit status and what it says."""
    name, *arguments = words
    process = await asyncio.create_subprocess_exec(
        embedded.binary() if name == "temporal" else name,
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=folder,
        env={
            **os.environ,
            "TEMPORAL_ADDRESS": embedded.address(server.client),
            "PYTHONPATH": str(HERE.parent),
        },
    )
    said, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, said.decode()


async def run_program(server: WorkflowEnvironment, program: str, folder: Path) -> tuple[int, str]:
    """Run a program of the page beside a `start.json` of a new purchase."""
    terms = {**START, "purchase_id": f"page-{next(numbers)}"}
    (folder / "start.json").write_text(json.dumps(terms), encoding="utf-8")
    adapted = program.replace(DEFAULT_ADDRESS, embedded.address(server.client))
    (folder / "program.py").write_text(adapted, encoding="utf-8")
    return await run(server, sys.executable, "program.py", folder=folder)
