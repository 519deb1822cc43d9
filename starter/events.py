"""`events`: which events other systems have not got, and how to send them again."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Literal

import typer
from rich.console import Group, RenderableType

from activities.fields import UtcDatetime
from activities.notices.log import DeliveryLog, Notice
from activities.requests import Model
from activities.services import Settings, WrongSetting, event_delivery
from starter import show
from starter.database import check_known, count, opened
from starter.exits import ExitStatus, command
from starter.options import SHOWN, Json, Limit, read_purchase
from workflows.card import instant

Only = Annotated[
    str | None, typer.Argument(metavar="PURCHASE", help="Only of this purchase, by its id.")
]
Resend = Annotated[
    bool, typer.Option("--resend", help="Send again those that were given up, the oldest first.")
]


class Unsent(Model):
    """The events of one purchase that one consumer has not got. `waiting`: they are retried by
    themselves; `given_up`: only --resend sends them. `since`: when the oldest of them happened;
    `why`: the newest error."""

    purchase_id: str
    consumer: str
    state: Literal["waiting", "given_up"]
    events: int
    since: UtcDatetime
    why: str


@command
async def events(
    purchase_id: Only = None, resend: Resend = False, limit: Limit = SHOWN, as_json: Json = False
) -> int:
    """List the events that other systems have not got; with --resend, send them again.

    Events wait while a consumer does not answer, and are retried. They are given up when it rejects
    them, or does not answer for three days: only these are sent again.
    """
    only = read_purchase(purchase_id) if purchase_id else None
    with opened() as engine:
        if only:
            check_known(engine, only)
        log = DeliveryLog(engine)
        unsent = log.unsent_events(datetime.now(UTC), only)
        waiting = [each for each in unsent if each.status == "pending"]
        found: Sequence[Notice] = [each for each in unsent if each.status != "pending"]
        left = found
        if resend and found:
            delivery = event_delivery(Settings.from_environment())
            if delivery is None:
                raise WrongSetting("RECOURSE_EVENTS_URL is not set: it says where events go.")
            with show.progress() as report:
                left = await delivery(log).resend(found, report)
    listed = [*_listed(left, "given_up"), *_listed(waiting, "waiting")]
    sentences = [*_given_up(len(found), len(left), resend), *_waits(len(waiting))]
    show.answer(listed, _shown(listed, sentences, limit), as_json=as_json)
    return ExitStatus.REJECTED if resend and left else 0


def _listed(found: Sequence[Notice], state: Literal["waiting", "given_up"]) -> list[Unsent]:
    streams: dict[tuple[str, str], list[Notice]] = {}
    for each in found:
        streams.setdefault((each.purchase_id, each.channel), []).append(each)
    return [
        Unsent(
            purchase_id=of,
            consumer=to,
            state=state,
            events=len(events),
            since=min(each.at for each in events),
            why=next((each.last_error for each in reversed(events) if each.last_error), ""),
        )
        for (of, to), events in streams.items()
    ]


def _given_up(found: int, left: int, resend: bool) -> list[str]:
    if not found:
        return []
    if not resend:
        return [f"{count(left, 'event')} {_were(left)} given up; --resend sends them again."]
    rest = f"; {left} {_were(left)} not" if left else ""
    return [f"{found - left} of {count(found, 'event')} {_were(found)} sent{rest}."]


def _waits(waiting: int) -> list[str]:
    if not waiting:
        return []
    verbs = "waits for a consumer and is" if waiting == 1 else "wait for a consumer and are"
    return [f"{count(waiting, 'event')} {verbs} retried."]


def _were(number: int) -> str:
    return "was" if number == 1 else "were"


def _shown(listed: Sequence[Unsent], sentences: Sequence[str], limit: int) -> RenderableType:
    blocks: list[RenderableType] = [*map(show.prose, sentences or ["Every event was delivered."])]
    if listed:
        rows = (
            (
                it.purchase_id,
                it.consumer,
                it.state.replace("_", " "),
                str(it.events),
                instant(it.since),
                it.why,
            )
            for it in listed[:limit]
        )
        columns = ("purchase", "consumer", "state", "events", "since", "last error")
        blocks.append(show.table("", columns, rows))
    return Group(*blocks, *show.more(len(listed), limit))
