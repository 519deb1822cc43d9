"""Takes the pictures of notices in docs/pictures: `python -m docs.notice_pictures`, or `make
screenshots` with all other pictures."""

import asyncio
from pathlib import Path
from typing import Literal

import structlog
from playwright.async_api import Browser

from docs.browser import browser
from docs.notice_samples import SAMPLE_PARTIES
from docs.notices import samples

PICTURES = Path(__file__).parent / "pictures"
PHONE, DESKTOP = 375, 1_000
"""Pixels wide."""

Shot = tuple[str, str, str, int, Literal["light", "dark"]]

SHOTS: tuple[Shot, ...] = (
    ("notice-declined", "en-US", "refund_declined-freelancer-client", DESKTOP, "light"),
    ("notice-declined-phone", "de-DE", "refund_declined-freelancer-client", PHONE, "light"),
    ("notice-split-dark", "pt-PT", "mutual_split-freelancer-client", PHONE, "dark"),
    ("notice-hostile", "hostile", "claim_accepted-client-client", PHONE, "light"),
)
"""Picture, parties, name of the sample, width and colour scheme."""


async def take(chrome: Browser) -> None:
    """Take all pictures."""
    PICTURES.mkdir(exist_ok=True)
    shown = {
        (parties.name, sample.name): sample.rendered.html
        for parties in SAMPLE_PARTIES
        for sample in samples(parties)
    }
    for picture, parties, kind, width, colours in SHOTS:
        page = await chrome.new_page(
            viewport={"width": width, "height": 300}, color_scheme=colours, device_scale_factor=1
        )
        await page.set_content(shown[parties, kind])
        await page.screenshot(path=PICTURES / f"{picture}.png", full_page=True)
        await page.close()


async def main() -> None:
    """Start a browser and take all pictures."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    async with browser() as chrome:
        await take(chrome)


if __name__ == "__main__":
    asyncio.run(main())
