"""The interface of a payment provider.

The methods block: activities call them from a thread pool. Each may be called any number of times
with the same key or refund id, from several processes at once, and takes effect once. A call with
an unknown outcome raises ProviderUnreachable; an unknown outcome is never reported as a failure. No
message or text contains a payment method.

Several deployments may use one account at the provider: the adapter adds the deployment's name to
each key, finds and refunds only this deployment's charges, and lists only its records.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from activities.requests import Money


class ProviderUnreachable(Exception):
    """It is unknown whether the call took effect: look it up, then retry with the same key."""


class ProviderRejected(Exception):
    """The provider rejected the call and would reject a retry. The message is for a person."""


@dataclass(frozen=True)
class ChargeResult:
    """The result of a charge.

    `succeeded`: the client paid `charged`. `declined`: the client paid nothing and this key will
    never charge; `text` says why.
    """

    status: Literal["succeeded", "declined"]
    charged: Money | None = None
    reference: str = ""
    text: str = ""


@dataclass(frozen=True)
class RefundResult:
    """The status of a refund of `amount`.

    `pending`: accepted by the provider. `settled`: the client has the money. `failed`: the provider
    has the money back; `text` says why.
    """

    status: Literal["pending", "settled", "failed"]
    amount: Money
    reference: str = ""
    text: str = ""


@dataclass(frozen=True)
class ChargeRecord:
    """A charge that succeeded, from the provider's records.

    `amount`: what was captured. `refunded`: how much of it the provider counts as refunded, also by
    others, in minor units; None if it does not count. `disputed`: the client's bank disputes
    the charge, or has disputed it.
    """

    key: str
    amount: Money
    reference: str
    refunded: int | None = None
    disputed: bool = False


@dataclass(frozen=True)
class RefundRecord:
    """A refund, from the provider's records. `refund_id`: ours; empty if somebody else made it."""

    refund_id: str
    amount: Money
    reference: str
    status: Literal["pending", "settled", "failed"]
    charge_reference: str = ""


@dataclass(frozen=True)
class UnreadableRecord:
    """A charge or refund that cannot be converted, such as one in an unknown currency, and why.
    `key`: of the charge, or our refund id."""

    key: str
    reference: str
    why: str


@dataclass(frozen=True)
class Statement:
    """Every succeeded charge that the provider has for a deployment, and their refunds, also those
    that others made. `unreadable`: those of both that cannot be converted."""

    charges: tuple[ChargeRecord, ...]
    refunds: tuple[RefundRecord, ...]
    unreadable: tuple[UnreadableRecord, ...] = ()


class PaymentProvider(Protocol):
    """A payment provider.

    `at` is the purchase's own time of the call, a UTC instant. The sandbox has no other clock; a
    real provider ignores it.
    """

    def charge(self, key: str, amount: Money, payment_method: str, at: datetime) -> ChargeResult:
        """Charge the client `amount`, once per `key`; a retry returns the same result.

        Raises ProviderRejected if `key` was used for another request; ProviderUnreachable, also
        while the provider is still processing the charge.
        """

    def find_charge(self, key: str) -> ChargeResult | None:
        """Return the result of the charge with this key, or None if the provider does not know it.

        Raises ProviderUnreachable.
        """

    def void(
        self, key: str, amount: Money, payment_method: str, at: datetime
    ) -> ChargeResult | None:
        """Void the charge with this key, or return it if it succeeded already.

        None means that the charge will never be made: a later `charge` with this key takes nothing.

        Raises ProviderUnreachable.
        """

    def refund(
        self, refund_id: str, charge_reference: str, amount: Money, at: datetime
    ) -> RefundResult:
        """Refund `amount` of a charge to the client, once per `refund_id`.

        Raises ProviderRejected if this deployment made no such charge, if all refunds together
        would exceed it (failed refunds do not count), or if `refund_id` was used for another
        request; ProviderUnreachable.
        """

    def find_refund(
        self, refund_id: str, charge_reference: str, at: datetime
    ) -> RefundResult | None:
        """Return the status of a refund at `at`, or None if the provider does not know it.

        Raises ProviderUnreachable.
        """

    def account(self) -> str:
        """Return which account this is, and whether its money is real. Raises ProviderUnreachable.

        The database records it, so that a worker with another account ends.
        """

    def refunds_of(self, charge_reference: str, at: datetime) -> tuple[RefundResult, ...]:
        """Return the status at `at` of every refund of a charge, whoever made it.

        Raises ProviderUnreachable.
        """

    def statement(self) -> Statement:
        """Return the provider's records, for the audit. Raises ProviderUnreachable."""

    def close(self) -> None:
        """Close every connection."""
