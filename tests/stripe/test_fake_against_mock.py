"""Comparison of the fake with `stripe-stateful-mock`, an independent mock of Stripe.

The mock has no payment intents, so the tests compare idempotency and refunds of the old Charges
API: the same calls, through the same SDK, must have the same answers. Where the two are known to
differ, this fake follows Stripe's documentation: the mock accepts a key on another path (here and
at Stripe that is an error), stores answers to requests that were not executed, and has no
concurrent requests.
"""

import json
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import stripe

from tests.node import installed, program
from tests.stripe.builders import PRICE, connected, new_key
from tests.stripe.fake import FakeStripe

pytestmark = pytest.mark.node

SOURCE = Path(__file__).parent / "stateful_mock"

Answer = tuple[object, ...]
"""What a call came to, without what differs from one server to the next."""


@pytest.fixture(scope="module")
def mock() -> Iterator[stripe.StripeClient]:
    """A client of the mock."""
    folder, command = installed(SOURCE, "serve.cjs"), (program("node"), "serve.cjs")
    with subprocess.Popen(
        command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        with connected("sk_test_fake", f"http://127.0.0.1:{port}") as client:
            yield client
        assert process.stdin is not None
        process.stdin.close()


def charge(
    api: stripe.StripeClient, key: str, amount: int = PRICE, source: str = "tok_visa"
) -> stripe.Charge:
    """Charge the amount."""
    return api.v1.charges.create(
        {"amount": amount, "currency": "usd", "source": source}, {"idempotency_key": key}
    )


def refund(api: stripe.StripeClient, of: stripe.Charge, amount: int, key: str) -> stripe.Refund:
    """Refund a part of the charge."""
    return api.v1.refunds.create({"charge": of.id, "amount": amount}, {"idempotency_key": key})


def answer(call: Callable[[], stripe.Charge | stripe.Refund]) -> Answer:
    """Return the result or the error of the call."""
    try:
        made = call()
    except stripe.StripeError as error:
        body: Any = error.json_body
        said = [body["error"].get(name) for name in ("type", "code", "param")]
        return type(error).__name__, error.http_status, *said
    assert made.last_response is not None
    replayed = made.last_response.headers.get("Idempotent-Replayed")
    return made.object, made.status, made.amount, made.currency, replayed


def refunded(api: stripe.StripeClient, of: stripe.Charge) -> tuple[int, bool]:
    """Return how much of the charge is refunded, and whether in full."""
    found = api.v1.charges.retrieve(of.id)
    return found.amount_refunded, found.refunded


def on_both(
    scenario: Callable[[stripe.StripeClient], list[Answer]],
    fake: stripe.StripeClient,
    mock: stripe.StripeClient,
) -> list[Answer]:
    """Assert that both give the same answers to the scenario; return them."""
    answers = scenario(fake)
    assert answers == scenario(mock)
    return answers


def test_the_npm_lock_names_versions_and_hashes_but_no_addresses() -> None:
    packages = json.loads((SOURCE / "package-lock.json").read_text())["packages"]
    assert all("resolved" not in package for package in packages.values())
    assert all("integrity" in package for path, package in packages.items() if path)


def test_the_same_key_twice_is_one_charge_on_both(
    client: stripe.StripeClient, mock: stripe.StripeClient
) -> None:
    """Compared: both answers, the id, and the charge as it is looked up."""

    def scenario(api: stripe.StripeClient) -> list[Answer]:
        key = new_key()
        answers = [answer(partial(charge, api, key)) for _ in range(2)]
        assert charge(api, key).id == charge(api, key).id
        assert charge(api, new_key()).id != charge(api, key).id
        return [*answers, refunded(api, charge(api, key))]

    first, again, *_ = on_both(scenario, client, mock)
    assert (first[-1], again[-1]) == (None, "true")


def test_the_same_key_twice_is_one_refund_on_both(
    client: stripe.StripeClient, mock: stripe.StripeClient
) -> None:
    """Compared: both answers, and the refunded amount."""

    def scenario(api: stripe.StripeClient) -> list[Answer]:
        made, key = charge(api, new_key()), new_key()
        answers = [answer(partial(refund, api, made, 10_00, key)) for _ in range(2)]
        return [*answers, refunded(api, made)]

    assert on_both(scenario, client, mock)[-1] == (10_00, False)


def test_the_same_key_with_other_parameters_is_an_error_on_both(
    client: stripe.StripeClient, mock: stripe.StripeClient
) -> None:
    """Compared: the SDK's error, its status, type and code; and that the key still works."""

    def scenario(api: stripe.StripeClient) -> list[Answer]:
        key = new_key()
        return [answer(partial(charge, api, key, n)) for n in (PRICE, PRICE + 1, PRICE)]

    _, rejected, _ = on_both(scenario, client, mock)
    assert rejected[:3] == ("IdempotencyError", 400, "idempotency_error")


def test_a_refund_above_the_remainder_is_rejected_on_both(
    client: stripe.StripeClient, mock: stripe.StripeClient
) -> None:
    """Compared: partial refunds, the errors with and without a remainder, the charge."""

    def scenario(api: stripe.StripeClient) -> list[Answer]:
        made = charge(api, new_key())
        amounts = (10_00, 15_01, 15_00, 1)
        answers = [answer(partial(refund, api, made, n, new_key())) for n in amounts]
        return [*answers, refunded(api, made)]

    *_, too_much, _, nothing_left, after = on_both(scenario, client, mock)
    assert too_much == ("InvalidRequestError", 400, "invalid_request_error", None, "amount")
    assert nothing_left[3] == "charge_already_refunded"
    assert after == (PRICE, True)


def test_a_rejected_refund_is_replayed_on_both(
    client: stripe.StripeClient, mock: stripe.StripeClient
) -> None:
    """Compared: an error that depends on the charge, twice under its key."""

    def scenario(api: stripe.StripeClient) -> list[Answer]:
        made, key = charge(api, new_key()), new_key()
        return [answer(partial(refund, api, made, PRICE + 1, key)) for _ in range(2)]

    first, again = on_both(scenario, client, mock)
    assert first == again


def test_a_declined_charge_is_replayed_on_both(
    client: stripe.StripeClient, mock: stripe.StripeClient
) -> None:
    """Compared: the card error, twice under its key."""

    def scenario(api: stripe.StripeClient) -> list[Answer]:
        key = new_key()
        return [answer(partial(charge, api, key, source="tok_chargeDeclined")) for _ in range(2)]

    first, again = on_both(scenario, client, mock)
    assert first == again
    assert first[:2] == ("CardError", 402)


@pytest.mark.parametrize(("token", "statuses"), [("500", [500, 500]), ("429", [429, "succeeded"])])
def test_an_error_is_stored_or_not_alike_on_both(
    fake: FakeStripe,
    client: stripe.StripeClient,
    mock: stripe.StripeClient,
    token: str,
    statuses: list[object],
) -> None:
    """Compared: the status replayed under the key of a request that met a fault, and that of
    another key. The mock makes the fault by a chain of tokens whose second is a good card, the fake
    by `fault`. Error messages are not compared."""
    fake.fault("stored_500" if token == "500" else "rate_limited")
    chain = f"tok_{token}|tok_visa|tok_visa|{new_key()}"
    for api, source in ((client, "tok_visa"), (mock, chain)):
        key = new_key()
        found = [answer(partial(charge, api, key, source=source)) for _ in range(2)]
        assert [each[1] for each in found] == statuses
        assert answer(partial(charge, api, new_key(), source=source))[1] == "succeeded"
