"""What may happen to a purchase, as scripts that can be pasted, and how they are made up."""

from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from activities.payments.sandbox import METHODS
from tests.lifecycle.walk import FIELDS
from workflows.lifecycle.transitions import RULES
from workflows.messages import MESSAGES, Role

LONGEST_SCRIPT = 40


@dataclass(frozen=True)
class Send:
    """Somebody sends a message: as an update or a signal, `twice` under the same message id.
    Names of refunds are without that of the purchase."""

    role: str
    message: str
    fields: dict[str, Any] = field(default_factory=dict)
    signal: bool = False
    twice: bool = False


@dataclass(frozen=True)
class Sleep:
    """Time passes."""

    hours: int


@dataclass(frozen=True)
class Deadline:
    """Time passes until the next deadline, of whatever kind, has taken effect."""


@dataclass(frozen=True)
class CancelWorkflow:
    """An operator presses Request Cancellation."""


@dataclass(frozen=True)
class WorkerReplaced:
    """The worker of all purchases stops wherever they are; another one has to replay them."""


Act = Send | Sleep | Deadline | CancelWorkflow | WorkerReplaced


@dataclass(frozen=True)
class Script:
    """What happens to one purchase, its payment method and what is special about its policy."""

    acts: tuple[Act, ...]
    method: str = "pm_sandbox_ok"
    policy: dict[str, Any] = field(default_factory=dict)
    requirements_needed: bool = True


MAY_SEND = [
    (role.value, name)
    for name in MESSAGES
    for role in Role
    if any(row.message == name and role in row.by for row in RULES)
]
LIKELY = {
    ("client", "submit_requirements"),
    ("client", "cancel"),
    ("client", "withdraw_cancellation"),
    ("client", "open_dispute"),
    ("client", "request_changes"),
    ("freelancer", "decide_refund"),
    ("freelancer", "deliver"),
    ("freelancer", "propose_split"),
}
"""Without these no purchase gets far: they are said more often than those that soon end it."""


def _says(sender: tuple[str, str]) -> st.SearchStrategy[Act]:
    role, message = sender
    return st.builds(
        Send,
        st.just(role),
        st.just(message),
        st.sampled_from([_named(given) for given in FIELDS.get(message, ({},))]),
        signal=st.sampled_from([False, False, True]),
        twice=st.sampled_from([False, False, False, True]),
    )


def _named(given: dict[str, Any]) -> dict[str, Any]:
    refund = given.get("refund_id")
    return {**given, "refund_id": refund.rpartition("/")[2]} if refund else given


RIGHT = st.sampled_from(
    [sender for sender in MAY_SEND for _ in range(6 if sender in LIKELY else 1)]
)
ANYBODY = st.tuples(st.sampled_from([role.value for role in Role]), st.sampled_from(list(MESSAGES)))
ACTS: st.SearchStrategy[Act] = st.one_of(
    *[RIGHT.flatmap(_says)] * 20,
    ANYBODY.flatmap(_says),
    st.builds(Sleep, st.sampled_from([1, 5, 23, 25, 49, 170])),
    *[st.just(Deadline())] * 3,
    st.sampled_from([WorkerReplaced(), CancelWorkflow()]),
)
METHODS_MOSTLY_GOOD = st.one_of(
    st.just("pm_sandbox_ok"), st.sampled_from(sorted(METHODS.keys() - {"pm_sandbox_unreachable"}))
)
"""A provider that is away for days is asked thousands of times: that has scripts of its own."""
POLICIES = st.fixed_dictionaries(
    {},
    optional={
        "refund_decision_silence": st.sampled_from(["resume", "attention"]),
        "claim_silence": st.just("resume"),
        "cancel_before_requirements": st.just("refund"),
        "free_cancel_window": st.just("PT24H"),
    },
)
SCRIPTS = st.builds(
    Script,
    st.sampled_from([0, 12, 25]).flatmap(
        lambda least: st.lists(ACTS, min_size=least, max_size=LONGEST_SCRIPT).map(tuple)
    ),
    METHODS_MOSTLY_GOOD,
    POLICIES,
    st.sampled_from([True, True, False]),
)
