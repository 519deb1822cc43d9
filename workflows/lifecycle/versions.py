"""The versions of the rules: a purchase keeps the one it was bought under.

Rules that a purchase may run under are never edited. To change one, add a version: the one before
it, with other rows in the place of those that change. If R-30 is to have other words:

    SECOND = RULES_1.with_rows(replace(RULES_1.row("R-30"), text=texts.FREELANCER_CANCELLED_2))
    VERSIONS = {1: RULES_1, 2: SECOND}

A new version is rolled out to every worker before it is activated (`ACTIVE`, or the worker's
setting RECOURSE_RULES_VERSION); purchases that begin from then on live under it. When no open
purchase has an old version any more, delete it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from workflows.lifecycle.deadlines import DEADLINES, DeadlineRule, rule_named
from workflows.lifecycle.draft import Draft
from workflows.lifecycle.events import DeadlineExpired, Event
from workflows.lifecycle.state import DeadlineName, State
from workflows.lifecycle.transition import Transition
from workflows.lifecycle.transitions import START, TRANSITIONS
from workflows.messages import Message, Role


@dataclass(frozen=True)
class Rules:
    """One version: its transitions and its deadlines."""

    transitions: tuple[Transition, ...]
    deadlines: tuple[DeadlineRule, ...]

    @cached_property
    def starts(self) -> tuple[Transition, ...]:
        """The rows with which a purchase begins."""
        return tuple(row for row in self.transitions if row.cause == START)

    @cached_property
    def _by_id(self) -> Mapping[str, Transition]:
        return {row.id: row for row in self.transitions}

    def row(self, row_id: str) -> Transition:
        """The row with this id."""
        return self._by_id[row_id]

    def with_rows(self, *rows: Transition, deadlines: Iterable[DeadlineRule] = ()) -> "Rules":
        """A new version. Rows and deadlines replace those with their id or name; others are added,
        rows in the order of their ids."""
        by_id = {**self._by_id, **{row.id: row for row in rows}}
        by_name = {rule.name: rule for rule in (*self.deadlines, *deadlines)}
        return Rules(tuple(by_id[row_id] for row_id in sorted(by_id)), tuple(by_name.values()))

    @cached_property
    def _by_event(self) -> Mapping[object, tuple[Transition, ...]]:
        """Rows by what may cause them: a message's name, a deadline, the kind of a fact. Each with
        its type: a message and a deadline may have the same name."""
        found: dict[object, list[Transition]] = {}
        for row in self.transitions:
            for key in (row.cause.message or None, row.cause.fact):
                if key:
                    found.setdefault((type(key), key), []).append(row)
        rows = {key: tuple(each) for key, each in found.items()}
        for rule in self.deadlines:
            rows[type(rule.name), rule.name] = tuple(self._by_id[row_id] for row_id in rule.expiry)
        return rows

    def rows(self, key: object) -> tuple[Transition, ...]:
        """The rows for a message's name, a deadline or the kind of a fact, in the table's order."""
        return self._by_event.get((type(key), key), ())

    def deadline(self, name: DeadlineName) -> DeadlineRule:
        """The row of a deadline."""
        return rule_named(self.deadlines, name)

    def row_for(self, draft: Draft) -> Transition | None:
        """The first open row that the draft's event causes."""
        event = draft.event
        if isinstance(event, Message):
            key: object = event.name
        else:
            key = event.deadline if isinstance(event, DeadlineExpired) else type(event)
        rows = (row for row in self.rows(key) if row.cause.matches(event))
        return next((row for row in rows if is_open(row, draft)), None)

    def open_rows(self, draft: Draft, role: Role) -> tuple[Transition, ...]:
        """The rows with a form under which `role` may send something now."""
        return tuple(
            row
            for row in self.transitions
            if row.form and role in row.cause.by and is_open(row, draft)
            if not (row.blocked_while_frozen and draft.state.frozen)
        )


def is_open(row: Transition, draft: Draft) -> bool:
    """Whether the row applies in this stage, and its guard holds."""
    if draft.state.stage not in row.stages:
        return False
    return row.guard is None or row.guard.holds(draft)


FIRST = 1
RULES_1 = Rules(TRANSITIONS, DEADLINES)

VERSIONS: Mapping[int, Rules] = {FIRST: RULES_1}
"""Every version that an open purchase may have."""

ACTIVE = FIRST
"""The version of new purchases, unless the worker is set to another one. Raise it in the release
after the one that brings a version, so that a worker that is rolled back still knows it."""


class UnknownVersion(Exception):
    """A purchase has rules that this worker lacks. It waits, unharmed, for a worker that has
    them."""


def newest() -> int:
    """The newest version that is known, activated or not."""
    return max(VERSIONS)


def newest_rules() -> Rules:
    """The rules of the newest version that this release has."""
    return VERSIONS[newest()]


def rules_of(state: State) -> Rules:
    """The rules that a purchase was bought under. Raises UnknownVersion with a sentence."""
    version = state.terms.rules_version
    try:
        return VERSIONS[version]
    except KeyError:
        raise UnknownVersion(
            f"This purchase was bought under version {version} of the rules; this worker knows "
            f"{', '.join(map(str, VERSIONS))}. Deploy a worker that has version {version}, too."
        ) from None


def draft_of(state: State, event: Event, now: datetime) -> Draft:
    """A draft under the purchase's own version."""
    return Draft(state, event, now, rules_of(state).deadlines)
