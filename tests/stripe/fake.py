"""A stateful fake of Stripe: charges, refunds, idempotency keys, events, and faults on demand.

    with FakeStripe() as fake:
        client = stripe.StripeClient(fake.api_key, base_addresses={"api": fake.url})

By default it behaves as Stripe documents; faults are requested. All methods may be called from any
thread while requests are being answered.
"""

import copy
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Self

from tests.stripe.api import Api, Call, Fault, Plan, Status
from tests.stripe.disputes import Disputes
from tests.stripe.events import Delivery, signed
from tests.stripe.forms import Object
from tests.stripe.refunds import OPEN
from tests.stripe.serving import serving

__all__ = ["Call", "Delivery", "FakeStripe", "Fault", "Plan"]


class FakeStripe(Api):
    """Stripe for one API key, served while the context manager is open."""

    def __init__(
        self,
        *,
        api_key: str = "sk_test_fake",
        webhook_secret: str = "whsec_fake",  # noqa: S107
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(api_key, clock)
        self.webhook_secret = webhook_secret
        self.url = ""
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._holds = True
        self.url = self._stack.enter_context(serving(self.serve))
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._holds = False  # or the server would wait for held requests
        self.release()
        self._stack.close()

    def reset(self) -> None:
        """Remove all state, keys, faults and requests; release the held requests."""
        self.release()
        with self._changed:
            self._begin_anew()

    # --- State ---------------------------------------------------------------------------------

    def _copied(self, what: Callable[[Disputes], Any]) -> Any:
        with self._changed:
            return copy.deepcopy(what(self._account()))

    @property
    def account_id(self) -> str:
        """The id of the account that the API key belongs to."""
        return str(self._copied(lambda account: account.id))

    @property
    def intents(self) -> list[Object]:
        """Every payment intent, the oldest first."""
        return list(self._copied(lambda account: account.intents).values())

    @property
    def charges(self) -> list[Object]:
        """Every charge, also failed ones, the oldest first."""
        return list(self._copied(lambda account: account.charges).values())

    @property
    def refunds(self) -> list[Object]:
        """Every refund, also failed ones, the oldest first."""
        return list(self._copied(lambda account: account.refunds).values())

    @property
    def disputes(self) -> list[Object]:
        """Every dispute, the oldest first."""
        return list(self._copied(lambda account: account.disputes).values())

    def charged_amount(self, **match: object) -> int:
        """Return the sum of the succeeded charges with these fields: `transfer_group="p-1"`."""
        return total(self.charges, ("succeeded",), match)

    def refunded_amount(self, **match: object) -> int:
        """Return the sum of the refunds with these fields that count against their charge."""
        return total(self.refunds, OPEN, match)

    @property
    def requests(self) -> list[Call]:
        """Every finished request, also those that a fault left unanswered."""
        with self._changed:
            return list(self._calls)

    # --- Switches ------------------------------------------------------------------------------

    def payment_method(self, magic: str = "pm_card_visa", customer: str | None = None) -> str:
        """Create a payment method that behaves like the magic one; return its id."""
        with self._changed:
            name: str = self._account().add_method(magic, customer)["id"]
            return name

    def new_refunds(self, status: Status, reason: str = "processing") -> None:
        """Set the first status of new refunds, except for cards that have their own, and why they
        are pending."""
        with self._changed:
            self._new_refunds, self._pending_reason = status, reason

    def reference_refund(self, refund: str, arn: str) -> None:
        """Let the card network give a refund its reference."""
        with self._changed:
            self._account().reference_refund(refund, arn)

    def delay_search(self) -> None:
        """Let the search find nothing, as at Stripe for objects created just now."""
        with self._changed:
            self._searchable = False

    def succeed_refund(self, refund: str) -> None:
        """Settle a pending refund."""
        self._settle(refund, "succeeded")

    def fail_refund(self, refund: str, reason: str = "expired_or_canceled_card") -> None:
        """Fail a refund, also a succeeded one; its amount no longer counts against the charge."""
        self._settle(refund, "failed", reason)

    def require_action(self, refund: str) -> None:
        """Let a pending refund wait for the customer."""
        self._settle(refund, "requires_action")

    def cancel_refund(self, refund: str) -> None:
        """Cancel a pending refund, as in Stripe's dashboard."""
        self._settle(refund, "canceled")

    def _settle(self, refund: str, status: str, reason: str | None = None) -> None:
        with self._changed:
            self._account().settle_refund(refund, status, reason)

    def settle_intent(self, intent: str, *, paid: bool) -> None:
        """End an intent that is processing or requires action."""
        with self._changed:
            self._account().settle_intent(intent, paid=paid)

    def capture_part(self, intent: str, amount: int) -> None:
        """Capture only a part of a payment, as a person can in Stripe's dashboard."""
        self._change_charge(intent, amount_captured=amount)

    def dispute(
        self,
        intent: str,
        amount: int | None = None,
        *,
        status: str = "needs_response",
        reason: str = "fraudulent",
    ) -> str:
        """Let the customer's bank dispute a payment, or a part; return the dispute's id."""
        with self._changed:
            account = self._account()
            charge = account.charges[account.intents[intent]["latest_charge"]]
            amount = charge["amount"] if amount is None else amount
            opened = account.open_dispute(charge["id"], status, amount, reason)
            return str(opened["id"])

    def settle_dispute(self, dispute: str, status: str) -> None:
        """Let the bank set the next status of a dispute."""
        with self._changed:
            self._account().settle_dispute(dispute, status)

    def count_refunded(self, intent: str, amount: int) -> None:
        """Count this much of a payment as refunded; its refunds may sum to another amount."""
        self._change_charge(intent, amount_refunded=amount)

    def _change_charge(self, intent: str, **changes: object) -> None:
        with self._changed:
            account = self._account()
            account.charges[account.intents[intent]["latest_charge"]] |= changes

    def remove_metadata(self, refund: str) -> None:
        """Remove the metadata of a refund, as a person can in Stripe's dashboard."""
        self.write_metadata(refund)

    def write_metadata(self, refund: str, **metadata: str) -> None:
        """Replace the metadata of a refund, as a person can in Stripe's dashboard."""
        with self._changed:
            self._account().refunds[refund]["metadata"] = metadata

    def forget_keys(self) -> None:
        """Forget all idempotency keys, as Stripe may after a day."""
        with self._changed:
            for account in self._accounts.values():
                account.keys.forget()

    # --- Faults --------------------------------------------------------------------------------

    def fault(
        self, fault: Fault, *, method: str = "POST", path: str = "/v1/", times: int = 1
    ) -> None:
        """Let the next `times` requests with this method and path prefix meet the fault.

        Faults apply in the order of these calls.
        """
        with self._changed:
            self._faults += [(fault, method, path)] * times

    def plan(self, plan: Plan | None) -> None:
        """Set the function that decides on the fault of each other request, by method and path."""
        with self._changed:
            self._plan = plan

    def release(self) -> None:
        """Let every held request continue."""
        with self._changed:
            held, self._held = self._held, []
        for each in held:
            each.set_result(None)

    def wait_for_held(self, count: int = 1, timeout: float = 10.0) -> None:
        """Wait until `count` requests are held."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self._held) >= count, timeout)

    def wait_for_requests(self, count: int, timeout: float = 10.0) -> None:
        """Wait until `count` requests have finished."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self._calls) >= count, timeout)

    # --- Events --------------------------------------------------------------------------------

    @property
    def events(self) -> list[Object]:
        """Every event, the oldest first."""
        events: list[Object] = self._copied(lambda account: account.events)
        return events

    def events_of(self, *types: str) -> list[Object]:
        """Return the events of these types."""
        return [event for event in self.events if event["type"] in types]

    def delivery(
        self, event: Object, *, at: float | None = None, secret: str | None = None
    ) -> Delivery:
        """Sign the event, now or at the given second, with this fake's secret or another."""
        when = self._clock() if at is None else at
        return signed(event, secret or self.webhook_secret, int(when))

    def thin(self, event: Object) -> Object:
        """Return the thin event of the same change, which only names the object."""
        about = event["data"]["object"]
        url = f"/v1/{about['object']}s/{about['id']}"
        return {
            "id": event["id"].replace("evt_", "evt_thin_"),
            "object": "v2.core.event",
            "type": f"v1.{event['type']}",
            "created": "2026-03-02T09:00:00.000Z",
            "livemode": False,
            "related_object": {"id": about["id"], "type": about["object"], "url": url},
            "snapshot_event": event["id"],
        }

    def deliver(self, event: Object, url: str, *, at: float | None = None) -> int:
        """Post the event; return the receiver's status."""
        return self.delivery(event, at=at).post(url)


def total(found: list[Object], statuses: tuple[str, ...], match: dict[str, object]) -> int:
    """Return the sum of the amounts of the objects with these statuses and fields."""
    return sum(
        each["amount"]
        for each in found
        if each["status"] in statuses and all(each[name] == value for name, value in match.items())
    )
