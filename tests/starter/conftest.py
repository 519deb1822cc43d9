"""A server, a worker process and the command line, as in production; databases of their own."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client
from typer.testing import CliRunner

from demo.runner import until
from starter.app import app
from temporal import embedded
from temporal.purchases import Purchase
from tests.purchases import DELETES_SOON, purchase

HOUSE = Path(__file__).parents[2]
LONG_HISTORY = 150
"""The number of events after which the server suggests continue-as-new."""


@dataclass(frozen=True)
class Answer:
    """How a command ended and what it said."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on stdout; fails if there is anything else."""
        return json.loads(self.out)

    @property
    def rejection(self) -> tuple[int, str]:
        """Exit status and code, with one sentence on stderr and nothing on stdout."""
        assert self.out == ""
        code, _, text = self.err.partition(": ")
        assert text.strip()
        assert text.count("\n") == 1
        assert "Traceback" not in text
        return self.status, code


@dataclass(frozen=True)
class Cli:
    """The command line under an environment."""

    environment: dict[str, str]

    async def process(self, *arguments: str, stdin: str | None = None) -> Answer:
        """Run `python -m starter` as a process of its own."""
        running = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "starter", *arguments),
            env=self.environment,
            cwd=HOUSE,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await running.communicate((stdin or "").encode())
        return Answer(running.returncode or 0, out.decode(), err.decode())

    async def differences(self, *purchase_ids: str) -> list[dict[str, Any]]:
        """What an audit finds about these purchases; other tests leave theirs in the ledger."""
        answer = await self("audit", "--json")
        found = answer.document["differences"]
        assert answer.status == bool(found)
        return [each for each in found if each["purchase_id"] in purchase_ids]

    async def __call__(self, *arguments: str, **changed: str | None) -> Answer:
        """Run a command in this process; much quicker. `changed`: environment variables."""
        result = await asyncio.to_thread(
            CliRunner().invoke, app, arguments, env={**self.environment, **changed}
        )
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Answer(result.exit_code, result.stdout, result.stderr)


@pytest.fixture(scope="session")
async def cli_client() -> AsyncIterator[Client]:
    """A client of a server of our own."""
    shorter = f"limit.historyCount.suggestContinueAsNew={LONG_HISTORY}"
    extra = ("--dynamic-config-value", shorter, *DELETES_SOON)
    async with embedded.server(extra=extra) as environment:
        yield environment.client


@pytest.fixture(scope="session")
def cli_environment(cli_client: Client, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What a shell would export."""
    folder = tmp_path_factory.mktemp("cli")
    return {
        **{name: value for name, value in os.environ.items() if name not in ("COLUMNS", "TERM")},
        "TEMPORAL_ADDRESS": embedded.address(cli_client),
        "RECOURSE_DATABASE_URL": f"sqlite:///{folder}/recourse.db",
        "RECOURSE_PAYMENTS": f"sandbox:{folder}/sandbox.db",
        "RECOURSE_MAIL_URL": f"maildir:{folder}/mail",
    }


@pytest.fixture(scope="session")
async def cli_worker(cli_environment: dict[str, str]) -> AsyncIterator[None]:
    """`python worker.py`."""
    worker = await asyncio.create_subprocess_exec(
        *(sys.executable, "worker.py"),
        env=cli_environment,
        cwd=HOUSE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    yield
    worker.terminate()
    await worker.wait()


@pytest.fixture(scope="session")
def cli(cli_environment: dict[str, str]) -> Cli:
    """The command line, with or without a worker."""
    return Cli(cli_environment)


@pytest.fixture
async def cli_purchase(cli_client: Client, cli_worker: None) -> Purchase:
    """A purchase whose money is in escrow."""
    return await held(cli_client)


async def held(client: Client, /, **changed: Any) -> Purchase:
    """A new purchase, once its money is in escrow."""
    terms = purchase(**changed)
    bought = Purchase(client, f"cli-{terms.purchase_id}")
    await bought.start(terms.model_copy(update={"purchase_id": bought.id}))
    await until(bought.handle, lambda found: found.payment == "held")
    return bought
