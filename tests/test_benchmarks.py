"""The instruments of `make bench` measure what they claim to."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from temporalio.api.enums.v1 import EventType, TimeoutType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from benchmarks import plain
from benchmarks.actions import theirs
from benchmarks.growth import failed
from benchmarks.peers.recorder import Recorder, watching
from benchmarks.peers.script import MOVED
from demo.scenarios import SCENARIOS
from temporal import embedded
from workflows.policy import Policy


async def test_a_partly_written_line_is_read_once_it_is_complete(
    tmp_path: Path,
) -> None:
    """A reader that sees half of a line waits for the rest of it."""
    recorder = Recorder(tmp_path)
    recorder.record("p-1", MOVED)
    line = recorder.file.read_text()
    second, third = line.replace("p-1", "p-2"), line.replace("p-1", "p-3")
    async with watching(tmp_path) as watcher:
        await watcher.time_of("p-1", MOVED)
        with recorder.file.open("a") as file:
            file.write(second + third[:10])
            file.flush()
            await watcher.time_of("p-2", MOVED)  # the reader has also seen the half line
            file.write(third[10:])
        await watcher.time_of("p-3", MOVED)


def test_a_timed_out_task_counts_only_after_the_start_of_the_measurement() -> None:
    since = datetime.now(UTC)
    event = HistoryEvent(event_type=EventType.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT)
    event.workflow_task_timed_out_event_attributes.timeout_type = (
        TimeoutType.TIMEOUT_TYPE_START_TO_CLOSE
    )
    event.event_time.FromDatetime(since + timedelta(seconds=1))
    assert failed(event, since)
    event.event_time.FromDatetime(since - timedelta(seconds=1))
    assert not failed(event, since)


async def test_the_plain_workflow_runs_in_the_sandbox_with_our_windows(
    server: WorkflowEnvironment,
) -> None:
    """The timers of the first reminders: of the requirements, then of the cancel window."""
    scenario = next(each for each in SCENARIOS if each.name == "freelancer_cancels_too_late")
    client = await Client.connect(
        embedded.address(server.client), data_converter=pydantic_data_converter
    )
    workflows, activities = [plain.PlainPurchase], [plain.nothing]
    async with Worker(client, task_queue=plain.QUEUE, workflows=workflows, activities=activities):
        await theirs(server, client, scenario, days=1)
    handle = client.get_workflow_handle(f"plain-{scenario.name}")
    timers = [
        event.timer_started_event_attributes.start_to_fire_timeout.ToTimedelta()
        async for event in handle.fetch_history_events()
        if event.HasField("timer_started_event_attributes")
    ]
    policy = Policy()
    assert timers[0] == policy.requirements_window - policy.reminders.requirements[0]
    assert timers[1] == policy.freelancer_cancel_window - policy.reminders.freelancer_cancel[0]
