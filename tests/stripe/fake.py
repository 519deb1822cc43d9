"""A stateful fake of Stripe: charges, refunds, idempotency keys, events, and trouble on demand.

    with FakeStripe() as fake:
        client = stripe.StripeClient(fake.api_key, base_addresses={"api": fake.url})

What it does of its own accord is what Stripe documents; every trouble has to be asked for. All of
its methods may be called from any thread while requests are being answered.
"""

import copy
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Self

from tests.stripe.api import Api, Call, Fault, Plan, Status
from tests.stripe.events import Delivery, signed
from tests.stripe.forms import Object
from tests.stripe.refunds import OPEN, Refunds
from tests.stripe.serving import serving

__all__ = ["Call", "Delivery", "FakeStripe", "Fault", "Plan"]


class FakeStripe(Api):
    """Stripe for one API key, served while it is used as a context manager."""

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
            self._holds = False  # or the server would wait for a request that is held for ever
        self.release()
        self._stack.close()

    def reset(self) -> None:
        """As if new: nothing charged, no keys, no faults, no requests; held ones are let go."""
        self.release()
        with self._changed:
            self._begin_anew()

    # --- What it holds -------------------------------------------------------------------------

    def _copied(self, what: Callable[[Refunds], Any]) -> Any:
        with self._changed:
            return copy.deepcopy(what(self._account()))

    @property
    def intents(self) -> list[Object]:
        """Every payment intent, oldest first."""
        return list(self._copied(lambda account: account.intents).values())

    @property
    def charges(self) -> list[Object]:
        """Every charge, oldest first, failed ones too."""
        return list(self._copied(lambda account: account.charges).values())

    @property
    def refunds(self) -> list[Object]:
        """Every refund, oldest first, failed ones too."""
        return list(self._copied(lambda account: account.refunds).values())

    def taken(self, **match: object) -> int:
        """The sum of the charges that succeeded and have these fields: `transfer_group="p-1"`."""
        return total(self.charges, ("succeeded",), match)

    def given_back(self, **match: object) -> int:
        """The sum of the refunds that neither failed nor were canceled and have these fields."""
        return total(self.refunds, OPEN, match)

    @property
    def requests(self) -> list[Call]:
        """Every request that was answered, or deliberately was not."""
        with self._changed:
            return list(self._calls)

    # --- Switches ------------------------------------------------------------------------------

    def payment_method(self, magic: str = "pm_card_visa", customer: str | None = None) -> str:
        """The id of a new payment method that behaves like the magic one."""
        with self._changed:
            name: str = self._account().add_method(magic, customer)["id"]
            return name

    def new_refunds(self, status: Status) -> None:
        """Refunds begin like this from now on, unless their card is one that says otherwise."""
        with self._changed:
            self._new_refunds = status

    def succeed_refund(self, refund: str) -> None:
        """A refund that was pending has arrived."""
        self._settle(refund, "succeeded")

    def fail_refund(self, refund: str, reason: str = "expired_or_canceled_card") -> None:
        """A refund came back, even if it had succeeded; its amount is the charge's again."""
        self._settle(refund, "failed", reason)

    def require_action(self, refund: str) -> None:
        """A pending refund waits for the customer."""
        self._settle(refund, "requires_action")

    def cancel_refund(self, refund: str) -> None:
        """A pending refund was called off, as can be done in Stripe's dashboard."""
        self._settle(refund, "canceled")

    def _settle(self, refund: str, status: str, reason: str | None = None) -> None:
        with self._changed:
            self._account().settle_refund(refund, status, reason)

    def settle_intent(self, intent: str, *, paid: bool) -> None:
        """What became of an intent that was processing or required action."""
        with self._changed:
            self._account().settle_intent(intent, paid=paid)

    def forget_keys(self) -> None:
        """As Stripe may after a day: what was kept under idempotency keys is no more."""
        with self._changed:
            for account in self._accounts.values():
                account.keys.forget()

    # --- Trouble -------------------------------------------------------------------------------

    def fault(
        self, fault: Fault, *, method: str = "POST", path: str = "/v1/", times: int = 1
    ) -> None:
        """The next request by this method whose path begins like this meets the fault; so many
        requests do. Faults asked for first are met first."""
        with self._changed:
            self._faults += [(fault, method, path)] * times

    def plan(self, plan: Plan | None) -> None:
        """Decides on the fault of each request that none was asked for, by method and path."""
        with self._changed:
            self._plan = plan

    def release(self) -> None:
        """Lets every held request go on."""
        with self._changed:
            held, self._held = self._held, []
        for each in held:
            each.set_result(None)

    def wait_for_held(self, count: int = 1, timeout: float = 10.0) -> None:
        """Returns when so many requests are being held."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self._held) >= count, timeout)

    def wait_for_requests(self, count: int, timeout: float = 10.0) -> None:
        """Returns when so many requests are over."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self._calls) >= count, timeout)

    # --- Events --------------------------------------------------------------------------------

    @property
    def events(self) -> list[Object]:
        """Every event, in the order in which it happened."""
        events: list[Object] = self._copied(lambda account: account.events)
        return events

    def events_of(self, *types: str) -> list[Object]:
        """The events of these types."""
        return [event for event in self.events if event["type"] in types]

    def delivery(
        self, event: Object, *, at: float | None = None, secret: str | None = None
    ) -> Delivery:
        """The event, signed now or at the given second, with this fake's secret or another."""
        when = self._clock() if at is None else at
        return signed(event, secret or self.webhook_secret, int(when))

    def deliver(self, event: Object, url: str, *, at: float | None = None) -> int:
        """Posts the event, however often that was done before; the receiver's status."""
        return self.delivery(event, at=at).post(url)


def total(found: list[Object], statuses: tuple[str, ...], match: dict[str, object]) -> int:
    """The sum of the amounts of those with a status and with these fields."""
    return sum(
        each["amount"]
        for each in found
        if each["status"] in statuses and all(each[name] == value for name, value in match.items())
    )
