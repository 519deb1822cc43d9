"""`metrics`: business metrics for Prometheus, measured at each scrape.

One process per namespace is enough. It queries the server's visibility and the database, never a
worker, so it also works while no worker runs. Amounts are minor units, ages seconds.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog
from prometheus_client import Metric, generate_latest
from prometheus_client.core import GaugeHistogramMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from temporalio.api.workflowservice.v1 import CountWorkflowExecutionsRequest
from temporalio.client import Client

from activities.ledger import Ledger
from activities.notices.log import DeliveryLog
from activities.requests import AuditReport
from starter.database import opened
from temporal.client import connect
from temporal.executions import executions
from temporal.runs import RUNNING
from temporal.serving import LISTENS, listen
from workflows import view
from workflows.lifecycle.state import Stage

TEXT = "text/plain; version=0.0.4; charset=utf-8"
MISSED_AFTER = timedelta(minutes=5)
UNDELIVERED_FOR = timedelta(days=7)
"""An undelivered notice is counted for this time; the delivery log keeps it."""
AGES = tuple(timedelta(hours=hours) for hours in (1, 24, 48, 72, 120, 168, 240, 336, 720))
MONEY_STATES = (
    "held",
    "in_transit",
    "refunded",
    "released",
    "charged_back",
    "platform_losses",
    "freelancer_receivables",
)
LONGEST_WAIT = timedelta(seconds=5)

_FAILING = (
    f"{RUNNING} AND TemporalReportedProblems IN "
    "('category=WorkflowTaskFailed', 'category=WorkflowTaskTimedOut')"
)
_AUDITED = "WorkflowType = 'LedgerAudit' AND ExecutionStatus = 'Completed'"

log = structlog.get_logger()


async def serve(host: str, port: int) -> None:
    """Listen until stopped. Raises Unreachable, WrongSetting or Unavailable."""
    client = await connect()
    with opened() as engine:
        collector = MetricsCollector(client, Ledger(engine), DeliveryLog(engine))
        await listen(metrics_server(collector), host, port, "metrics_listening")


def metrics_server(collector: "MetricsCollector") -> Starlette:
    """The ASGI application: `GET /metrics`, and `/healthz` for health checks."""

    async def metrics(_: Request) -> Response:
        return Response(await collector.text(datetime.now(UTC)), media_type=TEXT)

    return Starlette(routes=[Route("/metrics", metrics), LISTENS])


@dataclass(frozen=True)
class MetricsCollector:
    """Collects the metrics from their sources."""

    client: Client
    ledger: Ledger
    notices: DeliveryLog

    async def text(self, now: datetime) -> str:
        """Return all metrics in Prometheus' text format. A source that does not answer is left out,
        and `recourse_up` is 0 for it."""
        sources = {
            "temporal": _collected(self._temporal(now)),
            "audit": _collected(self._audit(now)),
            "ledger": asyncio.to_thread(lambda: list(self._ledger_metrics(now))),
        }
        found = await asyncio.gather(*(_or_nothing(*source) for source in sources.items()))
        up = _gauge("up", "Whether the source answered", "what")
        for name, metrics in zip(sources, found, strict=True):
            up.add_metric([name], metrics is not None)
        measured = _Measured([up, *(metric for metrics in found for metric in metrics or ())])
        return generate_latest(measured).decode()

    async def _temporal(self, now: datetime) -> AsyncIterator[Metric]:
        stages = _gauge("purchases", "Purchases that are running, by stage", "stage")
        running = [stage for stage in Stage if stage is not Stage.CLOSED]
        counts = (self._count(f"{RUNNING} AND {view.STAGE.name} = '{s.value}'") for s in running)
        for stage, count in zip(running, await asyncio.gather(*counts), strict=True):
            stages.add_metric([stage.value], count)
        yield stages
        missed = (now - MISSED_AFTER).isoformat().replace("+00:00", "Z")
        for name, documentation, query in (
            (
                "attention_open",
                "Purchases that wait for a person",
                f"{RUNNING} AND {view.NEEDS_ATTENTION.name} = true",
            ),
            (
                "deadlines_missed",
                "Purchases whose deadline passed over five minutes ago without taking effect",
                f"{RUNNING} AND {view.DEADLINE.name} < '{missed}'",
            ),
            ("workflow_tasks_failing", "Purchases whose workflow task fails repeatedly", _FAILING),
        ):
            yield _value(name, documentation, await self._count(query))

    async def _audit(self, now: datetime) -> AsyncIterator[Metric]:
        """A source of its own: its result may be encrypted with a key that this process lacks."""
        async for audit in executions(self.client, _AUDITED):
            handle = self.client.get_workflow_handle(
                audit.id, run_id=audit.run_id, result_type=AuditReport
            )
            found = await handle.result()
            age = max(0.0, (now - audit.closed_at).total_seconds()) if audit.closed_at else 0
            yield _value("audit_age_seconds", "Since the last audit was completed", age)
            differences = len(found.differences) + found.more
            yield _value("audit_differences", "What the last audit found", differences)
            return

    async def _count(self, query: str) -> int:
        request = CountWorkflowExecutionsRequest(namespace=self.client.namespace, query=query)
        counted = await self.client.workflow_service.count_workflow_executions(
            request, timeout=LONGEST_WAIT
        )
        return counted.count

    def _ledger_metrics(self, now: datetime) -> Iterator[Metric]:
        money = _gauge("money_minor_units", "Money by state, in minor units", "state", "currency")
        waiting = _gauge("refunds_in_transit", "Refunds in transit", "currency")
        in_transit = self.ledger.in_transit()
        for of in self.ledger.positions():
            for state in MONEY_STATES:
                money.add_metric([state, of.currency], getattr(of, state))
            same = [refund for refund in in_transit if refund.currency == of.currency]
            waiting.add_metric([of.currency], len(same))
        yield money
        yield waiting
        ages = [max(0.0, (now - refund.since).total_seconds()) for refund in in_transit]
        yield _ages(ages)
        oldest = max(ages, default=0)
        yield _value("refund_in_transit_oldest_seconds", "Age of the oldest refund", oldest)
        lost = _gauge(
            "notices_undelivered", "Notices of the last week that were not delivered", "channel"
        )
        for channel, count in self.notices.undelivered(now - UNDELIVERED_FOR, now).items():
            lost.add_metric([channel], count)
        yield lost


@dataclass(frozen=True)
class _Measured(Collector):
    metrics: list[Metric]

    def collect(self) -> list[Metric]:
        return self.metrics


def _gauge(name: str, documentation: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"recourse_{name}", documentation, labels=labels)


def _value(name: str, documentation: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"recourse_{name}", documentation, value=value)


def _ages(ages: list[float]) -> GaugeHistogramMetricFamily:
    """Return the ages of the refunds that are sent and not settled, as a histogram."""
    limits = [age.total_seconds() for age in AGES]
    buckets = [(str(limit), sum(age <= limit for age in ages)) for limit in limits]
    return GaugeHistogramMetricFamily(
        "recourse_refund_in_transit_age_seconds",
        "Seconds since the decision, of the refunds now in transit",
        buckets=[*buckets, ("+Inf", len(ages))],
        gsum_value=sum(ages),
    )


async def _collected(metrics: AsyncIterator[Metric]) -> list[Metric]:
    return [metric async for metric in metrics]


async def _or_nothing(what: str, asked: Awaitable[list[Metric]]) -> list[Metric] | None:
    try:
        return await asked
    except Exception as error:  # the other sources are measured all the same
        log.warning("metrics_incomplete", what=what, why=f"{type(error).__name__}: {error}")
        return None
