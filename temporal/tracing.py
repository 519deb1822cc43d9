"""OpenTelemetry traces, from a sender through a purchase to ledger and mail.

OpenTelemetry's own variables configure the exporter: `OTEL_EXPORTER_OTLP_ENDPOINT`,
`OTEL_SERVICE_NAME` and so on.
"""

from collections.abc import Sequence
from typing import Any

import opentelemetry.trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from temporalio.api.common.v1 import Payload
from temporalio.contrib.opentelemetry import TracingInterceptor, TracingWorkflowInboundInterceptor
from temporalio.converter import DefaultPayloadConverter
from temporalio.worker import WorkflowInboundInterceptor, WorkflowInterceptorClassInput

SERVICE = "recourse"
SENT_WITHIN_MILLIS = 2_000


def start() -> None:
    """Start exporting spans; repeated calls do nothing."""
    if isinstance(opentelemetry.trace.get_tracer_provider(), TracerProvider):
        return
    named = OTELResourceDetector().detect()
    provider = TracerProvider(resource=Resource.create({SERVICE_NAME: SERVICE}).merge(named))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    opentelemetry.trace.set_tracer_provider(provider)


def flush() -> None:
    """Export the pending spans; a process calls this when it ends."""
    provider = opentelemetry.trace.get_tracer_provider()
    if isinstance(provider, TracerProvider):
        provider.force_flush(SENT_WITHIN_MILLIS)


class _Lenient(DefaultPayloadConverter):
    """Reads the trace context from a message's headers. Senders may write anything there, and an
    exception in a handler would block the purchase: invalid headers count as absent."""

    def from_payloads(
        self, payloads: Sequence[Payload], type_hints: list[type] | None = None
    ) -> list[Any]:
        try:
            (carrier,) = super().from_payloads(payloads, type_hints)
        except Exception:  # a converter may raise anything for invalid bytes
            return [{}]
        if not isinstance(carrier, dict):
            return [{}]
        return [{key: value for key, value in carrier.items() if isinstance(value, str)}]


class Tracing(TracingInterceptor):
    """Creates a span for each start, message, workflow task and activity, under the span that
    started the purchase."""

    def __init__(self) -> None:
        super().__init__()
        self.payload_converter = _Lenient()

    def workflow_interceptor_class(
        self, input: WorkflowInterceptorClassInput
    ) -> type[TracingWorkflowInboundInterceptor]:
        """As above."""
        super().workflow_interceptor_class(input)
        return _TracesWorkflow


class _TracesWorkflow(TracingWorkflowInboundInterceptor):
    def __init__(self, next: WorkflowInboundInterceptor) -> None:
        super().__init__(next)
        self.payload_converter = _Lenient()
