"""What Recourse asks of a payment provider, whichever it is.

The methods block: activities call them from a thread pool. Each may be called any number of
times with the same key or refund id, from several processes at once, and takes effect once. A
call whose outcome is not known raises ProviderUnreachable; unknown is never reported as failed
(RULES.md, Races: provider times out). No message or text contains a payment method.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from activities.requests import Money


class ProviderUnreachable(Exception):
    """Nobody knows whether the call took effect: look it up, then ask again under the same key."""


class ProviderRejected(Exception):
    """The provider says no for good; the message is a sentence for a person."""


@dataclass(frozen=True)
class ChargeResult:
    """`succeeded`: the client paid `charged`. `declined`: nothing was taken and, under this key,
    nothing ever will be; `text` says why."""

    status: Literal["succeeded", "declined"]
    charged: Money | None = None
    reference: str = ""
    text: str = ""


@dataclass(frozen=True)
class RefundResult:
    """How a refund of `amount` stands. `pending`: accepted, not yet with the client. `settled`: it
    has arrived. `failed`: it came back, and `text` says why."""

    status: Literal["pending", "settled", "failed"]
    amount: Money
    reference: str = ""
    text: str = ""


@dataclass(frozen=True)
class ChargeRecord:
    """A charge that succeeded, as the provider's own records have it."""

    key: str
    amount: Money
    reference: str


@dataclass(frozen=True)
class RefundRecord:
    """A refund, as the provider's own records have it."""

    refund_id: str
    amount: Money
    reference: str
    status: Literal["pending", "settled", "failed"]


@dataclass(frozen=True)
class Statement:
    """All that the provider has on record of ours; charges that were declined are not."""

    charges: tuple[ChargeRecord, ...]
    refunds: tuple[RefundRecord, ...]


class PaymentProvider(Protocol):
    """A provider of payments. `at` is the purchase's own time of asking, a UTC instant: the
    sandbox has no other clock, a real provider ignores it."""

    def charge(self, key: str, amount: Money, payment_method: str, at: datetime) -> ChargeResult:
        """Take `amount` from the client, once per `key`; the same answer for the same request.

        A charge that the provider is still working on is unknown: ProviderUnreachable.
        Raises ProviderRejected if `key` was used for another request, ProviderUnreachable.
        """
        ...

    def find_charge(self, key: str) -> ChargeResult | None:
        """What became of the charge with this key, or None if the provider never heard of it.

        Raises ProviderUnreachable.
        """
        ...

    def void(
        self, key: str, amount: Money, payment_method: str, at: datetime
    ) -> ChargeResult | None:
        """The charge with this key if it succeeded; otherwise None, and it will never be made: a
        `charge` with this key that arrives later takes nothing.

        Raises ProviderUnreachable.
        """
        ...

    def refund(
        self, refund_id: str, charge_reference: str, amount: Money, at: datetime
    ) -> RefundResult:
        """Send `amount` of a charge back to the client, once per `refund_id`.

        Raises ProviderRejected if there is no such charge, if all refunds together would exceed
        it (failed ones do not count), or if `refund_id` was used for another request;
        ProviderUnreachable.
        """
        ...

    def find_refund(
        self, refund_id: str, charge_reference: str, at: datetime
    ) -> RefundResult | None:
        """How a refund of this charge stands at `at`, or None if the provider never heard of it.

        Raises ProviderUnreachable.
        """
        ...

    def statement(self) -> Statement:
        """The provider's own records, for the audit. Raises ProviderUnreachable."""
        ...

    def close(self) -> None:
        """Close every connection."""
        ...
