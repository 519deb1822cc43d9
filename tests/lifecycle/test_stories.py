"""What happens to a purchase, event by event, and what follows: state, effects and notices.

Each story of the modules `…_stories.py` has its record in `stories/`. After a
change of the rules, `python -m tests.lifecycle.test_stories` writes the records anew; read the
difference.
"""

from pathlib import Path

import pytest

from tests.lifecycle import aftercare_stories, purchase_stories, work_stories
from tests.lifecycle.recorded import STORIES

assert aftercare_stories
assert purchase_stories
assert work_stories

RECORDS = Path(__file__).parent / "stories"


@pytest.mark.parametrize("name", STORIES)
def test_the_story_goes_as_recorded(name: str) -> None:
    """R-03 to R-98: state, effects and notices after each event."""
    assert STORIES[name]().record == (RECORDS / f"{name}.txt").read_text(encoding="utf-8")


def test_every_record_has_its_story() -> None:
    """A record without a story proves nothing."""
    assert {file.stem for file in RECORDS.iterdir()} == set(STORIES)


if __name__ == "__main__":
    for title, tell in STORIES.items():
        (RECORDS / f"{title}.txt").write_text(tell().record, encoding="utf-8")
