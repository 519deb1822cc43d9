"""Reminders: before each deadline, not once the matter is settled, and never after the deadline."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.common import RetryPolicy
from temporalio.testing import WorkflowEnvironment

from activities.services import Services
from demo.runner import Handle, say, skip, status, until
from tests.conftest import settings
from tests.notices.builders import Post, closed_port, mail_server
from tests.notices.environment import house
from tests.notices.mailbox import inbox, quiet, read
from tests.purchases import held, purchase_of
from tests.test_crashes import event
from worker import build_worker
from workflows import notifying
from workflows.messages import Role
from workflows.policy import Reminders

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
OFFSETS = {
    "requirements": (24 * HOUR, 4 * HOUR),
    "freelancer_cancel": (6 * HOUR,),
    "refund_decision": (4 * DAY, 1 * DAY, 4 * HOUR),
    "claim": (1 * DAY,),
    "review": (2 * DAY,),
}
"""`RULES.md`, Windows: the defaults."""
READERS = {
    "requirements": "ana@example.com",
    "freelancer_cancel": "bo@example.com",
    "refund_decision": "bo@example.com",
    "claim": "ana@example.com",
    "review": "ana@example.com",
}
ONLY: dict[str, list[str]] = {deadline: [] for deadline in Reminders.model_fields}
"""A policy that reminds of nothing, to add one to."""


async def _reach(handle: Handle, deadline: str) -> None:
    """Let a clock run that is the only one."""
    if deadline == "requirements":
        return
    await say(handle, Role.CLIENT, "submit_requirements", requirements="A logo.")
    if deadline == "freelancer_cancel":
        return
    await say(handle, Role.FREELANCER, "deliver")
    if deadline != "review":
        await say(handle, Role.CLIENT, "cancel")
    if deadline == "claim":
        await say(handle, Role.FREELANCER, "decide_refund", decision="decline")


async def _deadline(handle: Handle, deadline: str) -> datetime:
    found = await until(handle, lambda found: any(one.name == deadline for one in found.deadlines))
    return next(one.at for one in found.deadlines if one.name == deadline)


@pytest.fixture(scope="module")
async def at_home(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Any]:
    """A house whose mail is in a Maildir."""
    folder = tmp_path_factory.mktemp("reminders")
    async with house(folder) as at:
        yield at, folder / "mail"


@pytest.mark.parametrize("name", OFFSETS)
async def test_each_deadline_is_reminded_of_at_the_policys_offsets(name: str, at_home: Any) -> None:
    """One reminder for each offset, to whose turn it is, and it names the deadline."""
    at, mail = at_home
    bo = {"id": "bo", "name": "Bo", "email": "bo@example.com", "timezone": "Asia/Tokyo"}
    handle = await held(at.server, freelancer=bo)
    await _reach(handle, name)
    deadline = await _deadline(handle, name)

    await skip(at.server, handle, deadline - datetime.now(UTC) - timedelta(minutes=1))
    await quiet(handle)

    reminders = _reminders(mail, handle)
    assert {one.to for one in reminders} == {READERS[name]}
    for one, offset in zip(reminders, OFFSETS[name], strict=True):
        assert abs(deadline - offset - one.date) < timedelta(seconds=10)
        assert one.shows(f"{deadline:%Y-%m-%d %H:%M} UTC")
    await handle.terminate("seen")


async def test_what_is_settled_needs_no_reminder(at_home: Any) -> None:
    """The requirements came, the review ended: neither is reminded of any more."""
    at, mail = at_home
    handle = await held(at.server)
    await skip(at.server, handle, 10 * HOUR)
    await say(handle, Role.CLIENT, "submit_requirements", requirements="A logo.")
    await say(handle, Role.FREELANCER, "deliver")
    await skip(at.server, handle, 3 * DAY)
    await say(handle, Role.CLIENT, "request_changes")
    await skip(at.server, handle, 20 * DAY)
    await quiet(handle)

    told = [one.transition for one in inbox(mail, purchase_of(handle))]
    assert "changes_requested" in told
    assert "reminder" not in told
    await handle.terminate("seen")


# --- nobody is there to remind


async def _fired_unseen(
    lonely: WorkflowEnvironment,
    services: Services,
    threads: ThreadPoolExecutor,
    reminders: list[str],
    timers: int,
) -> Handle:
    """A purchase whose reminder is due while no worker is up. After the first timer that nobody
    acts on, the clock runs as ours does."""
    async with build_worker(lonely.client, services, threads):
        handle = await held(lonely, policy={"reminders": {**ONLY, "requirements": reminders}})
        await quiet(handle)
    skipping = asyncio.create_task(skip(lonely, handle, 50 * HOUR))
    await event(handle, EventType.EVENT_TYPE_TIMER_FIRED, timers)
    skipping.cancel()
    await asyncio.gather(skipping, return_exceptions=True)
    return handle


async def test_worker_down_over_reminders_sends_one_while_there_is_time(
    tmp_path: Path, lonely: WorkflowEnvironment, threads: ThreadPoolExecutor
) -> None:
    """Two were due meanwhile: one is sent, and it names a deadline that lies ahead."""
    with closing(Services(settings(tmp_path))) as services:
        handle = await _fired_unseen(lonely, services, threads, ["PT10H", "PT9H59M59S"], timers=1)
        deadline = await _wait_past(lonely, services, threads, handle)
        reminders = _reminders(tmp_path / "mail", handle)
        assert len(reminders) == 1
        assert deadline - 10 * HOUR <= reminders[0].date < deadline
        await handle.terminate("seen")


async def _wait_past(
    lonely: WorkflowEnvironment, services: Services, threads: ThreadPoolExecutor, handle: Handle
) -> datetime:
    await asyncio.sleep(1.1)  # until the second offset has passed, too: the clock is the server's
    async with build_worker(lonely.client, services, threads):
        deadline = await _deadline(handle, "requirements")
        await skip(lonely, handle, timedelta(minutes=1))
        await quiet(handle)
    return deadline


async def test_worker_down_over_the_deadline_sends_no_reminder(
    tmp_path: Path, lonely: WorkflowEnvironment, threads: ThreadPoolExecutor
) -> None:
    """Reminder and deadline were both due: the deadline takes effect, and nobody is reminded."""
    with closing(Services(settings(tmp_path))) as services:
        handle = await _fired_unseen(lonely, services, threads, ["PT2S"], timers=2)
        async with build_worker(lonely.client, services, threads):
            await until(handle, lambda found: found.reason == "requirements_timeout")
            await quiet(handle)
        told = {one.transition for one in inbox(tmp_path / "mail", purchase_of(handle))}
        assert told == {"payment_held", "requirements_timeout"}
        await handle.terminate("seen")


def _reminders(mail: Path, handle: Handle) -> list[Any]:
    return [one for one in inbox(mail, purchase_of(handle)) if one.transition == "reminder"]


# --- nobody takes the reminder


@pytest.mark.parametrize("settled", [True, False])
async def test_mail_server_down_over_the_deadline_gets_no_reminder_later(
    settled: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reminder that could not be sent before its deadline, or before the matter was settled, is
    not sent after it. If the deadline passed, that is shown as undelivered."""
    monkeypatch.setattr(notifying, "RETRY", RetryPolicy(initial_interval=HOUR / 2))
    port = closed_port()
    reminders = {**ONLY, "requirements": ["PT2H"]}
    policy = {"requirements_window": "PT4H", "reminders": reminders}
    async with house(tmp_path, f"smtp://127.0.0.1:{port}?starttls=off") as at:
        handle = await held(at.server, policy=policy)
        await skip(at.server, handle, 3 * HOUR)
        if settled:
            await say(handle, Role.CLIENT, "submit_requirements", requirements="A logo.")
        else:
            await skip(at.server, handle, 2 * HOUR)
        async with mail_server(post := Post(), port):
            await skip(at.server, handle, 4 * HOUR)
            await until(handle, lambda _: len(post.kept) >= 2)
        found = await status(handle)
        lost = [item for item in found.undelivered if item.transition == "reminder"]
        assert [item.role for item in lost] == ([] if settled else ["client"])
        assert "reminder" not in {read(raw).transition for raw in post.bodies()}
        await handle.terminate("seen")
