"""Webhooks: a signed event about a refund reports it once."""

import asyncio
import copy
import hashlib
import hmac
import json
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from temporalio.client import Client
from temporalio.service import RetryConfig

from activities.payments.stripe import StripeProvider
from demo.runner import POLL_EVERY, Handle, send, skip, start, status, until
from starter.webhooks import receiver
from temporal import embedded
from temporal.aftercare import AftercareCase, status_of
from temporal.converter import DATA_CONVERTER
from temporal.purchases import Purchase
from tests.http_processes import http_process
from tests.money.conftest import SHOP, StripeWorld
from tests.notices.mailbox import quiet
from tests.purchases import OPERATOR, purchase, purchase_of
from tests.stripe.events import Delivery
from tests.stripe.serving import serving
from workflows.messages import PurchaseResult, Role


@pytest.fixture
def url(stripe: StripeWorld) -> Iterator[str]:
    """The URL of the receiver; refunds stay pending until the test settles them."""
    assert isinstance(stripe.services.provider, StripeProvider)
    stripe.stripe.new_refunds("pending")
    app = receiver(stripe.client, stripe.services.provider, stripe.stripe.webhook_secret)
    with serving(app) as base:
        yield f"{base}/webhooks/stripe"


async def in_transit(stripe: StripeWorld) -> tuple[Handle, str]:
    """Return a purchase with a pending refund, and the provider's id of the refund."""
    handle = await start(stripe.client, purchase("pm_card_visa"))
    await until(handle, lambda found: found.payment == "held")
    await send(handle, Role.FREELANCER, "give_refund")
    await until(handle, lambda _: refund_of(stripe, handle) is not None)
    refund = refund_of(stripe, handle)
    assert refund is not None
    await quiet(handle)  # the status is checked; the next check is tomorrow
    return handle, refund


def refund_of(stripe: StripeWorld, handle: Handle) -> str | None:
    """Return the provider's id of a purchase's last refund."""
    ours = [
        each["id"]
        for each in stripe.stripe.refunds
        if each["metadata"].get("recourse_refund", "").startswith(f"{SHOP}/{handle.id}/")
    ]
    return ours[-1] if ours else None


async def deliver(stripe: StripeWorld, url: str, refund: str, age: float = 0) -> list[int]:
    """Deliver all events of a refund; return the statuses that the receiver answers."""
    events = [each for each in stripe.stripe.events if each["data"]["object"]["id"] == refund]
    at = time.time() - age
    return [await asyncio.to_thread(stripe.stripe.deliver, event, url, at=at) for event in events]


async def arrived(stripe: StripeWorld, handle: Handle) -> PurchaseResult:
    """Skip the days in which a refund that was sent may still come back; return the result."""
    await until(handle, lambda found: found.refund is not None and found.refund.status == "sent")
    await skip(stripe.server, handle)
    return await handle.result()


async def test_a_webhook_reports_that_the_refund_was_sent(stripe: StripeWorld, url: str) -> None:
    """Without waiting for the daily status check. It is settled when it has not come back."""
    handle, refund = await in_transit(stripe)
    stripe.stripe.succeed_refund(refund)
    assert set(await deliver(stripe, url, refund)) == {200}
    result = await arrived(stripe, handle)
    assert (result.outcome, result.refunded) == ("refunded", 25000)
    assert set(await deliver(stripe, url, refund)) == {200}, "the provider may repeat it for days"
    assert await stripe.differences(handle) == []


async def test_a_repeated_webhook_counts_once(stripe: StripeWorld, url: str) -> None:
    """A repeated failure leads to one second attempt, and to no third."""
    handle, refund = await in_transit(stripe)
    stripe.stripe.fail_refund(refund)
    for _ in range(3):
        assert set(await deliver(stripe, url, refund)) == {200}
    second = f"{SHOP}/{handle.id}/refund-2"
    await until(
        handle,
        lambda _: (
            [r["metadata"].get("recourse_refund") for r in stripe.stripe.refunds].count(second) == 1
        ),
    )
    found = await status(handle)
    assert (found.attention, found.escrow.in_transit) == ((), 25000)
    again = refund_of(stripe, handle)
    assert again is not None
    stripe.stripe.succeed_refund(again)
    await deliver(stripe, url, again)
    assert (await arrived(stripe, handle)).refunded == 25000
    assert await stripe.differences(handle) == []


async def test_a_webhook_without_a_recent_signature_is_rejected(
    stripe: StripeWorld, url: str
) -> None:
    """Forged and replayed events are rejected before any call."""
    handle, refund = await in_transit(stripe)
    stripe.stripe.succeed_refund(refund)
    event = next(e for e in stripe.stripe.events if e["data"]["object"]["id"] == refund)
    forged = stripe.stripe.delivery(event, secret="whsec_another")
    assert await asyncio.to_thread(forged.post, url) == 400
    assert set(await deliver(stripe, url, refund, age=600)) == {400}
    genuine = stripe.stripe.delivery(event)
    modified = await asyncio.to_thread(
        requests.post, url, genuine.body + b" ", headers=dict(genuine.headers), timeout=5
    )
    unsigned = await asyncio.to_thread(requests.post, url, genuine.body, timeout=5)
    huge = await asyncio.to_thread(requests.post, url, b"x" * 1_100_000, timeout=5)
    assert (modified.status_code, unsigned.status_code, huge.status_code) == (400, 400, 413)
    assert (await status(handle)).escrow.in_transit == 25000
    await deliver(stripe, url, refund)
    assert (await arrived(stripe, handle)).refunded == 25000


GOOD = {
    "id": "evt_1",
    "object": "event",
    "data": {
        "object": {
            "id": "re_1",
            "object": "refund",
            "metadata": {"recourse_refund": f"{SHOP}/purchase-x/refund"},
        }
    },
}


def changed(path: str, value: object) -> object:
    """The event with another value at a path."""
    event = copy.deepcopy(GOOD)
    *above, last = path.split(".")
    at: Any = event
    for name in above:
        at = at[name]
    at[last] = value
    return event


NONSENSE: dict[str, tuple[object, ...]] = {
    "data": ([], {}, "x", 1, None),
    "data.object.metadata": ("recourse_refund", 3),
    "data.object.id": (7, "", None, {}, "\ud800", "x" * 9_999),
    "id": (7, "", None, [], "\ud800", "x" * 9_999),
}
EVENTS: tuple[object, ...] = (
    *([], {}, 1, "x", None, {"object": "event"}, {"object": "v2.core.event"}),
    *(changed(path, value) for path, values in NONSENSE.items() for value in values),
)


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: repr(event)[:90])
async def test_signed_nonsense_is_rejected(stripe: StripeWorld, url: str, event: object) -> None:
    """Not an event of the expected shape. 500 would make the provider send it again for days."""
    assert await asyncio.to_thread(post_signed, stripe, url, json.dumps(event)) == 400


@pytest.mark.parametrize("body", ["", "nonsense", "[" * 100_000, "9" * 10_000, "\0"], ids=len)
async def test_a_signed_invalid_body_is_rejected(stripe: StripeWorld, url: str, body: str) -> None:
    """Also what the JSON parser gives up on."""
    assert await asyncio.to_thread(post_signed, stripe, url, body) == 400


def post_signed(stripe: StripeWorld, url: str, body: str) -> int:
    """Post a body with a valid signature; return the status."""
    at = int(time.time())
    key = stripe.stripe.webhook_secret.encode()
    digest = hmac.new(key, f"{at}.{body}".encode(), hashlib.sha256).hexdigest()
    return Delivery(body.encode(), f"t={at},v1={digest}").post(url)


async def test_the_status_is_fetched_not_taken_from_the_event(
    stripe: StripeWorld, url: str
) -> None:
    """An event that is out of date leads to the current status."""
    handle, refund = await in_transit(stripe)
    created = [e for e in stripe.stripe.events if e["data"]["object"]["id"] == refund]
    assert [e["data"]["object"]["status"] for e in created] == ["pending"]
    stripe.stripe.succeed_refund(refund)
    assert await asyncio.to_thread(stripe.stripe.deliver, created[0], url) == 200
    assert (await arrived(stripe, handle)).refunded == 25000


async def test_the_receiver_answers_503_while_a_service_is_unreachable(
    stripe: StripeWorld, url: str
) -> None:
    """So the provider sends the event again, and it is not lost."""
    handle, refund = await in_transit(stripe)
    stripe.stripe.succeed_refund(refund)
    stripe.stripe.fault("rate_limited", method="GET", path="/v1/refunds", times=2)
    assert set(await deliver(stripe, url, refund)) == {503}
    assert isinstance(stripe.services.provider, StripeProvider)
    async with embedded.server() as gone:
        client = await Client.connect(
            embedded.address(gone.client),
            data_converter=DATA_CONVERTER,
            retry_config=RetryConfig(max_elapsed_time_millis=200),
        )
    app = receiver(client, stripe.services.provider, stripe.stripe.webhook_secret)
    with serving(app) as base:
        assert 503 in await deliver(stripe, f"{base}/webhooks/stripe", refund)
    assert (await status(handle)).escrow.in_transit == 25000
    await deliver(stripe, url, refund)
    assert (await arrived(stripe, handle)).refunded == 25000


async def test_a_refund_that_fails_after_settlement_opens_an_aftercare_case(
    stripe: StripeWorld, url: str
) -> None:
    """`failed` for the refund of a closed purchase. The second attempt's webhooks reach the case;
    repeated ones change nothing."""
    handle, refund = await in_transit(stripe)
    stripe.stripe.succeed_refund(refund)
    await deliver(stripe, url, refund)
    await arrived(stripe, handle)
    assert set(await deliver(stripe, url, refund)) == {200}
    purchase_id = purchase_of(handle)
    case = AftercareCase(stripe.client, purchase_id)
    assert not await case.is_running(), "a refund that went well is no news"

    stripe.stripe.fail_refund(refund)
    assert set(await deliver(stripe, url, refund)) == {200}
    while (await status_of(Purchase(stripe.client, purchase_id))).attention[1:] == ():
        pass
    resolved = {"by": OPERATOR, "action": "retry"}
    await case.handle.execute_update("resolve_attention", resolved)
    while (again := refund_of(stripe, handle)) in (None, refund):  # noqa: ASYNC110
        await asyncio.sleep(POLL_EVERY)
    assert again is not None
    stripe.stripe.succeed_refund(again)
    assert set(await deliver(stripe, url, again)) == {200}
    assert set(await deliver(stripe, url, refund)) == {200}
    while not (found := (await case.status()).refund) or found.status != "sent":
        pass
    await skip(stripe.server, case.handle)
    await case.handle.result()
    assert await stripe.differences(handle) == []


async def test_a_dispute_after_the_end_opens_an_aftercare_case(
    stripe: StripeWorld, url: str
) -> None:
    """Lost, it is a loss of the platform."""
    handle = await start(stripe.client, purchase("pm_card_visa"))
    await until(handle, lambda found: found.payment == "held")
    await send(handle, Role.CLIENT, "propose_split", refund=0)
    await send(handle, Role.FREELANCER, "accept_split", refund=0)
    await handle.result()
    group = f"{SHOP}/{handle.id}/hold"
    (intent,) = [i["id"] for i in stripe.stripe.intents if i["transfer_group"] == group]
    before = len(stripe.stripe.events)
    dispute = stripe.stripe.dispute(intent)
    stripe.stripe.settle_dispute(dispute, "lost")
    for event in reversed(stripe.stripe.events[before:]):
        assert await asyncio.to_thread(stripe.stripe.deliver, event, url) == 200
    await AftercareCase(stripe.client, purchase_of(handle)).handle.result()
    balances = {each.account: each.balance for each in stripe.services.ledger.accounts()}
    assert balances["platform-losses:USD"] == -25000
    assert await stripe.differences(handle) == []


async def test_the_command_serves_until_it_is_stopped(stripe: StripeWorld) -> None:
    """`recourse webhooks` as a process, with the settings of the environment."""
    stripe.stripe.new_refunds("pending")
    handle, refund = await in_transit(stripe)
    stripe.stripe.succeed_refund(refund)
    async with http_process(
        "webhooks",
        TEMPORAL_ADDRESS=embedded.address(stripe.client),
        RECOURSE_PAYMENTS="stripe",
        RECOURSE_DEPLOYMENT=SHOP,
        STRIPE_API_KEY=stripe.stripe.api_key,
        STRIPE_API_BASE=stripe.stripe.url,
        STRIPE_WEBHOOK_SECRET=stripe.stripe.webhook_secret,
    ) as running:
        assert set(await deliver(stripe, f"{running.url}/webhooks/stripe", refund)) == {200}
        assert (await arrived(stripe, handle)).refunded == 25000
        running.process.send_signal(signal.SIGINT)
        await running.process.wait()
    assert "Traceback" not in "".join(running.lines)
    assert running.process.returncode in (0, 130)
