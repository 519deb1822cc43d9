"""The interface of a payment provider.

The methods block: activities call them from a thread pool. Each may be called any number of times
with the same key or refund id, from several processes at once, and takes effect once. A call with
an unknown outcome raises ProviderUnreachable; an unknown outcome is never reported as a failure. No
message or text contains a payment method.

Several deployments may use one account at the provider: the adapter adds the deployment's name to
each key, finds and refunds only this deployment's charges, and lists only its records.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from activities.requests import Money


class ProviderUnreachable(Exception):
    """It is unknown whether the call took effect: look it up, then retry with the same key."""


class ProviderRejected(Exception):
    """The provider rejected the call and would reject a retry. The message is for a person."""


RefundStatus = Literal["pending", "sent", "settled", "failed"]
"""`pending`: accepted by the provider. `sent`: the provider has done its part. `settled`: the
client has the money. `failed`: the provider has the money back."""


@dataclass(frozen=True)
class ChargeResult:
    """The result of a charge.

    `succeeded`: the client paid `charged`. `declined`: the client paid nothing and this key will
    never charge; `text` says why. `needs_client`: the client's bank asks the client to confirm the
    payment at `confirm_url`; nothing is paid until then.
    """

    status: Literal["succeeded", "declined", "needs_client"]
    charged: Money | None = None
    reference: str = ""
    text: str = ""
    confirm_url: str = ""


@dataclass(frozen=True)
class RefundResult:
    """The status of a refund of `amount`. `text`: the provider's reason for `pending` or `failed`.
    `reference`: the provider's name for it, or the bank's (such as an ARN) where it is known.
    `cancelled`: it failed because somebody cancelled it at the provider."""

    status: RefundStatus
    amount: Money
    reference: str = ""
    text: str = ""
    cancelled: bool = False


@dataclass(frozen=True)
class BankDispute:
    """A dispute that the client's bank has opened about a charge.

    `inquiry`: the bank asks, and no money was withdrawn. `opened`: `amount` was withdrawn. `won`:
    the money is back, or was never withdrawn. `lost`: it stays withdrawn.
    """

    dispute_id: str
    status: Literal["inquiry", "opened", "won", "lost"]
    amount: Money
    reason: str = ""


@dataclass(frozen=True)
class PaymentReport:
    """Everything that the provider has about one charge. `captured`: None if the client has not
    paid. `key`: ours; empty if the charge was made elsewhere and not claimed. `refunds`: every
    refund, also those that others made."""

    reference: str
    captured: Money | None
    key: str = ""
    refunds: "tuple[RefundRecord, ...]" = ()
    disputes: tuple[BankDispute, ...] = ()


@dataclass(frozen=True)
class ChargeRecord:
    """A charge that succeeded, from the provider's records.

    `amount`: what was captured. `refunded`: how much of it the provider counts as refunded, also by
    others, in minor units; None if it does not count. `disputed`: the client's bank disputes
    the charge, or has disputed it. `disputes`: all of them, where the provider lists them.
    """

    key: str
    amount: Money
    reference: str
    refunded: int | None = None
    disputed: bool = False
    disputes: tuple[BankDispute, ...] = ()


@dataclass(frozen=True)
class RefundRecord:
    """A refund, from the provider's records. `refund_id`: ours; empty if somebody else made it.
    `reference`: the provider's name for it, which never changes. `bank_reference`: the bank's, such
    as an ARN, where it is known. `cancelled`: it failed because somebody cancelled it."""

    refund_id: str
    amount: Money
    reference: str
    status: RefundStatus
    charge_reference: str = ""
    text: str = ""
    bank_reference: str = ""
    cancelled: bool = False


@dataclass(frozen=True)
class UnreadableRecord:
    """A charge or refund that cannot be converted, such as one in an unknown currency, and why.
    `key`: of the charge, or our refund id."""

    key: str
    reference: str
    why: str


@dataclass(frozen=True)
class Statement:
    """Succeeded charges that the provider has for a deployment, each with its bank disputes and all
    its refunds, also those that others made. `unreadable`: those that cannot be converted."""

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

    def payment(self, charge_reference: str, at: datetime) -> PaymentReport | None:
        """Return everything about one charge at `at`; None if the provider does not know it.

        Raises ProviderUnreachable.
        """

    def claim(self, key: str, charge_reference: str, at: datetime) -> PaymentReport | None:
        """Mark a charge that was made elsewhere as the one of `key`, and return it; None if the
        provider does not know it. From then on `find_charge`, `refund` and `statement` take it for
        a charge of this deployment. Takes no money.

        Raises ProviderRejected if it is marked as that of another key or deployment;
        ProviderUnreachable.
        """

    def statement(self, since: datetime | None = None, also: Collection[str] = ()) -> Statement:
        """Return the provider's records, for the audit: of every charge, or with `since` of those
        that were made since, those of which a refund or a dispute was made since, and those named
        in `also`. Raises ProviderUnreachable.
        """

    def close(self) -> None:
        """Close every connection."""
