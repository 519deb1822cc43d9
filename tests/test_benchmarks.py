"""What `make bench` measures with."""

from pathlib import Path

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
