"""Connections of StripeProvider: pooled, closed, and without a leak of secrets."""

import gc
import logging
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Barrier

import pytest

from activities.payments import ProviderUnreachable
from activities.payments.stripe import StripeProvider
from activities.payments.stripe_account import CONNECTIONS
from temporal.plugin import ACTIVITY_THREADS
from tests.payments.builders import DEPLOYMENT, HASTE, KEY, NOW, PART, PRICE, REFUND, VISA, charged
from tests.stripe.fake import FakeStripe


def connections(fake: FakeStripe) -> int:
    """Return the number of open connections to the fake."""
    gc.collect()
    port, found = int(fake.url.rpartition(":")[2]), 0
    for each in gc.get_objects():
        if type(each) is socket.socket and each.family == socket.AF_INET and each.fileno() >= 0:
            try:
                found += each.getpeername()[1] == port
            except OSError:  # it is not connected
                continue
    return found


def test_each_activity_thread_reuses_a_connection() -> None:
    assert CONNECTIONS >= ACTIVITY_THREADS


def test_many_threads_share_one_provider(fake: FakeStripe, provider: StripeProvider) -> None:
    together = Barrier(ACTIVITY_THREADS)

    def purchase(n: int) -> tuple[str, int]:
        together.wait()
        charge = charged(provider, key=f"purchase-p-{n}/hold")
        refund = provider.refund(f"purchase-p-{n}/refund", charge, PART, NOW)
        assert provider.find_refund(f"purchase-p-{n}/refund", charge, NOW) == refund
        return charge, fake.refunded_amount(payment_intent=charge)

    with ThreadPoolExecutor(ACTIVITY_THREADS) as pool:
        made = list(pool.map(purchase, range(ACTIVITY_THREADS)))
    assert len({charge for charge, _ in made}) == ACTIVITY_THREADS
    assert {refunded_amount for _, refunded_amount in made} == {PART.amount}


def test_close_closes_the_connections_of_all_threads(fake: FakeStripe) -> None:
    provider = StripeProvider(fake.api_key, DEPLOYMENT, api_base=fake.url)
    together, before = Barrier(5), connections(fake)

    def look(n: int) -> None:
        together.wait()
        assert provider.find_charge(f"purchase-p-{n}/hold") is None

    with ThreadPoolExecutor(5) as pool:
        list(pool.map(look, range(5)))
        assert connections(fake) > before
        provider.close()  # while its threads are alive
        assert connections(fake) == before


def test_a_connection_is_reused(fake: FakeStripe, provider: StripeProvider) -> None:
    before = connections(fake)
    for n in range(5):
        charged(provider, key=f"purchase-p-{n}/hold")
    assert connections(fake) == before + 1


def test_a_missing_provider_is_unreachable(unused_port: int) -> None:
    url = f"http://127.0.0.1:{unused_port}"
    with closing(
        StripeProvider("sk_test_fake", DEPLOYMENT, api_base=url, timeout=HASTE)
    ) as nowhere:
        for ask in every_call(nowhere):
            with pytest.raises(ProviderUnreachable, match="did not answer"):
                ask()


@pytest.fixture
def unused_port() -> int:
    """Return a closed port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def every_call(provider: StripeProvider) -> list[Callable[[], object]]:
    """Return every call of a provider."""
    return [
        lambda: provider.charge(KEY, PRICE, VISA, NOW),
        lambda: provider.find_charge(KEY),
        lambda: provider.void(KEY, PRICE, VISA, NOW),
        lambda: provider.refund(REFUND, "pi_1", PART, NOW),
        lambda: provider.find_refund(REFUND, "pi_1", NOW),
        lambda: provider.payment("pi_1", NOW),
        lambda: provider.claim(KEY, "pi_1", NOW),
        provider.statement,
    ]


# --- Secrets -----------------------------------------------------------------------------------


def test_a_wrong_api_key_error_names_the_setting_not_the_key(fake: FakeStripe) -> None:
    wrong = "sk_test_of_somebody_else"
    with closing(StripeProvider(wrong, DEPLOYMENT, api_base=fake.url)) as stranger:
        for ask in every_call(stranger):
            with pytest.raises(ProviderUnreachable, match="set STRIPE_API_KEY") as unknown:
                ask()
            assert wrong[:10] not in str(unknown.value)
            assert unknown.value.__cause__ is None
            assert unknown.value.__suppress_context__
    assert fake.intents == []


def test_no_log_line_has_a_payment_method_or_the_api_key(
    fake: FakeStripe, provider: StripeProvider, caplog: pytest.LogCaptureFixture
) -> None:
    method = fake.payment_method()
    with caplog.at_level(logging.INFO):
        provider.charge(KEY, PRICE, method, NOW)
        provider.charge("purchase-p-2/hold", PRICE, method, NOW)
        provider.charge("purchase-p-3/hold", PRICE, "pm_unheard_of", NOW)
        fake.fault("cut", method="GET", path="/v1/payment_methods/")
        with pytest.raises(ProviderUnreachable):
            provider.charge("purchase-p-4/hold", PRICE, method, NOW)
    assert not any(secret in caplog.text for secret in (method, "pm_unheard_of", fake.api_key))


def test_the_sdk_leaves_nothing_in_the_home_directory(
    fake: FakeStripe, provider: StripeProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setattr("stripe._telemetry_id._loaded", False)
    charged(provider)
    assert list(tmp_path.iterdir()) == []
