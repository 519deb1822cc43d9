"""The magic payment methods of the sandbox, and how it treats each."""

import sys
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal


@dataclass(frozen=True)
class Method:
    """How the sandbox treats one payment method."""

    declined: str = ""
    """Why charges are declined; if empty, they succeed."""
    failing_refunds: int = 0
    """The number of refunds of a charge that are accepted and fail after `FAILS_AFTER`."""
    settles_on: int = 3
    """The business day (US, UTC) after the refund on which the money reaches the client, at noon.
    0: at once."""
    refunds: Literal["settle", "sent", "returned", "pending"] = "settle"
    """What becomes of refunds that do not fail. sent: at once, and nothing proves that they arrive.
    returned: sent at once, and returned by the bank after `RETURNED_AFTER`. pending: never sent."""
    needs_client: bool = False
    """Whether the client must confirm each payment: it waits for the event `payment-confirmed`."""
    disputed: bool = False
    """Whether the client's bank disputes each payment as soon as it is made."""
    fault: Literal["unreachable", "charge_lost", "flaky"] | None = None
    """unreachable: no call takes effect or is answered. charge_lost: charges are made but not
    answered; look-ups are answered. flaky: the first call of each kind per key takes effect but is
    not answered."""


METHODS = {
    "pm_sandbox_ok": Method(),
    "pm_sandbox_declined": Method(declined="The client's bank declined the charge."),
    "pm_sandbox_refund_fails": Method(failing_refunds=sys.maxsize),
    "pm_sandbox_refund_fails_once": Method(failing_refunds=1),
    "pm_sandbox_refund_fails_twice": Method(failing_refunds=2),
    "pm_sandbox_at_once": Method(settles_on=0),
    "pm_sandbox_slow": Method(settles_on=10),
    "pm_sandbox_refund_sent": Method(refunds="sent"),
    "pm_sandbox_refund_returned": Method(refunds="returned"),
    "pm_sandbox_refund_pending": Method(refunds="pending"),
    "pm_sandbox_needs_client": Method(needs_client=True),
    "pm_sandbox_disputed": Method(disputed=True),
    "pm_sandbox_unreachable": Method(fault="unreachable"),
    "pm_sandbox_charge_lost": Method(fault="charge_lost"),
    "pm_sandbox_flaky": Method(fault="flaky"),
}
FAILS_AFTER = timedelta(days=1)
"""After this, a refund that fails is reported as failed."""
RETURNED_AFTER = timedelta(days=14)
"""After this, a refund that is returned is reported as failed. It is longer than the settlement
window of five business days, so that the purchase has presumed the refund to be settled."""
UNKNOWN_METHOD = Method(
    declined="The sandbox does not know this payment method. Use pm_sandbox_ok, or another one of "
    "docs/sandbox.md."
)
