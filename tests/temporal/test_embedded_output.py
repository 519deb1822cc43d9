"""The embedded server writes nothing to standard output: commands with `--json` print one document
there."""

import subprocess
import sys

PROGRAM = """
import asyncio
from temporal.embedded import server
from temporal.ports import free_port

async def main():
    async with server(ui_port=free_port()):
        print("{}")

asyncio.run(main())
"""


def test_the_embedded_server_leaves_standard_output_alone() -> None:
    """Its banner goes to standard error."""
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=True
    )
    assert ran.stdout == "{}\n"
