"""`make demo`: runs every scenario on a real server with its Web UI; time is skipped."""

import asyncio
import json
import shutil
import signal
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import structlog
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from temporalio.testing import WorkflowEnvironment

from activities.amounts import format_amount
from activities.audit import reconcile
from activities.payments.sandbox import SandboxProvider
from activities.services import Services, Settings
from demo.live import invitations, open_purchases
from demo.runner import ScenarioRunner
from demo.scenarios import AT_PROVIDER, SCENARIOS, Scenario
from temporal import embedded
from temporal.directory import TemporalPurchaseDirectory
from temporal.plugin import ACTIVITY_THREADS
from temporal.ports import free_port
from worker import build_worker
from workflows.messages import PurchaseResult
from workroom.database import Database
from workroom.local import serve_workroom, with_workroom
from workroom.settings import WorkroomSettings

FOLDER = Path("var/demo")
UI_PORT = 8233
WIDTH = 140
"""Columns without a terminal."""


@dataclass(frozen=True)
class Played:
    """The result of one scenario."""

    scenario: Scenario
    purchase_id: str
    result: PurchaseResult
    charged_back: int
    notices: int

    @property
    def ends(self) -> str:
        """Outcome, reason, and who received how much."""
        amounts = (
            (self.result.refunded, "to the client"),
            (self.result.released, "to the freelancer"),
            (self.charged_back, "kept by the client's bank"),
        )
        currency = self.result.currency
        shares = [f"{format_amount(amount, currency)} {to}" for amount, to in amounts if amount]
        ended = f"{self.result.outcome}, {self.result.reason}"
        return f"{ended}; {', '.join(shares) or 'no money moved'}"

    @property
    def as_expected(self) -> bool:
        """Whether it ended as the scenario expects."""
        ends, result = self.scenario.ends, self.result
        amounts = (ends.refunded, ends.released, ends.charged_back)
        return (ends.outcome, ends.reason, *amounts) == (
            result.outcome,
            result.reason,
            result.refunded,
            result.released,
            self.charged_back,
        )


async def demo(*, exit_at_once: bool, json_output: bool) -> int:
    """Run all scenarios and print their results; on a terminal keep serving until Ctrl-C.

    Returns 0 if every scenario ended as expected and the audit finds no difference, else 1.
    """
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    console = Console(stderr=json_output)
    if not console.is_terminal:
        console = Console(stderr=json_output, width=WIDTH)
    shutil.rmtree(FOLDER, ignore_errors=True)
    ui_port = free_port(UI_PORT)
    async with AsyncExitStack() as stack:
        variables = with_workroom({})
        room = WorkroomSettings.from_environment(variables)
        services = Services(_settings(variables))
        stack.callback(services.close)
        console.print("Starting a Temporal server with its Web UI, and a worker ...")
        environment = await stack.enter_async_context(
            embedded.server(skip_time=True, ui_port=ui_port)
        )
        threads = stack.enter_context(ThreadPoolExecutor(ACTIVITY_THREADS))
        await stack.enter_async_context(build_worker(environment.client, services, threads))
        played = await _play(environment, services, console)
        directory = TemporalPurchaseDirectory(environment.client)
        differences = (await reconcile(services.ledger, services.provider, directory)).differences
        passed = all(one.as_expected for one in played) and not differences
        if json_output:
            print(json.dumps(_document(played, [d.what for d in differences])))
        else:
            _show(console, played, services)
            console.print(
                f"Audit: {'no differences.' if not differences else 'DIFFERENCES FOUND.'} "
                f"Mail is in {FOLDER / 'mail'}."
            )
        if sys.stdout.isatty() and not exit_at_once:
            console.print(f"Web UI: http://localhost:{ui_port}", highlight=False)
            await stack.enter_async_context(
                serve_workroom(
                    environment.client, room, Database(lambda: services.engine, services.seal)
                )
            )
            await open_purchases(environment, _sandbox(services))
            _invite(console, room)
            console.print("The server keeps running; press Ctrl-C to stop it.")
            await _interrupted()
    return 0 if passed else 1


def _settings(variables: Mapping[str, str]) -> Settings:
    return replace(
        Settings.from_environment(variables),
        database_url=f"sqlite:///{FOLDER}/recourse.db",
        mail_url=f"maildir:{FOLDER}/mail",
        payments=f"sandbox:{FOLDER}/sandbox.db",
    )


async def _play(
    environment: WorkflowEnvironment, services: Services, console: Console
) -> list[Played]:
    def report(scenario: Scenario, line: str) -> None:
        console.print(
            f"[bold]{scenario.name:>28}[/]  {escape(line)}", soft_wrap=True, highlight=False
        )

    runner = ScenarioRunner(environment, report, _sandbox(services))

    async def one(number: int, scenario: Scenario) -> Played:
        purchase_id = f"demo-{number:02}"
        result = await runner.run(scenario, purchase_id)
        notices = services.notices.list(purchase_id)
        balances = services.ledger.balances(purchase_id)
        charged_back = balances.charged_back if balances else 0
        played = Played(scenario, purchase_id, result, charged_back, len(notices))
        report(scenario, f"ends: {played.ends}")
        sent = "; ".join(f"{notice.transition} ({notice.role})" for notice in notices)
        report(scenario, f"notices: {sent}")
        return played

    return await asyncio.gather(
        *(one(n, scenario) for n, scenario in enumerate((*SCENARIOS, *AT_PROVIDER), start=1))
    )


def _sandbox(services: Services) -> SandboxProvider:
    assert isinstance(services.provider, SandboxProvider)
    return services.provider


def _invite(console: Console, room: WorkroomSettings) -> None:
    """Print the links into the open purchases."""
    console.print("\nThese purchases are open; each link signs somebody in for a day:")
    for who, what, link in invitations(room):
        console.print(f"[bold]{who}[/], {what}:\n  {link}", soft_wrap=True, highlight=False)


def _show(console: Console, played: list[Played], services: Services) -> None:
    table = Table(title="Results of the purchases")
    table.add_column("purchase", no_wrap=True)
    table.add_column("scenario", no_wrap=True)
    table.add_column("result")
    for one in played:
        ends = one.ends if one.as_expected else f"[red]not as expected:[/] {one.ends}"
        table.add_row(one.purchase_id, one.scenario.name, ends)
    console.print(table)
    accounts = Table(title="Ledger accounts with a balance")
    accounts.add_column("account")
    accounts.add_column("balance", justify="right")
    for account in services.ledger.accounts():
        if account.balance:
            accounts.add_row(account.account, _signed(account.balance, account.currency))
    console.print(accounts)


def _signed(balance: int, currency: str) -> str:
    return ("-" if balance < 0 else "") + format_amount(abs(balance), currency)


def _document(played: list[Played], differences: list[str]) -> dict[str, object]:
    return {
        "purchases": [
            {
                "scenario": one.scenario.name,
                "as_expected": one.as_expected,
                "notices": one.notices,
                **one.result.model_dump(mode="json"),
            }
            for one in played
        ],
        "differences": differences,
    }


async def _interrupted() -> None:
    stop = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    await stop.wait()
