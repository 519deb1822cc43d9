"""The Nexus service `Purchases`, called by workflows of another namespace on a real server."""

import asyncio
import shlex
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from nexusrpc import get_service_definition
from temporalio import workflow
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest
from temporalio.client import Client
from temporalio.exceptions import NexusOperationError
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from activities.requests import TASK_QUEUE
from activities.services import Services, WrongSetting
from temporal import embedded
from temporal.nexus import SERVICE, Purchases, Send, rejection_of
from temporal.nexus_handler import PurchasesHandler, _message, read_endpoints
from temporal.plugin import RecoursePlugin
from tests.integration_page import blocks, run, run_program
from tests.purchases import CLIENT, FREELANCER, OPERATOR, purchase
from workflows.messages import Cancel, Role, Sender

SHOP, DESK, UNLISTED = "recourse-shop", "recourse-desk", "recourse-nobody"
ENDPOINTS = read_endpoints(f"{SHOP}:client+freelancer,{DESK}:operator")
WITHIN = timedelta(seconds=30)


@workflow.defn(sandboxed=False)
class Call:
    """One operation with plain JSON, as other languages call it."""

    @workflow.run
    async def run(self, endpoint: str, operation: str, given: Any) -> Any:
        service = workflow.create_nexus_client(service=SERVICE, endpoint=endpoint)
        try:
            return await service.execute_operation(
                operation, given, schedule_to_close_timeout=WITHIN
            )
        except NexusOperationError as error:
            rejection = rejection_of(error)
            return {"type": rejection.type, "text": rejection.message} if rejection else str(error)


@dataclass
class Caller:
    """A client of the other namespace, whose worker runs."""

    client: Client
    calls: int = 0

    async def __call__(self, operation: str, given: Any, endpoint: str = SHOP) -> Any:
        self.calls += 1
        return await self.client.execute_workflow(
            Call.run, args=[endpoint, operation, given], id=f"call-{self.calls}", task_queue="calls"
        )

    async def send(self, bought: str, name: str, endpoint: str = SHOP, **message: Any) -> Any:
        """Send a message."""
        given = {"purchase_id": bought, "name": name, "message": message}
        return await self("send", given, endpoint)


async def other_namespace(server: WorkflowEnvironment, name: str) -> Client:
    """A client of a new namespace, once the server serves it."""
    day = Duration(seconds=86_400)
    await server.client.workflow_service.register_namespace(
        RegisterNamespaceRequest(namespace=name, workflow_execution_retention_period=day)
    )
    client = await Client.connect(embedded.address(server.client), namespace=name)
    for _ in range(200):
        try:
            await client.count_workflows()
            return client
        except RPCError:
            await asyncio.sleep(0.05)
    pytest.fail("The server does not serve the namespace.")


@pytest.fixture(scope="module")
async def caller(bare_server: WorkflowEnvironment, services: Services) -> AsyncIterator[Caller]:
    """Purchases in the namespace `default`, and a worker in the namespace `shop`. One endpoint is
    created by the command on the page."""
    for endpoint in (DESK, UNLISTED):
        await bare_server.create_nexus_endpoint(endpoint, TASK_QUEUE)
    (create,) = (each for each in blocks("sh") if each.startswith("temporal operator"))
    created, said = await run(bare_server, *shlex.split(create.replace("\\\n", "")))
    assert created == 0, said
    other = await other_namespace(bare_server, "shop")
    plugin = RecoursePlugin(services, nexus=ENDPOINTS)
    async with (
        Worker(bare_server.client, task_queue=TASK_QUEUE, plugins=[plugin]),
        Worker(other, task_queue="calls", workflows=[Call]),
    ):
        yield Caller(other)


@pytest.fixture
async def bought(caller: Caller) -> str:
    """A purchase that was started through the service."""
    terms = purchase().model_dump(mode="json", exclude_none=True)
    started = await caller("start", terms)
    assert started == {
        "purchase_id": terms["purchase_id"],
        "workflow_id": f"purchase-{terms['purchase_id']}",
        "already_started": False,
    }
    return str(terms["purchase_id"])


async def test_a_workflow_of_another_namespace_sends_and_reads(caller: Caller, bought: str) -> None:
    receipt = await caller.send(bought, "cancel", by=CLIENT)
    assert (receipt["accepted"], receipt["stage"]) == (True, "refund_requested")

    status = await caller("status", {"purchase_id": bought, "by": FREELANCER})
    assert status["waiting_for"] == "freelancer"
    actions = await caller("actions", {"purchase_id": bought, "by": FREELANCER})
    assert "decide_refund" in [each["message"] for each in actions if each["allowed"]]


async def test_a_start_is_repeated_and_no_other_takes_its_id(caller: Caller) -> None:
    terms = purchase().model_dump(mode="json", exclude_none=True)
    assert (await caller("start", terms))["already_started"] is False
    assert (await caller("start", terms))["already_started"] is True
    other = await caller("start", {**terms, "title": "Another logo"})
    assert other["type"] == "PURCHASE_EXISTS"


async def test_a_rejection_has_the_code_and_the_sentence_and_is_not_retried(
    caller: Caller, bought: str
) -> None:
    await caller.send(bought, "cancel", by=CLIENT)
    rejected = await caller.send(bought, "cancel", by=CLIENT)
    assert rejected["type"] == "ALREADY_REQUESTED"
    assert rejected["text"].endswith(".")


async def test_a_message_with_an_id_counts_once(caller: Caller, bought: str) -> None:
    first = await caller.send(bought, "send_message", by=CLIENT, text="Hi", message_id="m-1")
    again = await caller.send(bought, "send_message", by=CLIENT, text="Hi", message_id="m-1")
    assert again == first
    status = await caller("status", {"purchase_id": bought, "by": CLIENT})
    assert [each["transition"] for each in status["timeline"]].count("message_sent") == 1


def test_attempts_of_one_request_are_one_message() -> None:
    """The server repeats a request under its id."""
    given = Send.to("p-1", Cancel(by=Sender(role=Role.CLIENT, id="ana")))
    first = _message(given, "8d3f")
    assert first == _message(given, "8d3f") != _message(given, "9e40")
    assert _message(given, "x" * 500).message_id


async def test_an_endpoint_acts_in_its_roles_only(caller: Caller, bought: str) -> None:
    for operation in ("status", "actions"):
        found = await caller(operation, {"purchase_id": bought, "by": OPERATOR})
        assert found["type"] == "FORBIDDEN"
    retry = await caller.send(bought, "resolve_attention", by=OPERATOR, action="retry")
    assert retry == {
        "type": "FORBIDDEN",
        "text": "This endpoint may not act as operator, only as: client, freelancer.",
    }
    seen = await caller("status", {"purchase_id": bought, "by": OPERATOR}, DESK)
    assert seen["purchase_id"] == bought


async def test_an_endpoint_that_is_not_listed_may_do_nothing(caller: Caller, bought: str) -> None:
    found = await caller("status", {"purchase_id": bought, "by": CLIENT}, UNLISTED)
    assert found["type"] == "FORBIDDEN"
    assert "RECOURSE_NEXUS_ENDPOINTS" in found["text"]


async def test_the_freelancer_does_not_see_where_the_payment_is_confirmed(caller: Caller) -> None:
    """As over HTTP: the link is the client's own."""
    terms = purchase("pm_sandbox_needs_client").model_dump(mode="json", exclude_none=True)
    await caller("start", terms)
    asked = {"purchase_id": terms["purchase_id"]}
    while not (await caller("status", {**asked, "by": CLIENT}))["confirm_url"]:
        pass
    assert (await caller("status", {**asked, "by": FREELANCER}))["confirm_url"] is None


async def test_a_party_reaches_its_own_purchases_only(caller: Caller, bought: str) -> None:
    """Alike if there is no such purchase."""
    eve = {"role": "client", "id": "eve"}
    found = [
        await caller("status", {"purchase_id": bought, "by": eve}),
        await caller("status", {"purchase_id": "nobody-s", "by": eve}),
        await caller.send(bought, "cancel", by=eve),
    ]
    assert found[0]["type"] == "NOT_A_PARTY"
    assert found == [found[0]] * 3


async def test_a_shop_does_not_say_where_a_purchase_stands(caller: Caller) -> None:
    terms = purchase().model_dump(mode="json", exclude_none=True)
    del terms["payment_method"]
    imported = {
        **terms,
        "payment_reference": "ch_1",
        "purchased_at": "2026-01-02T00:00:00Z",
        "imported": {"stage": "in_progress", "deadlines": {"dormancy": "2036-01-02T00:00:00Z"}},
    }
    assert (await caller("start", imported))["type"] == "FORBIDDEN"


@pytest.mark.parametrize(
    ("operation", "given", "code", "sentence"),
    [
        ("start", {"purchase_id": "p"}, "INVALID_INPUT", "title is missing"),
        ("status", ["p"], "INVALID_INPUT", "must be a JSON object"),
        ("status", {"purchase_id": "p", "as": CLIENT}, "INVALID_INPUT", "as is unknown"),
        (
            "send",
            {"purchase_id": "p", "name": "cancle", "message": {"by": CLIENT}},
            "UNKNOWN_MESSAGE",
            "Known are: submit_requirements",
        ),
        (
            "send",
            {"purchase_id": "p", "name": "cancel", "message": {"by": CLIENT, "resaon": "x"}},
            "INVALID_MESSAGE",
            "resaon is unknown",
        ),
    ],
    ids=str,
)
async def test_what_cannot_be_right_says_what_is_wrong(
    caller: Caller, operation: str, given: Any, code: str, sentence: str
) -> None:
    found = await caller(operation, given)
    assert found["type"] == code
    assert sentence in found["text"]


def test_every_operation_of_the_service_is_served() -> None:
    served, promised = map(get_service_definition, (PurchasesHandler, Purchases))
    assert served
    assert promised
    assert served.name == promised.name
    assert {name: each.output_type for name, each in served.operation_definitions.items()} == {
        name: each.output_type for name, each in promised.operation_definitions.items()
    }


async def test_the_program_on_the_page_runs(
    caller: Caller, bare_server: WorkflowEnvironment, tmp_path: Path
) -> None:
    """A workflow of the shop starts a purchase, cancels it twice, and reads status and actions."""
    program = next(each for each in blocks("python") if "create_nexus_client" in each)
    status, said = await run_program(bare_server, program, tmp_path)
    assert status == 0, said
    stage, rejection, waiting_for, *actions = said.splitlines()
    assert (stage, waiting_for) == ("refund_requested", "freelancer")
    assert rejection.startswith("ALREADY_REQUESTED: ")
    assert "withdraw_cancellation" in actions


@pytest.mark.parametrize(
    "setting", ["shop", "shop:", "shop:boss", ":client", "a:client,a:operator"]
)
def test_a_wrong_setting_is_named(setting: str) -> None:
    with pytest.raises(WrongSetting, match="RECOURSE_NEXUS_ENDPOINTS"):
        read_endpoints(setting)
