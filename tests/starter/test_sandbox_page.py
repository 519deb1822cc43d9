"""The page docs/sandbox.md names everything that the sandbox can do, and its examples work."""

import re
import shlex

import pytest
from temporalio.client import Client

from activities.payments.sandbox_events import SandboxEvent
from activities.payments.sandbox_methods import METHODS
from demo.runner import until
from temporal.purchases import Purchase
from tests.starter.conftest import HOUSE, Cli

PAGE = (HOUSE / "docs" / "sandbox.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)


def commands(example: str) -> list[list[str]]:
    """The arguments of each `recourse` command of an example."""
    lines = example.replace("\\\n", " ").splitlines()
    return [shlex.split(line)[1:] for line in lines]


@pytest.mark.parametrize("name", [*METHODS, *SandboxEvent])
def test_each_payment_method_and_each_event_is_explained(name: str) -> None:
    assert PAGE.count(f"\n| `{name}` |") == 1


async def test_the_examples_work_as_printed(cli: Cli, cli_client: Client, cli_worker: None) -> None:
    for example in EXAMPLES:
        for arguments in commands(example):
            answer = await cli(*arguments)
            assert answer.status == 0, (arguments, answer.err)
            if arguments[0] == "purchase":
                bought = Purchase(cli_client, "p-2001")
                await until(bought.handle, lambda found: found.payment == "held")
