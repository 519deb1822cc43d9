"""`recourse send`: one message to every purchase that a query finds, after a check."""

import asyncio

import pytest
from temporalio.client import Client

from demo.runner import until
from temporal.purchases import Purchase
from tests.starter.conftest import Cli, held

OPERATOR = ("--as", "operator:o-1")
RETRY = ("--data", '{"action": "retry"}')
SEVERAL = 4


async def of_client(client: Client, party: str, **changed: object) -> Purchase:
    """A purchase of a client whom only one test has."""
    ana = {"id": party, "name": "Ana", "email": "ana@example.com"}
    return await held(client, client=ana, **changed)


async def need_attention(cli: Cli, client: Client, party: str) -> list[Purchase]:
    """Purchases whose refund the provider could not send, twice."""
    bought = [await of_client(client, party, method="pm_sandbox_slow") for _ in range(SEVERAL)]
    for each in bought:
        await cli("give-refund", each.id, "--as", "freelancer:bo")
        await until(each.handle, lambda found: found.escrow.in_transit > 0)
        for refund in ("refund", "refund-2"):
            report = ("--refund-id", f"purchase-{each.id}/{refund}", "--status", "failed")
            answer = await cli("settlement-update", each.id, "--as", "payments:bank", *report)
            assert answer.status == 0
        await until(each.handle, lambda found: bool(found.attention))
    return bought


async def visible(cli: Cli, party: str, *options: str) -> None:
    """Wait until the server's list has all of a client's purchases."""
    for _ in range(100):
        if len((await cli("list", "--client", party, "--json", *options)).document) == SEVERAL:
            return
        await asyncio.sleep(0.1)
    pytest.fail("The server did not list them.")


async def test_after_an_outage_every_purchase_that_waits_is_retried_with_one_command(
    cli: Cli, cli_client: Client, cli_worker: None
) -> None:
    """The check sends nothing; sent, each is retried once, also if the batch is repeated."""
    bought = await need_attention(cli, cli_client, "outage")
    await visible(cli, "outage", "--needs-attention")
    where = ("--where", "PurchaseNeedsAttention = true AND PurchaseClient = 'outage'")
    words = ("send", "resolve-attention", *where, *OPERATOR, *RETRY, "--json")

    checked = await cli(*words)
    assert checked.document["dry_run"] is True
    assert checked.document["results"] == {"can_be_sent": SEVERAL}
    assert all([(await each.status()).attention for each in bought])

    batch_id = checked.document["message_id"]
    sent = await cli(*words, "--yes", "--message-id", batch_id)
    assert (sent.status, sent.document["results"]) == (0, {"accepted": SEVERAL})
    again = ("--where", "PurchaseClient = 'outage'")
    repeated = await cli(
        *("send", "resolve-attention", *again, *OPERATOR, *RETRY, "--json"),
        *("--yes", "--message-id", batch_id),
    )
    assert repeated.document["results"] == {"accepted": SEVERAL}
    for each in bought:
        found = await each.status()
        assert not found.attention
        assert [entry.transition for entry in found.timeline].count("attention_retried") == 1


async def test_the_report_names_the_purchases_that_do_not_take_the_message(
    cli: Cli, cli_client: Client, cli_worker: None
) -> None:
    bought = [await of_client(cli_client, "mixed") for _ in range(SEVERAL)]
    await cli("submit-requirements", bought[0].id, "--as", "client:mixed", "--text", "A logo.")
    await visible(cli, "mixed")
    where = ("--where", "PurchaseClient = 'mixed'")
    data = ("--data", '{"requirements": "A lighthouse."}')
    words = ("send", "submit-requirements", *where, "--as", "client:mixed", *data)

    for options in ((), ("--yes",)):
        answer = await cli(*words, *options)
        assert answer.status == 1
        assert f"{bought[0].id} " in answer.out
        assert "NOT_ALLOWED_NOW" in answer.out


async def test_the_check_shows_amounts_as_money(
    cli: Cli, cli_client: Client, cli_worker: None
) -> None:
    """Minor units are typed; a slip of 100 is seen before anything is sent."""
    bought = [await of_client(cli_client, "splitting") for _ in range(SEVERAL)]
    await visible(cli, "splitting")
    where = ("--where", "PurchaseClient = 'splitting'")
    words = ("send", "propose-split", *where, "--as", "client:splitting", "--data")

    checked = await cli(*words, '{"refund": 200}', "--json")

    shown = {each["purchase_id"]: each["text"] for each in checked.document["purchases"]}
    assert shown == {each.id: "2.00 USD to Ana, 248.00 USD to Bo" for each in bought}


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("send-message", "--as", "client:eve", "--data", '{"text": "Hello"}'), "NOT_A_PARTY"),
        (
            ("propose-split", "--as", "client:checked", "--data", '{"refund": 25001}'),
            "INVALID_AMOUNT",
        ),
        (
            ("resolve-attention", *OPERATOR, "--data", '{"action": "mark_settled"}'),
            "INVALID_MESSAGE",
        ),
    ],
    ids=["another client", "more than the escrow", "no proof"],
)
async def test_the_check_rejects_what_the_purchase_would_reject(
    words: tuple[str, ...], code: str, cli: Cli, cli_client: Client, cli_worker: None
) -> None:
    """By what the message says and who sends it, not by its name and the sender's role alone."""
    bought = await of_client(cli_client, "checked", method="pm_sandbox_slow")
    if words[0] == "resolve-attention":
        await cli("give-refund", bought.id, "--as", "freelancer:bo")
        for refund in ("refund", "refund-2"):
            await until(bought.handle, lambda found: found.escrow.in_transit > 0)
            report = ("--refund-id", f"purchase-{bought.id}/{refund}", "--status", "failed")
            await cli("settlement-update", bought.id, "--as", "payments:bank", *report)
        await until(bought.handle, lambda found: bool(found.attention))
    where = ("--where", f"WorkflowId = 'purchase-{bought.id}'")
    listed: list[str] = []
    while bought.id not in listed:
        found = (await cli("list", "--client", "checked", "--json")).document
        listed = [each["purchase_id"] for each in found]

    for options in ((), ("--yes",)):
        answer = await cli("send", *words, *where, "--json", *options)
        (outcome,) = answer.document["purchases"]
        assert (answer.status, outcome["result"]) == (1, "rejected")
        assert outcome["text"].startswith(f"{code}: ")


async def test_the_platform_cancels_many_and_the_clients_get_their_money(
    cli: Cli, cli_client: Client, cli_worker: None
) -> None:
    """Temporal's cancellation of each workflow, with a check that says how much goes back."""
    bought = [await of_client(cli_client, "platform") for _ in range(SEVERAL)]
    await visible(cli, "platform")
    words = ("send", "cancel-by-platform", "--where", "PurchaseClient = 'platform'")

    checked = await cli(*words)
    assert f"Check of cancel-by-platform to {SEVERAL} purchases; nothing was sent" in checked.out
    assert "250.00 USD goes back to the client." in checked.out
    assert (await cli(*words, "--yes", "--json")).document["results"] == {
        "cancellation_requested": SEVERAL
    }
    for each in bought:
        found = await until(each.handle, lambda found: found.escrow.held == 0)
        assert found.reason == "cancelled_by_platform"
    again = (await cli(*words, "--yes", "--json")).document
    assert {each["text"] for each in again["purchases"]} <= {"Nothing is held in escrow."}
    assert "cancellation_requested" not in again["results"]


async def test_a_query_that_finds_nothing_says_so(cli: Cli, cli_worker: None) -> None:
    answer = await cli("send", "cancel-by-platform", "--where", "PurchaseClient = 'nobody'")
    assert (answer.status, answer.out.strip()) == (0, "The query finds no running purchase.")


async def test_a_query_with_an_unknown_attribute_is_the_mistake_of_its_author(
    cli: Cli, cli_worker: None
) -> None:
    """It does not say that the server is not set up."""
    answer = await cli("send", "cancel-by-platform", "--where", "PurchaseStag = 'disputed'")
    assert answer.rejection == (2, "INVALID_INPUT")
    assert "PurchaseStag" in answer.err


@pytest.mark.parametrize(
    "words",
    [
        ("no-such-message", "--where", "true", *OPERATOR),
        ("cancel-by-platform", "--where", "PurchaseClient = 'a'", *OPERATOR),
        ("cancel-by-platform", "--where", "PurchaseClient = 'a'", "--data", '{"reason": "fraud"}'),
        ("resolve-attention", "--where", "PurchaseClient = 'a'"),
        ("resolve-attention", "--where", "PurchaseClient = 'a'", *OPERATOR),
        ("resolve-attention", "--where", "this is no query", *OPERATOR, *RETRY),
        ("resolve-attention", "--where", "PurchaseClient = 'a'", *OPERATOR, "--data", "[]"),
    ],
    ids=str,
)
async def test_what_cannot_be_right_is_rejected(
    words: tuple[str, ...], cli: Cli, cli_worker: None
) -> None:
    assert (await cli("send", *words)).rejection == (2, "INVALID_INPUT")


async def test_a_message_that_cannot_be_sent_is_rejected_before_the_server_is_asked(
    cli: Cli,
) -> None:
    words = ("cancel-by-platform", "--where", "PurchaseClient = 'a'", *OPERATOR)
    answer = await cli("send", *words, TEMPORAL_ADDRESS="localhost:1")
    assert answer.rejection == (2, "INVALID_INPUT")
