"""Traces: from the sender of a start through the workflow to ledger and mail."""

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from temporalio.api.common.v1 import Payload
from temporalio.client import Client, Interceptor, OutboundInterceptor, SignalWorkflowInput
from temporalio.testing import WorkflowEnvironment

from activities.services import Services
from demo.runner import until
from temporal import embedded
from temporal.client import data_converter
from temporal.serving import bound, listen_beside
from temporal.tracing import Tracing
from tests.http_processes import ROOT
from tests.operation.processes import working
from tests.purchases import CLIENT, held, purchase
from worker import build_worker


@asynccontextmanager
async def collector() -> AsyncIterator[tuple[str, list[Span]]]:
    """Takes what OpenTelemetry sends: where it listens, and the spans so far."""
    spans: list[Span] = []

    async def take(request: Request) -> Response:
        sent = ExportTraceServiceRequest.FromString(await request.body())
        for resource in sent.resource_spans:
            spans.extend(span for scope in resource.scope_spans for span in scope.spans)
        return Response(media_type="application/x-protobuf")

    app = Starlette(routes=[Route("/v1/traces", take, methods=["POST"])])
    with bound("127.0.0.1", 0, "collector_listening") as listener:
        serving = asyncio.create_task(listen_beside(app, listener))
        try:
            yield "http://{}:{}".format(*listener.getsockname()), spans
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)


async def command(given: Mapping[str, str], *arguments: str) -> None:
    """One command, as a process of its own."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "starter", *arguments), cwd=ROOT, env=given
    )
    assert await process.wait() == 0


async def test_one_trace_shows_a_purchase_from_its_start_to_ledger_and_mail(
    tmp_path: Path,
) -> None:
    """The command line begins it; the worker goes on with it, in another process."""
    async with (
        embedded.server() as environment,
        collector() as (endpoint, spans),
        working(
            environment,
            tmp_path,
            OTEL_EXPORTER_OTLP_ENDPOINT=endpoint,
            OTEL_BSP_SCHEDULE_DELAY="100",
        ) as post,
    ):
        terms = tmp_path / "terms.json"
        terms.write_text(purchase().model_dump_json())
        await command(post.environment, "purchase", "--file", str(terms))
        wanted = {
            "StartWorkflow:ProjectPurchase",
            "RunWorkflow:ProjectPurchase",
            "StartActivity:take_payment",
            "RunActivity:take_payment",
            "ledger hold",
            "RunActivity:send_notices",
            "notice maildir",
        }
        while not wanted <= {span.name for span in spans}:  # noqa: ASYNC110 - other processes
            await asyncio.sleep(0.05)

    found = {span.name: span for span in spans}
    assert {found[name].trace_id for name in wanted} == {found["ledger hold"].trace_id}
    assert found["ledger hold"].parent_span_id == found["RunActivity:take_payment"].span_id
    assert found["notice maildir"].parent_span_id == found["RunActivity:send_notices"].span_id
    exported = str(spans)
    assert not [
        secret for secret in ("@example.com", "Ana", "Logo", "pm_sandbox") if secret in exported
    ]


class Forging(Interceptor):
    """Writes something else where a message says to which trace it belongs."""

    def __init__(self, header: bytes, encoding: bytes) -> None:
        self.header = Payload(metadata={"encoding": encoding}, data=header)

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        forging = self

        class Forges(OutboundInterceptor):
            async def signal_workflow(self, input: SignalWorkflowInput) -> None:
                input.headers = {"_tracer-data": forging.header}
                await super().signal_workflow(input)

        return Forges(next)


@pytest.mark.parametrize(
    ("header", "encoding"),
    [
        (b"\xff\x00", b"json/plain"),
        (b"[]", b"json/plain"),
        (b'"traceparent"', b"json/plain"),
        (b'{"traceparent": 7}', b"json/plain"),
        (b'{"traceparent": "rubbish", "tracestate": "="}', b"json/plain"),
        (b"\xff", b"binary/encrypted"),
        (b"", b"binary/null"),
    ],
    ids=str,
)
async def test_a_forged_trace_stops_no_purchase(
    header: bytes,
    encoding: bytes,
    bare_server: WorkflowEnvironment,
    services: Services,
    threads: ThreadPoolExecutor,
) -> None:
    """A message with an invalid trace header is handled like any other."""
    address = embedded.address(bare_server.client)
    shared: dict[str, Any] = {"data_converter": data_converter()}
    client = await Client.connect(address, interceptors=[Tracing()], **shared)
    forging = await Client.connect(address, interceptors=[Forging(header, encoding)], **shared)
    async with build_worker(client, services, threads):
        handle = await held(bare_server)
        sent = forging.get_workflow_handle(handle.id)
        await sent.signal("send_message", {"by": CLIENT, "text": "Hello?"})
        found = await until(handle, lambda s: s.timeline[-1].transition == "message_sent")

    assert found.rejected_count == 0
