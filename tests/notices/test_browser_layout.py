"""The layout of every sample notice, measured in Chromium."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from playwright.async_api import Page

from activities.notices.render import render_alert
from docs.browser import browser
from docs.notice_samples import SAMPLE_PARTIES
from docs.notices import ALERT
from tests.notices.sample_notices import samples_of

pytestmark = pytest.mark.browser

PHONE, DESKTOP = 360, 1_000
"""Widths in pixels: a small phone, and a window on a desktop."""

TOO_WIDE = """() => {
    const width = document.documentElement.clientWidth;
    const over = [...document.body.querySelectorAll("*")]
        .filter(one => one.getBoundingClientRect().right > width + 0.5)
        .map(one => one.outerHTML.slice(0, 200));
    return document.documentElement.scrollWidth > width ? ["the page", ...over] : over;
}"""
"""Returns the elements that reach beyond the right edge."""

CONTRAST_AND_SIZE = """() => {
    const channel = value => value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
    const numbers = colour => colour.match(/[\\d.]+/g).map(Number);
    const light = colour => {
        const [r, g, b] = numbers(colour).map(value => channel(value / 255));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = one => {
        for (; one; one = one.parentElement) {
            const colour = getComputedStyle(one).backgroundColor;
            if (numbers(colour)[3] !== 0) return colour;
        }
        return "rgb(255, 255, 255)";
    };
    const found = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const one = walker.currentNode.parentElement;
        if (!walker.currentNode.data.trim() || !one.getClientRects().length) continue;
        const style = getComputedStyle(one);
        const [a, b] = [light(style.color), light(behind(one))].sort((x, y) => y - x);
        found.push({
            text: walker.currentNode.data.trim().slice(0, 60),
            contrast: (a + 0.05) / (b + 0.05),
            size: parseFloat(style.fontSize),
        });
    }
    return found;
}"""
"""Returns contrast (WCAG 2) and size of every visible text."""


@pytest.fixture(scope="module")
async def page() -> AsyncIterator[Page]:
    """A browser window without network."""
    async with browser() as chrome:
        context = await chrome.new_context()
        await context.set_offline(True)
        yield await context.new_page()


def pages(name: str) -> list[tuple[str, str]]:
    """Every sample of a pair of parties, and an alert."""
    samples = [(sample.name, sample.rendered.html) for sample in samples_of(name)]
    return [*samples, ("alert", render_alert(ALERT).html)]


@pytest.mark.parametrize("width", [PHONE, DESKTOP])
@pytest.mark.parametrize("name", [parties.name for parties in SAMPLE_PARTIES])
async def test_nothing_overflows(page: Page, name: str, width: int) -> None:
    """No notice needs horizontal scrolling, with hostile names either."""
    await page.set_viewport_size({"width": width, "height": 700})
    for kind, html in pages(name):
        await page.set_content(html)
        over: list[str] = await page.evaluate(TOO_WIDE)
        assert not over, f"{kind} at {width} px: {over[:3]}"


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_everything_can_be_read(page: Page, scheme: Any) -> None:
    """Contrast of at least 4.5:1 (WCAG AA), light and dark, and no text smaller than 13 px."""
    await page.emulate_media(color_scheme=scheme)
    background = set()
    for name in ("en-US", "de-DE"):
        for kind, html in pages(name):
            await page.set_content(html)
            background.add(await page.evaluate("getComputedStyle(document.body).backgroundColor"))
            for text in await page.evaluate(CONTRAST_AND_SIZE):
                assert text["contrast"] >= 4.5, (kind, text)
                assert text["size"] >= 13, (kind, text)
    assert background == {"rgb(255, 255, 255)" if scheme == "light" else "rgb(23, 25, 29)"}


async def test_rows_are_stacked_on_a_phone(page: Page) -> None:
    """The amount is above its source and target on a phone, and beside them on a desktop."""
    html = dict(pages("hostile"))["claim_accepted-client-client"]
    for width, stacked in ((PHONE, True), (DESKTOP, False)):
        await page.set_viewport_size({"width": width, "height": 700})
        await page.set_content(html)
        cells = [
            await cell.bounding_box() for cell in await page.locator("tr:first-of-type td").all()
        ]
        amount, route = cells[:2]
        assert amount is not None
        assert route is not None
        assert (route["y"] >= amount["y"] + amount["height"] - 1) is stacked


async def test_the_button_is_big_enough_for_a_thumb(page: Page) -> None:
    """44 px at least."""
    await page.set_viewport_size({"width": PHONE, "height": 700})
    await page.set_content(dict(pages("en-US"))["refund_declined-freelancer-client"])
    button = await page.get_by_role("link", name="See the purchase").bounding_box()
    assert button is not None
    assert button["height"] >= 44


async def test_the_preview_line_is_hidden_on_the_page(page: Page) -> None:
    """Lists of mails show it: what happened, and the next deadline."""
    await page.set_content(dict(pages("en-US"))["refund_declined-freelancer-client"])
    preview = page.locator("body > div").first
    assert not await preview.is_visible()
    text = await preview.text_content() or ""
    assert text.startswith("Bo declined the refund and claimed $100.00")
    assert "Bo's time to cancel ends: Thursday, March 5, 2026" in text
