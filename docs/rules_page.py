"""docs/rules.md: the diagram and the tables of workflows/lifecycle, as the code has them."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from activities.notices.formats import window
from workflows.lifecycle import decide
from workflows.lifecycle.deadlines import DeadlineRule
from workflows.lifecycle.state import (
    Accepted,
    Code,
    DeadlineExpired,
    DeadlineName,
    Payment,
    Person,
    Stage,
    State,
    Terms,
)
from workflows.lifecycle.transitions import BEFORE_REQUEST, OPEN, WITH_ESCROW, Rule
from workflows.lifecycle.versions import VERSIONS, newest
from workflows.messages import MESSAGES
from workflows.policy import Policy

RULES, DEADLINES = VERSIONS[newest()].rules, VERSIONS[newest()].deadlines
"""What a purchase that begins now lives under."""

REFUSALS = {
    Code.NOT_ALLOWED_NOW: "The message does not fit the stage; the sentence lists what does.",
    Code.NOT_A_PARTY: "The sender's id is not that of the client or freelancer it speaks as.",
    Code.WRONG_ROLE: "The message is for another role, or a party tries to act as staff.",
    Code.WINDOW_CLOSED: "The freelancer's window to cancel is over; `give_refund` is still there.",
    Code.TOO_LATE: "The refund is declined after the money was decided.",
    Code.ALREADY_REQUESTED: "The client has cancelled already; the clock is not restarted.",
    Code.ALREADY_SETTLED: "The money is decided; the sentence says how, when and by which rule.",
    Code.CANCELLATION_PENDING: "The work waits until the client's cancellation is decided.",
    Code.NO_OFFER: "No split has been offered.",
    Code.INVALID_AMOUNT: "The amount is not in the range that the escrow or the offer allows.",
    Code.INVALID_MESSAGE: "A field is missing, wrong or unknown.",
    Code.UNKNOWN_MESSAGE: "There is no message of that name.",
    Code.CLOSED: "The purchase is closed.",
}

ANY, PROJECT = "any_stage", "project"
_GROUPS = {WITH_ESCROW: ANY, BEFORE_REQUEST: PROJECT}
_GROUP_WORDS = {
    OPEN: "any stage until closed",
    WITH_ESCROW: "any stage with escrow",
}

Edge = tuple[str, str, str]

_OF_THE_MONEY: tuple[Edge, ...] = (
    ("[*]", Stage.AWAITING_REQUIREMENTS, "purchase"),
    ("[*]", Stage.FREELANCER_REVIEW, "purchase without requirements"),
    (ANY, Stage.SETTLING, "operator cancels the workflow"),
    (ANY, Stage.CLOSED, "payment declined or called off"),
    (Stage.SETTLING, Stage.CLOSED, "the money has arrived, or was never paid"),
    (Stage.CLOSED, "[*]", ""),
)
"""What is no row of a table: the answers about the money itself."""


# --- the diagram


def diagram() -> str:
    """The stages and what leads from one to the other, labels of the same way merged."""
    labels: dict[tuple[str, str], list[str]] = {}
    for source, target, label in (*_OF_THE_MONEY, *_message_edges(), *_deadline_edges()):
        labels.setdefault((source, target), []).append(label)
    lines = [
        "stateDiagram-v2",
        f"    {ANY} : any stage with escrow",
        f"    {PROJECT} : {', '.join(BEFORE_REQUEST[:-1])} or {BEFORE_REQUEST[-1]}",
    ]
    for (source, target), found in labels.items():
        said = "<br/>".join(label for label in dict.fromkeys(found) if label)
        lines.append(f"    {source} --> {target}" + (f" : {said}" if said else ""))
    return "\n".join(lines)


def _message_edges() -> Iterator[Edge]:
    for row in RULES:
        label = f"{' or '.join(row.by)} {_message(row)}{'*' if row.when else ''}"
        for source in _sources(row.stages):
            for target in _targets(row):
                yield source, target, label


def _deadline_edges() -> Iterator[Edge]:
    for row in DEADLINES:
        policy = f" ({row.on_expiry[1]})" if row.on_expiry else ""
        moved = tuple(stage for stage in row.stages if row.becomes and _moves(row, stage))
        for source in _sources(moved):
            for target in _targets(row):
                yield source, target, f"{row.deadline}_window ends{policy}"


def _sources(stages: tuple[Stage, ...]) -> tuple[str, ...]:
    return (_GROUPS[stages],) if stages in _GROUPS else stages


def _targets(row: Rule | DeadlineRule) -> tuple[str, ...]:
    return _sources(row.becomes)


def _moves(row: DeadlineRule, stage: Stage) -> bool:
    """Whether the deadline leads out of that stage: asked of the rules themselves."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    choice = dict([row.on_expiry]) if row.on_expiry else {}
    person = Person("id", "name")
    policy = Policy.model_validate(choice)
    terms = Terms("key", person, person, 1, "USD", now, policy=policy, rules_version=newest())
    state = State(terms, stage, {row.deadline: now}, Payment.HELD, left=Stage.IN_PROGRESS)
    answer = decide(state, DeadlineExpired(row.deadline), now)
    assert isinstance(answer, Accepted)
    return answer.state.stage is not stage


# --- the tables


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A table of Markdown."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in lines)


def _message(row: Rule) -> str:
    return f"{row.message} {row.choice}" if row.choice else row.message


def _stages(stages: tuple[Stage, ...]) -> str:
    return _GROUP_WORDS.get(stages) or ", ".join(stages)


def _becomes(row: Rule | DeadlineRule) -> str:
    if row.becomes == BEFORE_REQUEST:
        return "back to the stage it left"
    return ", ".join(f"`{stage}`" for stage in row.becomes) or "the stage stays"


def messages() -> str:
    """Who may do what."""
    return table(
        ("message", "by", "while", "if", "what follows", "rule", "mark"),
        [
            (
                f"`{_message(row)}`",
                " or ".join(row.by),
                _stages(row.stages),
                row.when.words if row.when else "",
                f"{_becomes(row)}: {row.transition}",
                row.rule,
                row.mark,
            )
            for row in RULES
        ],
    )


def windows() -> str:
    """What silence does."""
    return table(
        ("clock", "policy", "starts", "while", "at its end", "then", "mark"),
        [
            (
                row.deadline.value,
                _window(row.deadline),
                row.starts,
                _stages(row.stages),
                row.warns + _choice(row),
                f"{_becomes(row)}: {row.transition}",
                row.mark,
            )
            for row in DEADLINES
        ],
    )


def _window(deadline: DeadlineName) -> str:
    name = f"{deadline}_window"
    value = getattr(Policy(), name)
    return (
        f"`{name}`, {window(value) if isinstance(value, timedelta) else f'{value} business days'}"
    )


def _choice(row: DeadlineRule) -> str:
    words = [row.when.words] if row.when else []
    if not row.on_expiry and any(r.on_expiry for r in DEADLINES if r.deadline is row.deadline):
        words.append("in any other case")
    if row.on_expiry:
        name, value = row.on_expiry
        default = ", the default" if getattr(Policy(), name) == value else ""
        words.insert(0, f"`{name}`: `{value}`{default}")
    return f" ({'; '.join(words)})" if words else ""


def choices() -> str:
    """The rest of the policy."""
    defaults = Policy().model_dump(mode="json")
    shown = [
        name
        for name in defaults
        if not any(name == f"{deadline}_window" for deadline in DeadlineName)
    ]
    return table(
        ("policy", "default"),
        [(f"`{name}`", f"`{defaults[name]}`") for name in shown if name != "reminders"],
    )


def rejections() -> str:
    """Why a message may be refused."""
    return table(("code", "means"), [(f"`{code}`", REFUSALS[code]) for code in Code])


def page() -> str:
    """All of docs/rules.md."""
    return f"""# The rules, as the code has them

Generated by `make docs` from `workflows/lifecycle/transitions.py` and `deadlines.py`; do not edit.
Marks: A = the article that clients read, U = the marketplace's other published rules, O = our
choice. There are {len(MESSAGES)} messages, {len(RULES)} rows for them and {len(DEADLINES)} for \
silence. This is version {newest()}: a purchase keeps the version that it was bought under.

## Stages

```mermaid
{diagram()}
```

An asterisk marks what is possible under a condition only; the table names it.

## Who may do what

{messages()}

An operator may also cancel the workflow itself, in any stage with escrow: the client gets a full
refund, `cancelled_by_platform`. Everything else is refused.

## What silence does

{windows()}

## Other choices of the policy

{choices()}

## Refusals

Each comes with a sentence that says what could be done instead.

{rejections()}
"""
