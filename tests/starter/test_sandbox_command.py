"""The command that makes something happen at the sandbox provider."""

import asyncio
import json
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client

from activities.payments import PaymentReport
from activities.payments.sandbox import SandboxProvider
from activities.requests import Money
from demo.runner import POLL_EVERY, until
from temporal.purchases import Purchase
from tests.purchases import FREELANCER
from tests.starter.conftest import Cli, held
from tests.starter.test_looks import send

USD = ("--currency", "USD")
PART = Money(amount=100_00, currency="USD")


@pytest.fixture
def payments(cli: Cli) -> Path:
    """The sandbox's file."""
    return Path(cli.environment["RECOURSE_PAYMENTS"].removeprefix("sandbox:"))


async def reported(payments: Path, purchase: Purchase) -> PaymentReport:
    """What the sandbox reports about a purchase's charge."""
    with closing(SandboxProvider(payments)) as provider:
        charge = provider.find_charge(f"{purchase.workflow_id}/hold")
        assert charge is not None
        found = provider.payment(charge.reference, datetime.now(UTC))
        assert found is not None
        return found


async def checks(purchase: Purchase, at_least: int = 0) -> list[dict[str, Any]]:
    """The `check_payment` signals that a purchase has got. The server writes one that comes during
    a workflow task when the task ends."""
    found: list[dict[str, Any]] = []
    async for event in purchase.handle.fetch_history_events():
        signal = event.workflow_execution_signaled_event_attributes
        if signal.signal_name == "check_payment":
            (payload,) = signal.input.payloads
            found.append(json.loads(payload.data))
    if len(found) < at_least:
        await asyncio.sleep(POLL_EVERY)
        return await checks(purchase, at_least)
    return found


async def test_a_bank_disputes_the_payment_and_the_purchase_looks(
    cli: Cli, cli_purchase: Purchase, payments: Path
) -> None:
    opened = await cli.process(
        "sandbox", "dispute-opened", cli_purchase.id, "--amount", "100.00", *USD, "--json"
    )
    assert opened.status == 0, opened.err
    (dispute,) = (await reported(payments, cli_purchase)).disputes
    assert (dispute.status, dispute.amount) == ("opened", PART)
    assert opened.document == {
        "event": "dispute-opened",
        "charge_reference": (await reported(payments, cli_purchase)).reference,
        "reference": dispute.dispute_id,
        "amount": {"amount": 100_00, "currency": "USD"},
        "status": "opened",
        "notified": True,
    }
    won = await cli("sandbox", "dispute-won", cli_purchase.id)
    for shown in (dispute.dispute_id, "100.00 USD", "won", f"recourse status {cli_purchase.id}"):
        assert shown in won.out
    first, second = await checks(cli_purchase, at_least=2)
    assert first["by"] == second["by"] == {"role": "payments", "id": "sandbox"}
    assert first["message_id"] != second["message_id"]
    assert len(first["message_id"]) <= 64


async def test_a_refund_is_made_elsewhere(cli: Cli, cli_purchase: Purchase, payments: Path) -> None:
    assert (await cli("sandbox", "refund-elsewhere", cli_purchase.id)).status == 0
    (refund,) = (await reported(payments, cli_purchase)).refunds
    assert (refund.refund_id, str(refund.amount)) == ("", "250.00 USD")


async def test_a_refund_comes_back_after_the_purchase_was_closed(
    cli: Cli, cli_client: Client, cli_worker: None, payments: Path
) -> None:
    """The command opens the aftercare case; every command about the purchase shows it or goes to
    it, until an operator has settled it."""
    bought = await held(cli_client, payment_method="pm_sandbox_at_once")
    await send(bought, "give_refund", FREELANCER)
    await bought.handle.result()
    returned = await cli("sandbox", "refund-returned", bought.id)
    assert returned.status == 0, returned.err
    assert f"looks at its payment now: recourse status {bought.id}" in returned.out
    (refund,) = (await reported(payments, bought)).refunds
    assert refund.status == "failed"

    document: dict[str, Any] = {"attention": []}
    while len(document["attention"]) < 2:
        document = (await cli("status", bought.id, "--json")).document
    assert (document["stage"], document["refund"]["status"]) == ("closed", "returned")
    assert f"aftercare-{bought.id}" in document["attention"][0]["text"]
    shown = await cli("status", bought.id)
    assert "An aftercare case is open" in shown.out
    assert "250.00 USD in transit" in shown.out
    allowed = await cli("actions", bought.id, "--as", "operator:op-1", "--json")
    assert [each["message"] for each in allowed.document if each["allowed"]] == [
        "check_payment",
        "resolve_attention",
    ]
    listed = await cli("list", "--stage", "closed", "--needs-attention", "--json")
    assert bought.id in {each["purchase_id"] for each in listed.document}
    settled = await cli(
        *("resolve-attention", bought.id, "--as", "operator:op-1"),
        *("--action", "mark_settled", "--reference", "transfer 7"),
    )
    assert settled.status == 0, settled.err
    while (await cli("status", bought.id, "--json")).document["attention"]:
        pass
    again = await cli(
        *("resolve-attention", bought.id, "--as", "operator:op-1"), *("--action", "retry")
    )
    assert again.rejection == (1, "CLOSED")
    assert await cli.differences(bought.id) == []


async def test_a_payment_is_made_elsewhere_without_server_and_worker(
    cli: Cli, payments: Path
) -> None:
    with closing(SandboxProvider(payments)):
        pass  # the file exists
    made = await cli(
        *("sandbox", "payment-made", "shop-17", "--amount", "250", *USD, "--json"),
        TEMPORAL_ADDRESS="127.0.0.1:1",
    )
    reference = made.document["reference"]
    with closing(SandboxProvider(payments)) as provider:
        found = provider.payment(reference, datetime.now(UTC))
    assert found == PaymentReport(reference, Money(amount=250_00, currency="USD"))
    again = await cli("sandbox", "payment-made", "shop-17", "--amount", "250", *USD)
    assert '"payment_reference": "ch_' in again.out
    assert reference not in again.out


async def test_what_cannot_happen_is_rejected_with_the_reason(
    cli: Cli, cli_purchase: Purchase
) -> None:
    unknown = await cli("sandbox", "dispute-opened", "nobody")
    assert unknown.rejection == (1, "NOT_FOUND")
    nothing = await cli("sandbox", "dispute-lost", cli_purchase.id)
    assert nothing.rejection == (1, "NOT_ALLOWED_NOW")
    more = await cli("sandbox", "refund-elsewhere", cli_purchase.id, "--amount", "250.01", *USD)
    assert more.rejection == (1, "INVALID_AMOUNT")
    assert "250.01 USD is not possible: 250.00 USD of the payment is left" in more.err
    assert await checks(cli_purchase) == []


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("dispute-won", "p-1", "--amount", "1", *USD), "dispute-won takes no amount"),
        (("payment-made", "p-1"), "payment-made needs an amount"),
        (("refund-elsewhere", "p-1", "--amount", "1"), "--amount and --currency go together"),
        (("refund-elsewhere", "p-1", "--amount", "0.001", *USD), "--amount"),
        (("refund-elsewhere", "no such id!"), "PURCHASE"),
    ],
)
async def test_wrong_usage_is_explained(
    cli: Cli, payments: Path, arguments: tuple[str, ...], why: str
) -> None:
    with closing(SandboxProvider(payments)):
        pass
    answer = await cli("sandbox", *arguments)
    assert answer.rejection == (2, "INVALID_INPUT")
    assert why in answer.err


async def test_another_provider_has_no_events(cli: Cli) -> None:
    answer = await cli("sandbox", "dispute-opened", "p-1", RECOURSE_PAYMENTS="stripe")
    assert answer.rejection == (2, "WRONG_SETTING")
    assert "RECOURSE_PAYMENTS is 'stripe'" in answer.err


async def test_an_unknown_event_is_answered_with_the_known_ones(cli: Cli) -> None:
    answer = await cli("sandbox", "dispute-forgotten", "p-1")
    assert answer.status == 2
    assert "dispute-opened" in answer.err


async def test_the_status_says_what_bank_and_dashboard_did(
    cli: Cli, cli_client: Client, cli_worker: None, payments: Path
) -> None:
    """Frozen, charged back, refunded elsewhere, and the refund with its reference, in words."""
    bought = await held(cli_client, payment_method="pm_sandbox_refund_pending")

    async def shown(*words: str) -> str:
        while True:
            out = " ".join((await cli("status", bought.id)).out.split())
            if all(word in out for word in words):
                return out

    await cli("sandbox", "refund-elsewhere", bought.id, "--amount", "50", *USD)
    await shown("50.00 USD were refunded at the payment provider by others")
    await cli("sandbox", "dispute-opened", bought.id, "--amount", "100", *USD)
    await shown("Frozen", "the client's bank has taken 100.00 USD back", "dp_")
    await cli("sandbox", "dispute-lost", bought.id)
    await shown("100.00 USD charged back")
    while (await cli("status", bought.id, "--json")).document["frozen"]:
        pass
    await send(bought, "give_refund", FREELANCER)
    await shown("100.00 USD, being sent by the provider")
    await cli("sandbox", "refund-sent", bought.id)
    looked = await cli("check-payment", bought.id, "--as", "operator:ida")
    assert looked.status == 0, looked.err
    out = await shown("100.00 USD, sent by the provider")
    assert f"({bought.workflow_id}/refund, 7" in out
    await bought.handle.terminate("seen")


async def test_status_shows_what_the_bank_has_and_that_the_purchase_is_frozen(
    cli: Cli, cli_purchase: Purchase
) -> None:
    disputed = ("dispute-opened", cli_purchase.id, "--amount", "100.00", "--currency", "USD")
    event = (await cli("sandbox", *disputed, "--json")).document
    await until(cli_purchase.handle, lambda found: found.frozen is not None)

    shown = " ".join((await cli("status", cli_purchase.id)).out.split())
    assert f"the client's bank has taken 100.00 USD back ({event['reference']})" in shown
    assert "150.00 USD held in escrow" in shown
    assert "100.00 USD charged back" in shown
