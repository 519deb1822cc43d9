"""The instruments of `make bench` measure what they claim to."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from temporalio.api.enums.v1 import EventType, TimeoutType
from temporalio.api.history.v1 import HistoryEvent

from benchmarks.growth import failed
from benchmarks.peers.recorder import Recorder, watching
from benchmarks.peers.script import MOVED


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
