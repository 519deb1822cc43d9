"""The status card that the Web UI shows of a purchase, in Markdown."""

from datetime import datetime, timedelta

from activities.amounts import format_amount
from workflows import lifecycle
from workflows.carried import Carried
from workflows.lifecycle.refuse import IN_WORDS
from workflows.lifecycle.state import Stage, State

EVENTS_SHOWN = 5


def card(memory: Carried) -> str:
    """Stage, whose turn and until when, where the money is, what needs a person, the last events.

    Stays far below the server's limit of 20 KB.
    """
    state = memory.state
    blocks = [f"### {IN_WORDS[state.stage].capitalize()}", _turn(state), _money(state)]
    if found := lifecycle.deadlines(state):
        blocks.append(
            "\n".join(f"- **{item.name}** until {instant(item.at)}: {item.then}" for item in found)
        )
    blocks += [f"> **Needs attention:** {plain(item.text)}" for item in state.attention]
    if memory.rejected:
        last = memory.rejected[-1]
        blocks.append(
            f"**Refused signals:** {memory.rejected_count}, the last {plain(last.name)} "
            f"({last.code}): {plain(last.text)}"
        )
    if memory.undelivered:
        blocks.append(f"**Undelivered notices:** {len(memory.undelivered)}")
    rows = [
        f"| {instant(entry.at)} | {plain(entry.text)} |"
        for entry in reversed(memory.timeline[-EVENTS_SHOWN:])
    ]
    blocks.append("\n".join(["| when | what |", "|---|---|", *rows]))
    return "\n\n".join(blocks)


def _turn(state: State) -> str:
    if state.stage is Stage.CLOSED:
        return f"**Outcome:** {state.outcome} ({state.reason})"
    return f"**Waiting for:** {lifecycle.waiting_for(state)}"


def _money(state: State) -> str:
    places = {
        "held in escrow": state.held,
        "on its way to the client": state.in_transit,
        "refunded": state.refunded,
        "released to the freelancer": state.released,
    }
    shown = [
        f"{format_amount(amount, state.terms.currency)} {where}"
        for where, amount in places.items()
        if amount
    ]
    return f"**Money:** {', '.join(shown) or f'none held (payment {state.payment})'}"


def instant(at: datetime) -> str:
    """A UTC instant as a person reads it."""
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


def span(duration: timedelta) -> str:
    """A window as a person says it: `48 h`, `14 d`, `8 d 4 h`, `90 min`, `20 s`."""
    if duration < timedelta(minutes=1):
        return f"{duration.total_seconds():.0f} s"
    hours, minutes = divmod(round(duration.total_seconds() / 60), 60)
    if minutes and hours < 3:
        return f"{60 * hours + minutes} min"
    if hours <= 72:
        return f"{hours} h"
    days, rest = divmod(hours, 24)
    return f"{days} d {rest} h" if rest else f"{days} d"


def plain(text: str) -> str:
    """Text of theirs as text of ours: no markup, no line breaks, not too long."""
    shown = " ".join(text.split())[:300]
    return "".join(f"\\{char}" if char in "\\`*_{}[]<>()#+!|~" else char for char in shown)
