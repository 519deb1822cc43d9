"""Texts about a purchase in the third person: for the timeline, the card and the timers."""

from collections.abc import Mapping
from datetime import datetime

from activities.formatter import Formatter, TextValues, capitalized
from activities.sanitize import isolated
from workflows.lifecycle.deadlines import DeadlineRule
from workflows.lifecycle.state import State
from workflows.lifecycle.texts import Text

NOBODY: Mapping[str, str] = {}


def text_values(
    state: State, actor: str = TextValues.actor, values: Mapping[str, str] = NOBODY
) -> TextValues:
    """What texts can say of this purchase now."""
    return TextValues(actor, state.amounts, state.windows, values)


def third_person(state: State) -> Formatter:
    """Writes with the parties' names, which cannot reorder the text around them."""
    terms = state.terms
    client, freelancer = isolated(terms.client.name), isolated(terms.freelancer.name)
    return Formatter(client, freelancer, terms.format_amount)


def by_role(state: State) -> Formatter:
    """Writes "the client" and "the freelancer": for what Temporal stores and lists."""
    return Formatter("the client", "the freelancer", state.terms.format_amount)


def expiry_text(state: State, text: Text) -> str:
    """What happens when a deadline ends, as the end of a sentence."""
    return by_role(state).format(text.expiry, text_values(state))


def label_text(state: State, rule: DeadlineRule) -> str:
    """What is due, as the start of a sentence."""
    return capitalized(by_role(state).format(rule.label, text_values(state)))


def instant(at: datetime) -> str:
    """An instant in rejections: UTC, to the second."""
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")
