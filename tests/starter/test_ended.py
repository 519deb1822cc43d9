"""Purchases that ended before they were closed: terminated by an operator, or never started."""

import json
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from temporalio.client import Client, WorkflowFailureError
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError
from temporalio.testing import WorkflowEnvironment

from activities.keys import workflow_id_of
from activities.requests import TASK_QUEUE
from demo.runner import until
from temporal import purchases
from temporal.purchases import Purchase
from temporal.runs import WORKFLOW_TYPE
from tests.purchases import deleted, purchase
from tests.starter.conftest import Cli
from tests.starter.test_looks import ANA, eventually
from tests.starter.test_purchase_command import DOCUMENT
from workflows.messages import Status

pytestmark = pytest.mark.usefixtures("cli_worker")


async def test_a_terminated_purchase_waits_for_an_operator(
    cli: Cli, cli_purchase: Purchase
) -> None:
    """Status, list, actions and messages say that it ended, and the command that continues it."""
    purchase_id = cli_purchase.id
    what_to_do = f"Ended by an operator with 250.00 USD inside: run recourse adopt {purchase_id}"
    await cli_purchase.handle.terminate("for the test")

    program = Status.model_validate_json((await cli("status", purchase_id, "--json")).out)
    assert (program.waiting_for, program.deadlines) == ("operator", ())
    assert (program.attention[0].kind, program.attention[0].text) == (
        "workflow_terminated",
        what_to_do,
    )
    assert what_to_do in _one_line((await cli("status", purchase_id)).out)

    actions = await cli("actions", purchase_id, *ANA, "--json")
    assert {(item["allowed"], item["code"], item["why_not"]) for item in actions.document} == {
        (False, "ENDED", what_to_do)
    }
    for words in (("cancel",), ("cancel", "--signal")):
        refused = await cli(words[0], purchase_id, *ANA, *words[1:])
        assert refused.rejection == (1, "ENDED")
        assert f"recourse adopt {purchase_id}" in refused.err

    listed = await eventually(cli, "list", "--needs-attention")
    (item,) = [each for each in listed if each["purchase_id"] == purchase_id]
    assert (item["workflow_status"], item["stage"]) == ("terminated", "awaiting_requirements")
    assert item["next_deadline"] is None
    person = await cli("list", "--stage", "awaiting_requirements")
    assert "ended by an operator, was" in _one_line(person.out)

    assert (await cli.process("adopt", purchase_id)).status == 0
    again = Status.model_validate_json((await cli("status", purchase_id, "--json")).out)
    assert (again.waiting_for, again.attention) == ("client", ())
    assert len(again.deadlines) == 1


async def _malformed(client: Client, **options: Any) -> str:
    """A start with an amount of 250.5, by another client; the purchase's id."""
    purchase_id = f"malformed-{uuid4()}"
    price = {"amount": 250.5, "currency": "USD"}
    handle = await client.start_workflow(
        WORKFLOW_TYPE,
        {**DOCUMENT, "purchase_id": purchase_id, "price": price},
        id=workflow_id_of(purchase_id),
        task_queue=TASK_QUEUE,
        **options,
    )
    with pytest.raises(WorkflowFailureError) as failure:
        await handle.result()
    assert isinstance(failure.value.cause, ApplicationError)
    assert failure.value.cause.message == (
        f"Purchase {purchase_id} never started, and no money moved: price.amount must be a whole "
        "number of minor units, such as cents. Send the corrected input under the same id with "
        "`recourse purchase`, or with the workflow id reuse policy AllowDuplicateFailedOnly."
    )
    return purchase_id


async def test_a_malformed_start_says_what_to_do(cli: Cli, cli_client: Client) -> None:
    """Each command repeats the failure's sentence; the list needs nobody."""
    purchase_id = await _malformed(cli_client)

    for words in (("status",), ("actions", *ANA), ("cancel", *ANA), ("adopt",)):
        answer = await cli(words[0], purchase_id, *words[1:])
        assert answer.rejection == (1, "INVALID_INPUT")
        assert "price.amount must be a whole number of minor units" in answer.err
    listed = await eventually(cli, "list")
    (item,) = [each for each in listed if each["purchase_id"] == purchase_id]
    assert (item["workflow_status"], item["needs_attention"]) == ("failed", False)
    assert "never started: invalid input" in _one_line((await cli("list")).out)


async def test_a_start_on_a_mistyped_task_queue_is_started_again_under_its_id(
    cli: Cli, cli_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it waits, commands name the queue. Once it is terminated, `recourse purchase` starts
    it: no worker has taken it, so its id was not used."""
    monkeypatch.setattr(purchases, "ANSWER_WITHIN", timedelta(seconds=1))
    terms = purchase()
    handle = await cli_client.start_workflow(
        WORKFLOW_TYPE,
        terms,
        id=workflow_id_of(terms.purchase_id),
        task_queue=TASK_QUEUE.removesuffix("s"),
    )
    for words in (("status",), ("cancel", *ANA)):
        waits = await cli(words[0], terms.purchase_id, *words[1:])
        assert waits.rejection == (3, "NO_WORKER")
        assert f"on the task queue '{TASK_QUEUE.removesuffix('s')}'" in waits.err
        assert "worker.py" not in waits.err

    await handle.terminate("mistyped")
    for words, code in (
        (("status",), "ENDED"),
        (("cancel", *ANA), "ENDED"),
        (("adopt",), "NO_MONEY"),
    ):
        ended = await cli(words[0], terms.purchase_id, *words[1:])
        assert ended.rejection == (1, code)
        assert "`recourse purchase`" in ended.err

    document = terms.model_dump_json(exclude_none=True)
    answers = [
        await cli.process("purchase", "--file", "-", "--json", stdin=document) for _ in range(2)
    ]
    assert [answer.document["already_started"] for answer in answers] == [False, True]


async def test_starts_that_failed_are_listed_with_what_to_do(
    cli: Cli, cli_client: Client, cli_purchase: Purchase
) -> None:
    """By a filter of their own; one that was corrected is not listed any more."""
    purchase_id, other = await _malformed(cli_client), await _malformed(cli_client)

    listed: dict[str, Any] = {}
    while not {purchase_id, other} <= set(listed):
        found = await eventually(cli, "list", "--never-started")
        listed = {each["purchase_id"]: each["why_not_started"] for each in found}
    assert cli_purchase.id not in listed
    assert "price.amount must be a whole number of minor units" in listed[purchase_id]
    assert "Send the corrected input" in listed[purchase_id]
    shown = await cli("list", "--never-started", "--limit", "1")
    assert "price.amount must be a whole number" in _one_line(shown.out)
    assert "a higher --limit than 1 shows more" in _one_line(shown.out)

    corrected = json.dumps({**DOCUMENT, "purchase_id": purchase_id})
    assert (await cli.process("purchase", "--file", "-", stdin=corrected)).status == 0
    found = await eventually(cli, "list", "--never-started")
    assert purchase_id not in {each["purchase_id"] for each in found}


async def test_a_corrected_start_runs_under_the_same_id(cli: Cli, cli_client: Client) -> None:
    """`recourse purchase` starts it, once; afterwards the id is used."""
    purchase_id = await _malformed(cli_client)
    corrected = json.dumps({**DOCUMENT, "purchase_id": purchase_id})

    answers = [
        await cli.process("purchase", "--file", "-", "--json", stdin=corrected) for _ in range(2)
    ]

    assert [answer.document["already_started"] for answer in answers] == [False, True]
    bought = Purchase(cli_client, purchase_id)
    await until(bought.handle, lambda found: found.payment == "held")
    other = json.dumps({**DOCUMENT, "purchase_id": purchase_id, "title": "Another"})
    refused = await cli.process("purchase", "--file", "-", stdin=other)
    assert refused.rejection == (1, "PURCHASE_EXISTS")


@pytest.mark.parametrize("policy", list(WorkflowIDReusePolicy), ids=lambda policy: policy.name)
async def test_which_reuse_policy_a_corrected_start_needs(
    policy: WorkflowIDReusePolicy, cli_client: Client
) -> None:
    """What the server does today: every policy but REJECT_DUPLICATE lets it through."""
    purchase_id = await _malformed(cli_client, id_reuse_policy=policy)
    if policy is WorkflowIDReusePolicy.TERMINATE_IF_RUNNING:
        return  # deprecated in favour of a conflict policy
    corrected = purchase(purchase_id=purchase_id)
    start = cli_client.start_workflow(
        WORKFLOW_TYPE,
        corrected,
        id=workflow_id_of(purchase_id),
        task_queue=TASK_QUEUE,
        id_reuse_policy=policy,
    )
    if policy is WorkflowIDReusePolicy.REJECT_DUPLICATE:
        with pytest.raises(WorkflowAlreadyStartedError):
            await start
    else:
        await start


def _one_line(text: str) -> str:
    return " ".join(text.split())


async def test_a_rejected_second_start_does_not_hide_a_terminated_purchase(
    cli: Cli, cli_client: Client, cli_purchase: Purchase
) -> None:
    """Its money is in the run before: every command is about that run."""
    await cli_purchase.handle.terminate("for the test")
    other = {**DOCUMENT, "purchase_id": cli_purchase.id, "title": "Another"}
    second = await cli_client.start_workflow(
        WORKFLOW_TYPE, other, id=cli_purchase.workflow_id, task_queue=TASK_QUEUE
    )
    with pytest.raises(WorkflowFailureError):
        await second.result()

    what = f"Ended by an operator with 250.00 USD inside: run recourse adopt {cli_purchase.id}"
    assert what in _one_line((await cli("status", cli_purchase.id)).out)
    refused = await cli("cancel", cli_purchase.id, *ANA)
    assert refused.rejection == (1, "ENDED")
    assert what in refused.err
    actions = await cli("actions", cli_purchase.id, *ANA, "--json")
    assert {item["code"] for item in actions.document} == {"ENDED"}
    listed = await eventually(cli, "list", "--needs-attention")
    (item,) = [each for each in listed if each["purchase_id"] == cli_purchase.id]
    assert item["workflow_status"] == "terminated"
    assert (await cli.process("adopt", cli_purchase.id)).status == 0


async def test_a_purchase_under_an_id_that_temporal_forgot_is_rejected(
    cli: Cli, cli_client: Client, cli_purchase: Purchase
) -> None:
    """The ledger knows the id. Corrected input would not help, so nobody is advised to send it."""
    await cli_purchase.handle.terminate("for the test")
    await deleted(WorkflowEnvironment.from_client(cli_client), cli_purchase.id)
    forgotten = await cli("status", cli_purchase.id)
    assert forgotten.rejection == (1, "NOT_FOUND")
    assert f"recourse ledger {cli_purchase.id}" in forgotten.err

    again = json.dumps({**DOCUMENT, "purchase_id": cli_purchase.id, "title": "Another"})
    answer = await cli.process("purchase", "--file", "-", stdin=again)

    assert answer.rejection == (1, "INVALID_INPUT")
    assert "was bought before" in answer.err
    assert "start it with a new id" in answer.err
    assert "corrected input" not in answer.err
    listed = await eventually(cli, "list")
    (item,) = [each for each in listed if each["purchase_id"] == cli_purchase.id]
    assert (item["workflow_status"], item["needs_attention"]) == ("failed", False)


async def test_purchase_says_what_became_of_the_payment(cli: Cli) -> None:
    terms = {**DOCUMENT, "purchase_id": f"paid-{uuid4()}"}
    answer = await cli.process("purchase", "--file", "-", stdin=json.dumps(terms))
    assert (answer.status, "The money is held in escrow." in answer.out) == (0, True)


async def test_a_payment_that_is_declined_is_no_success(cli: Cli) -> None:
    """A script must not go on as if it were paid: exit status 1 and the reason, also when the
    command is repeated."""
    for method, why in (
        ("pm_sandbox_declined", "The client's bank declined the charge"),
        ("pm_of_nobody", "Use pm_sandbox_ok, or another one of docs/sandbox.md"),
    ):
        terms = {**DOCUMENT, "purchase_id": f"unpaid-{uuid4()}", "payment_method": method}
        for _ in range(2):
            answer = await cli.process("purchase", "--file", "-", stdin=json.dumps(terms))
            assert answer.rejection == (1, "PAYMENT_DECLINED")
            assert why in answer.err
            assert "…" not in answer.err
            assert "Another purchase needs a new id." in answer.err
