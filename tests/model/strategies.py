"""Scripts of what may happen to a purchase, and the Hypothesis strategies that generate them."""

from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from activities.payments.sandbox_events import WITH_AMOUNT, SandboxEvent
from activities.payments.sandbox_methods import METHODS
from tests.lifecycle.walk import FIELDS
from workflows.lifecycle import newest_rules
from workflows.messages import MESSAGES, Role

MAX_STEPS = 40


@dataclass(frozen=True)
class Send:
    """A message, sent as an update or a signal, or with `twice` a second time under the same
    message id. Refund ids are written without the workflow id."""

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
    """Time passes until the next deadline has taken effect."""


@dataclass(frozen=True)
class Happens:
    """Something happens to the payment at the provider, and the purchase is asked to look."""

    event: SandboxEvent
    amount: int | None = None


@dataclass(frozen=True)
class CancelWorkflow:
    """An operator presses Request Cancellation."""


@dataclass(frozen=True)
class WorkerReplaced:
    """The worker of all purchases is stopped; another one has to replay them."""


Step = Send | Sleep | Deadline | Happens | CancelWorkflow | WorkerReplaced


@dataclass(frozen=True)
class Script:
    """The steps of one purchase, its payment method and the policy fields that are not default."""

    steps: tuple[Step, ...]
    method: str = "pm_sandbox_ok"
    policy: dict[str, Any] = field(default_factory=dict)
    requirements_needed: bool = True


ALLOWED_SENDERS = [
    (role.value, name)
    for name in MESSAGES
    for role in Role
    if any(row.cause.message == name and role in row.cause.by for row in newest_rules().transitions)
]
FREQUENT = {
    ("client", "submit_requirements"),
    ("client", "cancel"),
    ("client", "withdraw_cancellation"),
    ("client", "open_dispute"),
    ("client", "request_changes"),
    ("freelancer", "decide_refund"),
    ("freelancer", "deliver"),
    ("freelancer", "propose_split"),
}
"""Messages that lead a purchase on. They are generated more often than those that soon end it, so
that scripts reach late stages."""


def send_strategy(sender: tuple[str, str]) -> st.SearchStrategy[Step]:
    role, message = sender
    return st.builds(
        Send,
        st.just(role),
        st.just(message),
        st.sampled_from([without_purchase_id(given) for given in FIELDS.get(message, ({},))]),
        signal=st.sampled_from([False, False, True]),
        twice=st.sampled_from([False, False, False, True]),
    )


def without_purchase_id(given: dict[str, Any]) -> dict[str, Any]:
    refund = given.get("refund_id")
    return {**given, "refund_id": refund.rpartition("/")[2]} if refund else given


EXPECTED_SENDERS = st.sampled_from(
    [sender for sender in ALLOWED_SENDERS for _ in range(6 if sender in FREQUENT else 1)]
)
ANY_SENDER = st.tuples(
    st.sampled_from([role.value for role in Role]), st.sampled_from(list(MESSAGES))
)
EVENTS = [
    event
    for event in SandboxEvent
    if event not in (SandboxEvent.PAYMENT_MADE, SandboxEvent.PAYMENT_CONFIRMED)
]


def happens_strategy(event: SandboxEvent) -> st.SearchStrategy[Step]:
    amounts = [None, 10_000] if event in WITH_AMOUNT else [None]
    return st.builds(Happens, st.just(event), st.sampled_from(amounts))


STEPS: st.SearchStrategy[Step] = st.one_of(
    *[EXPECTED_SENDERS.flatmap(send_strategy)] * 20,
    ANY_SENDER.flatmap(send_strategy),
    st.builds(Sleep, st.sampled_from([1, 5, 23, 25, 49, 170])),
    *[st.just(Deadline())] * 3,
    *[st.sampled_from(EVENTS).flatmap(happens_strategy)] * 3,
    st.sampled_from([WorkerReplaced(), CancelWorkflow()]),
)
METHODS_LEFT_OUT = {
    "pm_sandbox_unreachable",
    "pm_sandbox_refund_returned",
    "pm_sandbox_needs_client",
}
"""The thousands of retries of the unreachable one would take too long here, and other tests cover
it. The others change with time while an activity is retried; see `Comparison.is_checking`."""
PAYMENT_METHODS = st.one_of(
    st.just("pm_sandbox_ok"), st.sampled_from(sorted(METHODS.keys() - METHODS_LEFT_OUT))
)
"""Mostly the method that works."""
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
        lambda least: st.lists(STEPS, min_size=least, max_size=MAX_STEPS).map(tuple)
    ),
    PAYMENT_METHODS,
    POLICIES,
    st.sampled_from([True, True, False]),
)
