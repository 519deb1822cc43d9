"""What `make bench` measures with."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from temporalio.api.enums.v1 import EventType, TimeoutType
from temporalio.api.history.v1 import HistoryEvent

from benchmarks.growth import failed
from benchmarks.peers.noted import Noted, watching
from benchmarks.peers.script import MOVED


async def test_a_note_that_is_seen_while_it_is_written_is_read_when_it_is_whole(
    tmp_path: Path,
) -> None:
    noted = Noted(tmp_path)
    noted.step("p-1", MOVED)
    line = noted.file.read_text()
    second, third = line.replace("p-1", "p-2"), line.replace("p-1", "p-3")
    async with watching(tmp_path) as watched:
        await watched.noted("p-1", MOVED)
        with noted.file.open("a") as file:
            file.write(second + third[:10])
            file.flush()
            await watched.noted("p-2", MOVED)  # the half was seen, too
            file.write(third[10:])
        await watched.noted("p-3", MOVED)


def test_a_task_that_timed_out_counts_from_the_moment_on_from_which_it_is_measured() -> None:
    since = datetime.now(UTC)
    event = HistoryEvent(event_type=EventType.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT)
    event.workflow_task_timed_out_event_attributes.timeout_type = (
        TimeoutType.TIMEOUT_TYPE_START_TO_CLOSE
    )
    event.event_time.FromDatetime(since + timedelta(seconds=1))
    assert failed(event, since)
    event.event_time.FromDatetime(since - timedelta(seconds=1))
    assert not failed(event, since)
