"""`recourse workroom` as a process, and the links that it prints."""

import asyncio
import json
import sys

import pytest
import requests

from tests.http_processes import ROOT
from tests.starter.conftest import Cli, cli, cli_client, cli_environment, cli_worker
from tests.workroom.callers import ANA, SECRET, Caller, token
from tests.workroom.visitor import Visitor

__all__ = ["cli", "cli_client", "cli_environment", "cli_worker"]

KEYS = {"RECOURSE_API_SECRET": SECRET, "RECOURSE_LINK_KEYS": f"k1:{SECRET}"}


@pytest.mark.usefixtures("cli_worker")
async def test_the_command_serves_the_api_and_the_pages(
    cli: Cli, cli_environment: dict[str, str]
) -> None:
    """Where its setting says, and to the link that it prints."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "starter", "workroom"),
        cwd=ROOT,
        stderr=asyncio.subprocess.PIPE,
        env={**cli_environment, **KEYS, "RECOURSE_WORKROOM": "127.0.0.1:0"},
    )
    assert process.stderr is not None
    try:
        url = f"http://{json.loads(await process.stderr.readline())['address']}"
        health = await asyncio.to_thread(requests.get, f"{url}/healthz", timeout=10)
        assert health.status_code == 200
        assert (await Caller(url, token(*ANA)).get("")).json()["purchases"] is not None
        printed = await cli("workroom", "--link", "operator:op-1", **KEYS, RECOURSE_BASE_URL=url)
        staff = await Visitor(url).open(printed.out.strip())
        assert "Late and failed refunds" in staff.text
    finally:
        process.terminate()
        await process.wait()


async def test_wrong_settings_and_options_are_named(cli: Cli) -> None:
    """Exit status 2; nothing is served."""
    assert (await cli("workroom")).rejection == (2, "WRONG_SETTING")
    assert (await cli("workroom", "--link", "client:ana")).rejection == (2, "WRONG_SETTING")
    assert (await cli("workroom", "--link", "ana", **KEYS)).rejection == (2, "INVALID_INPUT")
    assert (await cli("workroom", "--purchase", "p-1", **KEYS)).rejection == (2, "INVALID_INPUT")
