"""Reminders come before each deadline, never after it, and not when it no longer applies."""

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
from demo.runner import Handle, send, skip, status, until
from tests.conftest import settings
from tests.notices.builders import SmtpHandler, closed_port, mail_server
from tests.notices.environment import environment
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
"""The defaults of the policy."""
READERS = {
    "requirements": "ana@example.com",
    "freelancer_cancel": "bo@example.com",
    "refund_decision": "bo@example.com",
    "claim": "ana@example.com",
    "review": "ana@example.com",
}
ONLY: dict[str, list[str]] = {deadline: [] for deadline in Reminders.model_fields}
"""A policy without reminders, to which a test adds one."""


async def _reach(handle: Handle, deadline: str) -> None:
    """Bring the purchase to a stage where `deadline` is the only one."""
    if deadline == "requirements":
        return
    await send(handle, Role.CLIENT, "submit_requirements", requirements="A logo.")
    if deadline == "freelancer_cancel":
        return
    await send(handle, Role.FREELANCER, "deliver")
    if deadline != "review":
        await send(handle, Role.CLIENT, "cancel")
    if deadline == "claim":
        await send(handle, Role.FREELANCER, "decide_refund", decision="decline")


async def _deadline(handle: Handle, deadline: str) -> datetime:
    found = await until(handle, lambda found: any(one.name == deadline for one in found.deadlines))
    return next(one.at for one in found.deadlines if one.name == deadline)


@pytest.fixture(scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Any]:
    """An environment with a Maildir."""
    folder = tmp_path_factory.mktemp("reminders")
    async with environment(folder) as env:
        yield env, folder / "mail"


@pytest.mark.parametrize("name", OFFSETS)
async def test_each_deadline_has_reminders_at_the_policys_offsets(name: str, shared: Any) -> None:
    """One reminder for each offset, to the party that has to act, with the deadline."""
    env, mail = shared
    bo = {"id": "bo", "name": "Bo", "email": "bo@example.com", "timezone": "Asia/Tokyo"}
    handle = await held(env.server, freelancer=bo)
    await _reach(handle, name)
    deadline = await _deadline(handle, name)

    await skip(env.server, handle, deadline - datetime.now(UTC) - timedelta(minutes=1))
    await quiet(handle)

    reminders = _reminders(mail, handle)
    assert {one.to for one in reminders} == {READERS[name]}
    for one, offset in zip(reminders, OFFSETS[name], strict=True):
        assert abs(deadline - offset - one.date) < timedelta(seconds=10)
        assert one.shows(f"{deadline:%Y-%m-%d %H:%M} UTC")
    await handle.terminate("checked")


async def test_a_deadline_that_goes_on_after_its_reminder_has_no_second_one(shared: Any) -> None:
    """R-24: the review waited during a cancellation, and is due later; its reminder was sent."""
    env, mail = shared
    handle = await held(env.server)
    await _reach(handle, "review")
    await skip(env.server, handle, timedelta(days=12.5))
    await send(handle, Role.CLIENT, "cancel")
    await skip(env.server, handle, DAY)
    await send(handle, Role.CLIENT, "withdraw_cancellation")
    await quiet(handle)

    assert [one.to for one in _reminders(mail, handle)] == [READERS["review"]]
    await handle.terminate("checked")


async def test_a_deadline_that_no_longer_applies_has_no_reminder(shared: Any) -> None:
    """The requirements were sent and the review ended in time, so no reminder is sent."""
    env, mail = shared
    handle = await held(env.server)
    await skip(env.server, handle, 10 * HOUR)
    await send(handle, Role.CLIENT, "submit_requirements", requirements="A logo.")
    await send(handle, Role.FREELANCER, "deliver")
    await skip(env.server, handle, 3 * DAY)
    await send(handle, Role.CLIENT, "request_changes")
    await skip(env.server, handle, 20 * DAY)
    await quiet(handle)

    sent = [one.transition for one in inbox(mail, purchase_of(handle))]
    assert "changes_requested" in sent
    assert "reminder" not in sent
    await handle.terminate("checked")


# --- no worker runs when a reminder is due


async def _fired_without_worker(
    bare_server: WorkflowEnvironment,
    services: Services,
    threads: ThreadPoolExecutor,
    reminders: list[str],
    timers: int,
) -> Handle:
    """A purchase whose reminder timer fired while no worker ran. After the first timer without a
    worker, the server's clock runs in real time."""
    async with build_worker(bare_server.client, services, threads):
        handle = await held(bare_server, policy={"reminders": {**ONLY, "requirements": reminders}})
        await quiet(handle)
    skipping = asyncio.create_task(skip(bare_server, handle, 50 * HOUR))
    await event(handle, EventType.EVENT_TYPE_TIMER_FIRED, timers)
    skipping.cancel()
    await asyncio.gather(skipping, return_exceptions=True)
    return handle


async def test_worker_down_over_reminders_sends_one_while_there_is_time(
    tmp_path: Path, bare_server: WorkflowEnvironment, threads: ThreadPoolExecutor
) -> None:
    """Two reminders were due meanwhile: one is sent, and its deadline is in the future."""
    with closing(Services(settings(tmp_path))) as services:
        handle = await _fired_without_worker(
            bare_server, services, threads, ["PT10H", "PT9H59M59S"], timers=1
        )
        deadline = await _wait_past(bare_server, services, threads, handle)
        reminders = _reminders(tmp_path / "mail", handle)
        assert len(reminders) == 1
        assert deadline - 10 * HOUR <= reminders[0].date < deadline
        await handle.terminate("checked")


async def _wait_past(
    bare_server: WorkflowEnvironment,
    services: Services,
    threads: ThreadPoolExecutor,
    handle: Handle,
) -> datetime:
    await asyncio.sleep(1.1)  # until the second offset has passed on the server's clock, too
    async with build_worker(bare_server.client, services, threads):
        deadline = await _deadline(handle, "requirements")
        await skip(bare_server, handle, timedelta(minutes=1))
        await quiet(handle)
    return deadline


async def test_worker_down_over_the_deadline_sends_no_reminder(
    tmp_path: Path, bare_server: WorkflowEnvironment, threads: ThreadPoolExecutor
) -> None:
    """Reminder and deadline were both due: the deadline takes effect, without a reminder."""
    with closing(Services(settings(tmp_path))) as services:
        handle = await _fired_without_worker(bare_server, services, threads, ["PT2S"], timers=2)
        async with build_worker(bare_server.client, services, threads):
            await until(handle, lambda found: found.reason == "requirements_timeout")
            await quiet(handle)
        sent = {one.transition for one in inbox(tmp_path / "mail", purchase_of(handle))}
        assert sent == {"payment_held", "requirements_timeout"}
        await handle.terminate("checked")


def _reminders(mail: Path, handle: Handle) -> list[Any]:
    return [one for one in inbox(mail, purchase_of(handle)) if one.transition == "reminder"]


# --- the mail server does not accept the reminder


@pytest.mark.parametrize("settled", [True, False])
async def test_mail_server_down_over_the_deadline_gets_no_reminder_later(
    settled: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reminder that could not be sent while its deadline was open is not sent later. If the
    deadline passed, the reminder is listed as undelivered."""
    monkeypatch.setattr(notifying, "RETRY", RetryPolicy(initial_interval=HOUR / 2))
    port = closed_port()
    reminders = {**ONLY, "requirements": ["PT2H"]}
    policy = {"requirements_window": "PT4H", "reminders": reminders}
    async with environment(tmp_path, f"smtp://127.0.0.1:{port}?starttls=off") as env:
        handle = await held(env.server, policy=policy)
        await skip(env.server, handle, 3 * HOUR)
        if settled:
            await send(handle, Role.CLIENT, "submit_requirements", requirements="A logo.")
        else:
            await skip(env.server, handle, 2 * HOUR)
        async with mail_server(handler := SmtpHandler(), port):
            await skip(env.server, handle, 4 * HOUR)
            await until(handle, lambda _: len(handler.kept) >= 2)
        found = await status(handle)
        lost = [item for item in found.undelivered if item.transition == "reminder"]
        assert [item.role for item in lost] == ([] if settled else ["client"])
        assert "reminder" not in {read(raw).transition for raw in handler.bodies()}
        await handle.terminate("checked")
