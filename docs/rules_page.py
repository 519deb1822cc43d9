"""docs/rules.md: the diagram and the tables of workflows/lifecycle, generated from the code."""

from collections.abc import Iterator
from datetime import timedelta

from activities.formatter import Formatter, TextValues, window_text
from workflows.lifecycle import texts
from workflows.lifecycle.deadlines import BEFORE_REQUEST, OPEN, UNDECIDED, DeadlineRule
from workflows.lifecycle.state import WINDOWS, Code, Stage
from workflows.lifecycle.transition import To, Transition
from workflows.lifecycle.versions import VERSIONS, Rules, newest
from workflows.policy import Policy

REJECTIONS = {
    Code.NOT_ALLOWED_NOW: "The message does not fit the stage; the sentence lists what does.",
    Code.NOT_A_PARTY: "The sender's id is not that of the client or freelancer it speaks as.",
    Code.WRONG_ROLE: "The message is for another role, or a party tries to act as staff.",
    Code.WINDOW_CLOSED: "The freelancer's window to cancel is over; `give_refund` is possible.",
    Code.TOO_LATE: "The refund is declined after the money was decided.",
    Code.ALREADY_REQUESTED: "A refund is requested already; its deadline is not restarted.",
    Code.ALREADY_SETTLED: "The money is decided; the sentence says how, when and by which rule.",
    Code.CANCELLATION_PENDING: "The work waits until the client's cancellation is decided.",
    Code.NO_OFFER: "No split has been offered.",
    Code.FROZEN: "The client's bank has the money; nothing is paid until it has decided.",
    Code.INVALID_AMOUNT: "The amount is not in the range that the escrow or the offer allows.",
    Code.INVALID_MESSAGE: "A field is missing, wrong or unknown, or the `message_id` was used for "
    "another message.",
    Code.UNKNOWN_MESSAGE: "There is no message of that name.",
    Code.CLOSED: "The purchase is closed.",
}

VALUES = (
    "because",
    "attempt",
    "newest",
    "effect",
    "problem",
    "reference",
    "evidence",
    "ours",
    "debt",
    "interval",
)
EITHER = {"other": "the other side", "Other": "The other side"}
"""The other party, of a row that either party may cause."""
ANY, PROJECT = "any_stage", "project"
_GROUPS = {UNDECIDED: ANY, BEFORE_REQUEST: PROJECT}
_GROUP_TEXT = {OPEN: "any stage until closed", UNDECIDED: "any stage before the decision", (): "–"}

Edge = tuple[str, str, str]


# --- the diagram


def diagram(rules: Rules | None = None) -> str:
    """The stages and what leads from one to another; labels of the same way are merged."""
    labels: dict[tuple[str, str], list[str]] = {}
    for row in (rules or VERSIONS[newest()]).transitions:
        for source, target, label in _edges(row):
            labels.setdefault((source, target), []).append(label)
    lines = [
        "stateDiagram-v2",
        f"    {ANY} : any stage before the decision",
        f"    {PROJECT} : {', '.join(BEFORE_REQUEST[:-1])} or {BEFORE_REQUEST[-1]}",
    ]
    for (source, target), found in labels.items():
        shown = "<br/>".join(dict.fromkeys(found))
        lines.append(f"    {source} --> {target} : {shown}")
    return "\n".join([*lines, f"    {Stage.CLOSED} --> [*]"])


def _edges(row: Transition) -> Iterator[Edge]:
    if row.to is To.SAME:
        return
    target = row.to.value if isinstance(row.to, Stage) else PROJECT
    label = f"{_cause(row).replace('`', '')}{'*' if row.guard else ''} {row.id}"
    for source in _sources(row):
        yield source, target, label


def _sources(row: Transition) -> tuple[str, ...]:
    if not row.stages:
        return ("[*]",)
    if row.stages in _GROUPS or row.stages == OPEN:
        return (_GROUPS.get(row.stages, ANY),)
    return row.stages


# --- the tables


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A table of Markdown."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in lines)


def _cause(row: Transition) -> str:
    cause = row.cause
    if cause.message:
        name = f"{cause.message} {cause.choice}".rstrip()
        provider = "; or the provider's answer" if cause.fact else ""
        return f"{' or '.join(cause.by)} `{name}`{provider}"
    if cause.deadline:
        return f"`{cause.deadline}` deadline ends"
    fact = f"{_spaced(cause.fact.__name__)} {cause.choice}".rstrip() if cause.fact else ""
    return fact or "the purchase"


def _spaced(name: str) -> str:
    return "".join(f" {char.lower()}" if char.isupper() else char for char in name).strip()


def _to(row: Transition) -> str:
    return f"`{row.to}`" if isinstance(row.to, Stage) else row.to.value


def _shown(text: str) -> str:
    """A text about any purchase: roles for names, the defaults for windows, names of amounts."""
    names = (
        *("claim", "rest", "refund", "release", "offer_refund", "offer_release", "escrow"),
        *("disputed", "elsewhere"),
    )
    formatter = Formatter("the client", "the freelancer", lambda minor: f"‹{names[minor - 1]}›")
    given = TextValues(
        "client",
        {name: number for number, name in enumerate(names, 1)},
        {field: getattr(Policy(), field) for field in WINDOWS},
        {name: f"‹{name}›" for name in VALUES} | EITHER,
    )
    return formatter.format(text, given)


def transitions(rules: Rules) -> str:
    """Everything that can happen."""
    return table(
        ("id", "transition", "cause", "while", "if", "leads to", "notifies", "rule", "source"),
        [
            (
                row.id,
                row.name,
                _cause(row),
                _GROUP_TEXT.get(row.stages) or ", ".join(row.stages),
                row.guard.description if row.guard else "",
                _to(row),
                ", ".join(row.notify) or "–",
                _shown(row.text.explanation),
                row.source,
            )
            for row in rules.transitions
        ],
    )


def deadlines(rules: Rules) -> str:
    """Every deadline, and what happens at its end."""
    ends = {row.id: row for row in rules.transitions}
    return table(
        ("deadline", "policy, default", "starts", "while", "waiting for", "at its end"),
        [
            (
                rule.name.value,
                f"`{rule.window}`, {_window(rule)}",
                rule.starts,
                _GROUP_TEXT.get(rule.stages) or ", ".join(rule.stages),
                rule.waiting_for,
                "; ".join(f"{_shown(ends[each].text.expiry)} ({each})" for each in rule.expiry),
            )
            for rule in rules.deadlines
        ],
    )


def _window(rule: DeadlineRule) -> str:
    value: timedelta | int = getattr(Policy(), rule.window)
    return window_text(value)


def choices() -> str:
    """The rest of the policy."""
    defaults = Policy().model_dump(mode="json")
    shown = [name for name in defaults if name not in WINDOWS and name != "reminders"]
    shown += ["free_cancel_window", "aftercare_window"]
    return table(("policy", "default"), [(f"`{name}`", f"`{defaults[name]}`") for name in shown])


def rejections() -> str:
    """Why a message may be rejected, and what its sender reads."""
    return table(
        ("code", "means", "its sender reads"),
        [(f"`{code}`", REJECTIONS[code], _shown(texts.WHY_REJECTED[code.value])) for code in Code],
    )


def page() -> str:
    """All of docs/rules.md."""
    return f"""# The rules

Generated by `make docs` from `workflows/lifecycle/`; do not edit. Sources: A = the article that
clients read, U = the marketplace's other published rules, O = our choice. Windows are shown with
their defaults; each purchase has its own. A purchase keeps the version of the rules that it was
bought under: {_versions()}.
{"".join(_version(number) for number in sorted(VERSIONS, reverse=True))}
## Other choices of the policy

{choices()}

## Rejections

Every other message is rejected, with a code and a sentence that says what could be done instead.

{rejections()}
"""


def _versions() -> str:
    listed = ", ".join(str(number) for number in sorted(VERSIONS))
    return f"there {'is version' if len(VERSIONS) == 1 else 'are versions'} {listed}"


def _version(number: int) -> str:
    rules = VERSIONS[number]
    messages = {row.cause.message for row in rules.transitions if row.cause.message}
    return f"""
## Version {number}: stages

```mermaid
{diagram(rules)}
```

An asterisk marks what is possible under a condition only; the table names it. There are \
{len(messages)} messages.

## Version {number}: transitions

Several rows may have the same cause. The first one applies whose stage and condition (`if`) fit.

{transitions(rules)}

## Version {number}: deadlines

{deadlines(rules)}
"""
