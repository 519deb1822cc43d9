"""`bounces`: reads reports of mail that came back, and shows these notices as undelivered."""

import asyncio
from pathlib import Path
from typing import Annotated

import structlog
import typer
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from activities.keys import workflow_id_of
from activities.notices.bounces import LARGEST_REPORT, Bounce, parse_bounce
from activities.notices.log import DeliveryLog, Notice
from activities.requests import NOTICE_CAME_BACK, Undelivered
from starter.database import opened
from starter.exits import command
from temporal.client import connect
from temporal.errors import InvalidInput

EVERY = 10
"""Seconds between two readings of the mailbox."""

Folder = Annotated[
    Path, typer.Argument(metavar="MAILDIR", help="Where mail to the sender of notices arrives.")
]
Once = Annotated[bool, typer.Option("--once", help="Read what is there, and exit.")]

log = structlog.get_logger()


@command
async def bounces(folder: Folder, once: Once = False) -> None:
    """Read reports of mail that came back from a Maildir, again and again. Ends on Ctrl-C."""
    if not (folder / "new").is_dir():
        raise InvalidInput(f"{folder} is not a Maildir: it has no folder named new.")
    client = await connect()
    with opened() as engine:
        deliveries = DeliveryLog(engine)
        while True:
            if found := await collect(folder, deliveries, client):
                log.info("notices_came_back", count=found)
            if once:
                return
            await asyncio.sleep(EVERY)


async def collect(folder: Path, deliveries: DeliveryLog, client: Client) -> int:
    """Report each new bounce in a Maildir to its purchase and to the log; return how many notices
    came back. A mail is marked as seen after that, so a crash loses none."""
    found = 0
    for file in sorted((folder / "new").iterdir()):
        too_large = file.stat().st_size > LARGEST_REPORT
        bounce = None if too_large else parse_bounce(file.read_bytes())
        if bounce and (notice := _notice_of(bounce, deliveries)):
            await _report(client, notice, bounce.why)
            await asyncio.to_thread(deliveries.record_bounce, notice.message_id, bounce.why)
            found += 1
        file.rename(folder / "cur" / f"{file.name}:2,S")
    return found


def _notice_of(bounce: Bounce, deliveries: DeliveryLog) -> Notice | None:
    """The notice that came back. Anybody can write such a report, so it must have the Message-ID
    and the address of the notice. It can only make a notice undelivered."""
    notice = deliveries.sent(bounce.message_id)
    if notice and notice.address.casefold() == bounce.address.casefold():
        return notice
    return None


async def _report(client: Client, notice: Notice, why: str) -> None:
    lost = Undelivered(
        transition=notice.transition,
        role=notice.role,
        channel=notice.channel,
        at=notice.at,
        why=why,
    )
    try:
        handle = client.get_workflow_handle(workflow_id_of(notice.purchase_id))
        await handle.signal(NOTICE_CAME_BACK, lost)
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:  # it is closed: only the log shows it
            raise
