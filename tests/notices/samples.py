"""What `make notices` shows, made once for all tests; and what is on a page."""

from functools import cache
from html.parser import HTMLParser

from docs.notice_samples import CASTS, Cast
from docs.notices import Sample, samples

PARTIES = ("client", "freelancer")


def cast(name: str) -> Cast:
    """The cast of that name."""
    return next(each for each in CASTS if each.name == name)


@cache
def shown(name: str) -> list[Sample]:
    """Every kind of notice as that cast plays it."""
    return samples(cast(name))


class Page(HTMLParser):
    """The tags, links and text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]

    def handle_data(self, data: str) -> None:
        if self.lasttag != "style":
            self.text += data
