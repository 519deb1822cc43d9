"""Runs Node.js with the packages of `typescript/package-lock.json`."""

import asyncio
import hashlib
import shutil
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent / "typescript"
FILES = ("package.json", "package-lock.json", ".npmrc", "send.mjs", "types.mjs")


def program(name: str) -> str:
    """The path of a program of Node.js."""
    found = shutil.which(name)
    if found is None:
        pytest.fail(f"`{name}` is missing: install Node.js 20.3 or newer, which brings npm along.")
    return found


async def run(*command: str | Path, folder: Path, given: str = "") -> str:
    """Run a program; what it prints. Fails with what else it printed."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, errors = await process.communicate(given.encode())
    assert process.returncode == 0, (errors or out).decode()
    return out.decode()


async def installed() -> Path:
    """A folder with the scripts and their packages. It stays in this Python environment, so that
    later runs need not install again."""
    contents = b"".join((SOURCE / name).read_bytes() for name in FILES)
    ready = Path(sys.prefix) / f"typescript-{hashlib.sha256(contents).hexdigest()[:12]}"
    if not ready.exists():
        new_folder = ready.with_suffix(".new")
        shutil.rmtree(new_folder, ignore_errors=True)
        new_folder.mkdir()
        for name in FILES:
            shutil.copy(SOURCE / name, new_folder)
        npm = program("npm")
        await run(npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", folder=new_folder)
        new_folder.rename(ready)
    return ready
