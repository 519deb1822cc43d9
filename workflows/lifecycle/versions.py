"""Which tables a purchase lives under: those it was bought under, until it is closed.

Rules that a purchase may run under are never edited. To change one, add a version that takes the
rows of the version before it, with others in the place of those that change; purchases that begin
from then on live under it. When no open purchase has an old version any more, it may be deleted.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from workflows.lifecycle.deadlines import DEADLINES, DeadlineRule
from workflows.lifecycle.draft import Draft
from workflows.lifecycle.state import DeadlineName, State
from workflows.lifecycle.transitions import RULES, Rule
from workflows.messages import Role


@dataclass(frozen=True)
class Tables:
    """Who may do what, and what silence does."""

    rules: tuple[Rule, ...]
    deadlines: tuple[DeadlineRule, ...]


FIRST = 1
"""What a purchase lives under that names no version."""

VERSIONS: Mapping[int, Tables] = {FIRST: Tables(RULES, DEADLINES)}
"""Every version that an open purchase may have; new purchases get the highest."""


class UnknownVersion(Exception):
    """A purchase has rules that this worker has not. It waits, unharmed, for one that has."""


def newest() -> int:
    """The version for purchases that begin now."""
    return max(VERSIONS)


def tables(state: State) -> Tables:
    """The tables that a purchase was bought under. Raises UnknownVersion with a sentence."""
    version = state.terms.rules_version
    try:
        return VERSIONS[version]
    except KeyError:
        raise UnknownVersion(
            f"This purchase was bought under version {version} of the rules; this worker knows "
            f"{', '.join(map(str, VERSIONS))}. Deploy a worker that has version {version}, too."
        ) from None


def open_rules(draft: Draft, role: Role) -> tuple[Rule, ...]:
    """The rows under which `role` may send something now, whatever the message says."""
    return tuple(
        rule
        for rule in tables(draft.state).rules
        if role in rule.by
        and draft.state.stage in rule.stages
        and (rule.when is None or rule.when.holds(draft))
    )


def deadline_rule(draft: Draft, deadline: DeadlineName) -> DeadlineRule | None:
    """The row that applies when `clock` runs out now."""
    for rule in tables(draft.state).deadlines:
        if (
            rule.deadline is deadline
            and draft.state.stage in rule.stages
            and (rule.on_expiry is None or _chosen(draft, *rule.on_expiry))
            and (rule.when is None or rule.when.holds(draft))
        ):
            return rule
    return None


def _chosen(draft: Draft, choice: str, value: str) -> bool:
    return bool(getattr(draft.state.terms.policy, choice) == value)
