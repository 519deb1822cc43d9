"""The faults of the fake, as a client sees them."""

import random
import threading

import pytest
import requests
import stripe

from tests.stripe.builders import PRICE, at_once, connected, error_of, pay, refund
from tests.stripe.fake import FakeStripe, Fault


def test_a_lost_answer_comes_back_under_the_same_key(
    fake: FakeStripe, client: stripe.StripeClient
) -> None:
    fake.fault("lost")
    with pytest.raises(stripe.APIConnectionError):
        pay(client, "k")
    assert fake.charged_amount() == PRICE
    assert pay(client, "k").status == "succeeded"
    assert fake.charged_amount() == PRICE
    assert [call.status for call in fake.requests] == [None, 200]


def test_a_cut_connection_performs_nothing(fake: FakeStripe, client: stripe.StripeClient) -> None:
    fake.fault("cut")
    with pytest.raises(stripe.APIConnectionError):
        pay(client, "k")
    assert (fake.intents, fake.charged_amount()) == ([], 0)
    pay(client, "k")
    assert fake.charged_amount() == PRICE


def test_a_look_up_can_fail_too(fake: FakeStripe, client: stripe.StripeClient) -> None:
    faults: list[Fault] = ["cut", "stored_500", "rate_limited"]
    for each in faults:
        fake.fault(each, method="GET", path="/v1/charges")
    for expected in (stripe.APIConnectionError, stripe.APIError, stripe.RateLimitError):
        with pytest.raises(expected):
            client.v1.charges.list()
    assert client.v1.charges.list().data == []


def test_a_rate_limited_request_has_no_effect(
    fake: FakeStripe, client: stripe.StripeClient
) -> None:
    fake.fault("rate_limited", times=2)
    for _ in range(2):
        with pytest.raises(stripe.RateLimitError):
            pay(client, "k")
    assert fake.charges == []
    assert pay(client, "k").status == "succeeded"


def test_a_conflict_is_not_performed(fake: FakeStripe, client: stripe.StripeClient) -> None:
    fake.fault("conflict")
    with pytest.raises(stripe.APIError) as conflict:
        pay(client, "k")
    assert conflict.value.http_status == 409
    assert error_of(conflict)["code"] == "idempotency_key_in_use"
    assert fake.charges == []


def test_a_bank_declines_once(fake: FakeStripe, client: stripe.StripeClient) -> None:
    fake.fault("declined")
    with pytest.raises(stripe.CardError):
        pay(client, "first")
    with pytest.raises(stripe.CardError):
        pay(client, "first")
    assert pay(client, "second").status == "succeeded"
    assert [charge["status"] for charge in fake.charges] == ["failed", "succeeded"]


def test_a_hanging_request_may_not_be_performed(
    fake: FakeStripe,
) -> None:
    fake.fault("hang")
    with connected(fake.api_key, fake.url, timeout=0.2) as hasty:
        with pytest.raises(stripe.APIConnectionError):
            pay(hasty, "k")
        assert fake.charges == []


def test_a_hanging_request_may_be_performed(fake: FakeStripe) -> None:
    fake.fault("hang_performed")
    with connected(fake.api_key, fake.url, timeout=0.2) as hasty:
        with pytest.raises(stripe.APIConnectionError):
            pay(hasty, "k")
        assert fake.charged_amount() == PRICE


def test_a_late_request_is_performed_after_its_client_gave_up(
    fake: FakeStripe, client: stripe.StripeClient
) -> None:
    """In between, a look-up finds nothing and the key is held."""
    fake.fault("late")
    with (
        connected(fake.api_key, fake.url, timeout=0.2) as hasty,
        pytest.raises(stripe.APIConnectionError),
    ):
        pay(hasty, "k", transfer_group="p-1")
    fake.wait_for_held()
    assert client.v1.charges.list({"transfer_group": "p-1"}).data == []
    with pytest.raises(stripe.APIError) as conflict:
        pay(client, "k", transfer_group="p-1")
    assert conflict.value.http_status == 409

    fake.release()
    fake.wait_for_requests(3)
    assert fake.charged_amount(transfer_group="p-1") == PRICE
    assert pay(client, "k", transfer_group="p-1").status == "succeeded"
    assert fake.charged_amount(transfer_group="p-1") == PRICE


def test_a_request_that_is_held_does_not_keep_the_fake_from_closing() -> None:
    with FakeStripe() as closing:
        closing.fault("late", times=2)
        with connected(closing.api_key, closing.url, timeout=0.2) as hasty:
            for key in ("k-1", "k-2"):
                with pytest.raises(stripe.APIConnectionError):
                    pay(hasty, key)
    assert closing.charged_amount() == 2 * PRICE


def test_a_released_request_is_answered(fake: FakeStripe, client: stripe.StripeClient) -> None:
    def releasing() -> None:
        fake.wait_for_held()
        fake.release()

    fake.fault("hang_performed")
    other = threading.Thread(target=releasing)
    other.start()
    assert pay(client, "k").status == "succeeded"
    other.join()


def test_a_fault_applies_to_the_requests_it_names(
    fake: FakeStripe, client: stripe.StripeClient
) -> None:
    fake.fault("rate_limited", path="/v1/refunds")
    fake.fault("cut", path="/v1/refunds")
    intent = pay(client).id
    with pytest.raises(stripe.RateLimitError):
        refund(client, intent, key="r")
    with pytest.raises(stripe.APIConnectionError):
        refund(client, intent, key="r")
    assert refund(client, intent, key="r").amount == PRICE
    assert [call.fault for call in fake.requests] == [None, "rate_limited", "cut", None]


KINDS: list[Fault | None] = [None, "lost", "cut", "conflict", "rate_limited"]


@pytest.mark.parametrize("seed", range(5))
def test_one_key_pays_once_despite_each_fault(
    fake: FakeStripe, client: stripe.StripeClient, seed: int
) -> None:
    chance = random.Random(seed)
    fake.plan(lambda method, path: chance.choice(KINDS))

    def until_paid() -> str:
        for _ in range(200):
            try:
                return pay(client, "k").id
            except stripe.StripeError:
                continue
        raise AssertionError("never answered")

    assert len(set(at_once(until_paid, 4))) == 1
    assert fake.charged_amount() == PRICE


def test_a_wrong_api_key_is_rejected(fake: FakeStripe) -> None:
    with (
        connected("sk_test_wrong", fake.url) as stranger,
        pytest.raises(stripe.AuthenticationError) as rejected,
    ):
        pay(stranger)
    assert "sk_test_wrong" not in str(rejected.value)
    assert fake.intents == []


def test_an_api_key_may_come_as_a_user_name(fake: FakeStripe) -> None:
    url = f"{fake.url}/v1/charges"
    answers = [
        requests.get(url, auth=auth, timeout=5) for auth in ((fake.api_key, ""), ("sk", ""), None)
    ]
    assert [answer.status_code for answer in answers] == [200, 401, 401]
    assert all("Request-Id" in answer.headers for answer in answers)


@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/nothing"), ("DELETE", "/v1/refunds")])
def test_an_unknown_url_is_not_found(fake: FakeStripe, method: str, path: str) -> None:
    answer = requests.request(method, fake.url + path, auth=(fake.api_key, ""), timeout=5)
    assert answer.status_code == 404
    assert answer.json()["error"]["type"] == "invalid_request_error"
