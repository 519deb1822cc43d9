"""Takes the pictures of notices in docs/pictures: `python -m docs.notice_pictures`, and with all
others `make screenshots`."""

import asyncio
from pathlib import Path
from typing import Literal

import structlog
from playwright.async_api import Browser

from docs.browser import browser
from docs.notice_samples import CASTS
from docs.notices import samples

PICTURES = Path(__file__).parent / "pictures"
PHONE, DESKTOP = 375, 1_000
"""Pixels wide."""

Shot = tuple[str, str, str, int, Literal["light", "dark"]]

SHOTS: tuple[Shot, ...] = (
    ("notice-declined", "en-US", "refund_declined-freelancer-client", DESKTOP, "light"),
    ("notice-declined-phone", "de-DE", "refund_declined-freelancer-client", PHONE, "light"),
    ("notice-split-dark", "de-DE", "mutual_split-freelancer-client", PHONE, "dark"),
    ("notice-hostile", "hostile", "claim_accepted-client-client", PHONE, "light"),
)
"""Picture, cast, kind of notice, width and colours."""


async def take(chrome: Browser) -> None:
    """Take all of them."""
    PICTURES.mkdir(exist_ok=True)
    shown = {
        (cast.name, sample.name): sample.rendered.html for cast in CASTS for sample in samples(cast)
    }
    for picture, cast, kind, width, colours in SHOTS:
        page = await chrome.new_page(
            viewport={"width": width, "height": 300}, color_scheme=colours, device_scale_factor=1
        )
        await page.set_content(shown[cast, kind])
        await page.screenshot(path=PICTURES / f"{picture}.png", full_page=True)
        await page.close()


async def main() -> None:
    """Take them in a browser of our own."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    async with browser() as chrome:
        await take(chrome)


if __name__ == "__main__":
    asyncio.run(main())
