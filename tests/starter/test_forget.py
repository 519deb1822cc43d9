"""`recourse forget`: after the end, nothing in the ledger says who the persons were."""

import asyncio
import json

import pytest
import sqlalchemy as sa
from temporalio.client import Client

from demo.runner import until
from temporal.executions import executions
from temporal.purchases import Purchase
from tests.starter.conftest import Cli, held

ZITA = {"id": "c-17", "name": "Zitalina Quixote", "email": "zita.quixote@example.com"}
WORDS = ("Zitalina", "Quixote", "zita.quixote@example.com", "my sister's garden", "Logo design")
"""What identifies the client: in the start input, in messages and in notices. Four letters may
appear in 50,000 encrypted characters by chance."""


async def ended(cli: Cli, client: Client, *, aftercare: str = "PT1S") -> Purchase:
    """A closed purchase in which both have written."""
    bought = await held(client, client=ZITA, policy={"aftercare_window": aftercare})
    by = ("--as", "client:c-17")
    await cli("submit-requirements", bought.id, *by, "--text", "A logo for my sister's garden.")
    await cli("give-refund", bought.id, "--as", "freelancer:bo", "--note", "Dear Zitalina, sorry.")
    found = await until(bought.handle, lambda found: found.escrow.in_transit > 0)
    assert found.refund is not None
    report = ("--refund-id", found.refund.refund_id, "--status", "settled")
    await cli("settlement-update", bought.id, "--as", "payments:bank", *report)
    await bought.handle.result()
    return bought


def rows_of(cli: Cli, purchase_id: str) -> dict[str, list[str]]:
    """What every table of the database has about a purchase, as a reader of it sees it."""
    engine = sa.create_engine(cli.environment["RECOURSE_DATABASE_URL"])
    with engine.connect() as connection:
        found = {
            table: [
                repr(tuple(row))
                for row in connection.execute(sa.text(f'SELECT * FROM "{table}"'))
                if purchase_id in repr(tuple(row))
            ]
            for table in sa.inspect(connection).get_table_names()
        }
    engine.dispose()
    return {table: rows for table, rows in found.items() if rows}


async def test_what_identifies_a_person_is_gone_and_the_ledger_stays(
    cli: Cli, cli_client: Client, cli_worker: None
) -> None:
    """The list in docs/security.md: tables that still have the purchase, and nothing personal."""
    bought = await ended(cli, cli_client)
    before = (await cli("ledger", bought.id, "--json")).document
    assert "Zitalina Quixote" in (await cli("notices", bought.id, "--show", "1")).out
    assert (await cli("list", "--person", "Quixote")).status == 0
    await asyncio.sleep(1.1)  # the window in which news may come

    checked = await cli("forget", bought.id)
    assert "would be destroyed" in checked.out
    assert "Zitalina Quixote" in (await cli("notices", bought.id, "--show", "1")).out
    assert (await cli("forget", bought.workflow_id, "--yes")).status == 0

    notices = (await cli("notices", bought.id, "--json")).document
    assert {each["text"] for each in notices} == {"(forgotten)"}
    assert {each["address"] for each in notices} == {"(forgotten)"}
    assert (await cli("list", "--person", "Quixote")).rejection == (1, "NOT_FOUND")
    assert (await cli("adopt", bought.id)).rejection[0] == 1
    for _ in range(900):  # the server deletes within a minute, and reports nothing
        if await bought.newest() is None:
            break
        await asyncio.sleep(0.1)
    assert (await cli("status", bought.id)).rejection == (1, "NOT_FOUND")
    assert (await cli("ledger", bought.id, "--json")).document == before
    assert await cli.differences(bought.id) == []

    left = rows_of(cli, bought.id)
    assert set(left) == {
        *("account", "operation", "transfer", "purchase", "charge"),
        *("notices", "saved_state", "purchase_key"),
    }
    for word in WORDS:
        assert word not in json.dumps(left)
    assert (await cli("forget", bought.id, "--yes")).status == 0


async def test_the_database_never_has_it_in_clear(
    cli: Cli, cli_client: Client, cli_worker: None
) -> None:
    """So a copy of it, such as a backup, says nothing without the key either."""
    bought = await ended(cli, cli_client)
    left = rows_of(cli, bought.id)
    assert "person" in left
    for word in WORDS:
        assert word not in json.dumps(left)


async def test_who_is_still_needed_is_not_forgotten(
    cli: Cli, cli_client: Client, cli_purchase: Purchase
) -> None:
    """While it runs, and while its refund may come back."""
    assert (await cli("forget", cli_purchase.id, "--yes")).rejection == (1, "RUNNING")
    early = await ended(cli, cli_client, aftercare="P120D")
    assert (await cli("forget", early.id, "--yes")).rejection == (1, "TOO_EARLY")
    assert (await cli("forget", "nobody", "--yes")).rejection == (1, "NOT_FOUND")


async def test_last_notices_and_events_are_sent_first(
    cli: Cli, cli_client: Client, cli_worker: None
) -> None:
    """While a mail server or a consumer is down, they wait in a workflow, which would be deleted
    with them. Nothing would say so: what is forgotten is not listed as undelivered."""
    bought = await ended(cli, cli_client)
    sends = f"{bought.workflow_id}/notices/run"
    last = await cli_client.start_workflow("PurchaseNotices", id=sends, task_queue="nobody-polls")
    while not [each async for each in executions(cli_client, f"WorkflowId = '{sends}'")]:  # noqa: ASYNC110
        await asyncio.sleep(0.1)
    await asyncio.sleep(1.1)  # the window in which news may come

    for options in ((), ("--yes",)):
        early = await cli("forget", bought.id, *options)
        assert early.rejection == (1, "RUNNING")
        assert f"recourse events {bought.id}" in early.err
    assert "Zitalina Quixote" in (await cli("notices", bought.id, "--show", "1")).out

    await last.terminate("sent")
    assert (await cli("forget", bought.id, "--yes")).status == 0


@pytest.mark.parametrize("words", [("adopt",), ("adopt", "--from-terms")], ids=str)
async def test_a_forgotten_purchase_cannot_be_continued(
    words: tuple[str, ...], cli: Cli, cli_client: Client, cli_worker: None
) -> None:
    bought = await ended(cli, cli_client)
    await asyncio.sleep(1.1)
    await cli("forget", bought.id, "--yes")
    name, *options = words
    answer = await cli(name, bought.id, *options)
    assert answer.rejection[0] == 1
    assert answer.rejection[1] in ("CLOSED", "FORGOTTEN", "NO_MONEY")
