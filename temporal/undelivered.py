"""What a status says was not delivered, and has arrived since."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from activities.requests import Undelivered
from workflows.messages import Status
from workflows.notifying import TAKEN_OVER

if TYPE_CHECKING:  # the database's library takes a while to load
    from activities.notices.log import Delivery


ANY_CHANNEL = "any"
"""The channel of what was given up for every channel."""


def without_arrived(status: Status, log: "Sequence[Delivery]") -> Status:
    """The status without the notices and events that have arrived by the delivery log: events that
    `recourse events --resend` has sent, and what `PurchaseNotices` has delivered after the end. The
    purchase itself does not learn of these: it may be closed."""
    left = tuple(each for each in status.undelivered if not _has_arrived(each, log))
    return status.model_copy(update={"undelivered": left})


def _has_arrived(lost: Undelivered, log: "Sequence[Delivery]") -> bool:
    """Whether the log has it, and all that it may be were sent. What was given up for every channel
    may not be in the log, unless another workflow has taken it over."""
    is_any = lost.channel == ANY_CHANNEL
    if is_any and lost.why != TAKEN_OVER:
        return False
    found = [
        each.status
        for each in log
        if (each.transition, each.role, each.at) == (lost.transition, lost.role, lost.at)
        and (is_any or each.channel == lost.channel)
    ]
    return bool(found) and set(found) == {"sent"}
