"""Somebody with a browser that has no JavaScript: opens pages, fills in forms and sends them."""

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from html.parser import HTMLParser
from urllib.parse import urljoin

import requests

from activities.links import LinkKeys, Person, from_now, link
from demo.runner import Handle
from tests.purchases import purchase_of
from tests.workroom.callers import SECRET

KEYS = LinkKeys.parse(f"k2:{SECRET}-2,k1:{SECRET}")

About = Handle | str | None
"""A purchase, or its id; None: all of the person's."""


def link_of(url: str, role: str, person: str, about: About = None, form: str = "") -> str:
    """A person's link, valid for a day."""
    purchase_id = about if about is None or isinstance(about, str) else purchase_of(about)
    until = from_now(timedelta(days=1))
    return link(KEYS, url, Person(role, person), until, purchase_id, form)


@dataclass
class HtmlForm:
    """A form of a page: where it goes, and the fields that it begins with."""

    action: str
    fields: dict[str, str] = field(default_factory=dict)


class Html(HTMLParser):
    """The forms, links and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.forms: list[HtmlForm] = []
        self.links: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self._area = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Remember what a browser would act on."""
        found = {name: value or "" for name, value in attrs}
        self.tags.append(tag)
        if tag == "form":
            self.forms.append(HtmlForm(found["action"]))
        elif tag == "a":
            self.links.append(found["href"])
        elif tag in ("input", "textarea") and found.get("type") != "radio":
            self.forms[-1].fields[found["name"]] = found.get("value", "")
            self._area = found["name"] if tag == "textarea" else ""

    def handle_endtag(self, tag: str) -> None:
        """The end of a text area is the end of its value."""
        if tag == "textarea":
            self._area = ""

    def handle_data(self, data: str) -> None:
        """The text that is shown, or that a text area begins with."""
        if not self._area:
            self.text += data
        else:
            self.forms[-1].fields[self._area] += data.removeprefix("\n")


@dataclass
class Visitor:
    """A browser at `url` with cookies of its own, and the page that it shows."""

    url: str
    browser: requests.Session = field(default_factory=requests.Session)
    page: requests.Response = field(default_factory=requests.Response)

    @property
    def html(self) -> Html:
        """The page as it is parsed."""
        return Html(self.page.text)

    @property
    def text(self) -> str:
        """The words of the page, in one line."""
        return " ".join(self.html.text.split())

    async def open(self, path: str) -> "Visitor":
        """Go to a path, or follow a whole link."""
        return await self._go("GET", urljoin(self.url, path))

    async def sign_in(self, role: str, person: str, about: About, form: str = "") -> None:
        """Follow a link of this person."""
        await self.open(link_of(self.url, role, person, about, form))

    async def send(self, **typed: str) -> "Visitor":
        """Fill in the page's last form and send it."""
        form = self.html.forms[-1]
        return await self.post(form.action, {**form.fields, **typed})

    async def press(self, action: str, **typed: str) -> "Visitor":
        """Send the page's first form that goes to this path."""
        form = next(each for each in self.html.forms if each.action == action)
        return await self.post(form.action, {**form.fields, **typed})

    async def post(self, path: str, fields: dict[str, str], *, follow: bool = True) -> "Visitor":
        """Send these very fields, and follow a redirect."""
        return await self._go("POST", urljoin(self.url, path), fields, follow=follow)

    async def _go(
        self, method: str, url: str, data: dict[str, str] | None = None, *, follow: bool = True
    ) -> "Visitor":
        self.page = await asyncio.to_thread(
            self.browser.request, method, url, data=data, timeout=30, allow_redirects=follow
        )
        return self


async def signed_in(
    url: str, role: str, person: str, about: About = None, form: str = ""
) -> Visitor:
    """Somebody who has opened a link."""
    visitor = Visitor(url)
    await visitor.sign_in(role, person, about, form)
    return visitor
