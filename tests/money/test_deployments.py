"""A worker with the database or the provider account of another deployment does not start."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from activities.audit import reconcile
from activities.ledger import BoughtPurchase
from activities.money import MoneyActivities
from activities.services import Services, Settings, Unavailable, WrongSetting
from tests.conftest import settings
from tests.money.environment import NOW, PURCHASE, decision, payment, refund_of, run
from tests.money.test_audit import FakeDirectory
from tests.stripe.fake import FakeStripe

BOUGHT = BoughtPurchase("p-1", "ana", "bo", 25000, "USD", "{}", "0" * 64, "run-1", NOW, b"\0{}")


@pytest.fixture
def production(tmp_path: Path) -> Settings:
    """The settings of a deployment that has run."""
    found = replace(settings(tmp_path), deployment="production")
    with closing(Services(found)) as opened_once:
        assert opened_once.ledger.register(BOUGHT)
    return found


@pytest.fixture
def fake() -> Iterator[FakeStripe]:
    with FakeStripe() as fake:
        yield fake


@pytest.fixture
def at_stripe(tmp_path: Path, fake: FakeStripe) -> Settings:
    """The settings of a deployment that is paid through Stripe."""
    return replace(
        settings(tmp_path),
        deployment="production",
        payments="stripe",
        stripe_api_key=fake.api_key,
        stripe_api_base=fake.url,
    )


def rejected(given: Settings) -> str:
    """The sentence with which a process ends."""
    with pytest.raises(WrongSetting) as failure:
        Services(given)
    assert "\n" not in str(failure.value)
    return str(failure.value)


def test_a_database_stays_with_the_deployment_that_used_it_first(production: Settings) -> None:
    Services(production).close()
    for name in ("staging", "local"):
        why = rejected(replace(production, deployment=name))
        assert f"belongs to the deployment 'production', and RECOURSE_DEPLOYMENT is {name!r}" in why
        assert "set RECOURSE_DATABASE_URL to a database of" in why


@pytest.mark.parametrize("name", ["Production", "a/b", "", "x" * 33, "läden", "a\n"])
def test_a_deployment_has_a_short_plain_name(tmp_path: Path, name: str) -> None:
    why = rejected(replace(settings(tmp_path), deployment=name))
    assert why.startswith("RECOURSE_DEPLOYMENT")


def test_a_copy_of_a_database_is_not_even_migrated(
    production: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A newer build of staging must leave the schema of production alone."""
    monkeypatch.setattr("activities.database.migrate", lambda _: pytest.fail("migrated"))
    rejected(replace(production, deployment="staging"))


def test_with_stripe_a_deployment_has_a_name(at_stripe: Settings) -> None:
    """Two deployments without names would take each other's payments for their own."""
    assert "set RECOURSE_DEPLOYMENT to the name" in rejected(replace(at_stripe, deployment="local"))
    Services(at_stripe).close()


def test_a_database_stays_with_the_provider_account_of_its_payments(
    at_stripe: Settings, fake: FakeStripe, tmp_path: Path
) -> None:
    """Test mode and live mode of one account are two; so are the sandbox and Stripe."""
    with closing(Services(at_stripe)):
        pass
    account = fake.account_id
    with FakeStripe() as other:
        why = rejected(replace(at_stripe, stripe_api_base=other.url))
        assert f"account '{account} (test mode)'" in why
        assert f"leads to '{other.account_id} (test mode)'" in why
    assert "leads to 'sandbox'" in rejected(replace(at_stripe, payments=f"sandbox:{tmp_path}/s.db"))


def test_a_worker_does_not_start_while_it_cannot_tell_whose_account_it_has(
    at_stripe: Settings, fake: FakeStripe
) -> None:
    fake.fault("cut", method="GET", path="/v1/account")
    with pytest.raises(Unavailable, match="Stripe did not answer"):
        Services(at_stripe)
    Services(at_stripe).close()


async def test_two_deployments_on_one_account_count_only_their_own_money(tmp_path: Path) -> None:
    """Each has a purchase p-1. One refunds it, the other one's payment stays where it was."""
    shared = f"sandbox:{tmp_path}/sandbox.db"
    both = [
        Services(replace(settings(tmp_path / name), deployment=name, payments=shared))
        for name in ("production", "staging")
    ]
    with closing(both[0]), closing(both[1]):
        for each in both:
            money = MoneyActivities(each.ledger, each.provider)
            paid = run(money.take_payment, payment())
        decided = decision().model_copy(update={"charge_reference": paid.reference})
        run(money.post_decision, decided)
        run(money.send_refund, refund_of(paid.reference))

        found = []
        for each in both:
            report = await reconcile(each.ledger, each.provider, FakeDirectory([{PURCHASE}]))
            assert report.differences == ()
            (total,) = report.totals
            found.append((total.held, total.in_transit, total.at_provider))
        assert found == [(25000, 0, 25000), (0, 25000, 0)]
