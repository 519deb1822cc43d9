"""Runs Node.js with the packages of a `package-lock.json`."""

import asyncio
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGES = ("package.json", "package-lock.json", ".npmrc")


def program(name: str) -> str:
    """The path of a program of Node.js."""
    found = shutil.which(name)
    if found is None:
        pytest.fail(f"`{name}` is missing: install Node.js 20.3 or newer, which brings npm along.")
    return found


def installed(source: Path, *scripts: str) -> Path:
    """A folder with the scripts of `source` and their packages. It stays in this Python
    environment, so that later runs need not install again."""
    files = (*PACKAGES, *scripts)
    contents = b"".join((source / name).read_bytes() for name in files)
    ready = Path(sys.prefix) / f"{source.name}-{hashlib.sha256(contents).hexdigest()[:12]}"
    if not ready.exists():
        new_folder = ready.with_suffix(".new")
        shutil.rmtree(new_folder, ignore_errors=True)
        new_folder.mkdir()
        for name in files:
            shutil.copy(source / name, new_folder)
        command = (program("npm"), "ci", "--ignore-scripts", "--no-audit", "--no-fund")
        subprocess.run(command, cwd=new_folder, check=True, stdout=sys.stderr)
        new_folder.rename(ready)
    return ready


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
