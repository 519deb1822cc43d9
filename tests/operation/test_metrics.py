"""The business in numbers: `python -m starter metrics`, and the counters of a worker."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families
from temporalio import workflow
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from activities.services import Services
from demo.runner import send, skip, until
from demo.scenarios import PRICE
from starter.metrics import MetricsCollector
from temporal import embedded
from temporal.codec import Encryption, read_keys
from temporal.ports import free_port
from temporal.registration import register_schedules
from temporal.telemetry import BUCKETS
from tests.conftest import settings
from tests.http_processes import http_process
from tests.operation.processes import working
from tests.purchases import CLIENT, held
from tests.security.keys import NEW
from worker import build_worker
from workflows.messages import Role

Samples = Mapping[tuple[str, frozenset[tuple[str, str]]], float]
Own = tuple[WorkflowEnvironment, Services, MetricsCollector]


def read(text: str) -> Samples:
    """Every sample of an answer to a scrape."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def named(samples: Samples, name: str, **labels: str) -> float:
    """One sample."""
    return samples[(f"recourse_{name}", frozenset(labels.items()))]


@pytest.fixture
async def own(tmp_path: Path) -> AsyncIterator[Own]:
    """A server and a ledger of its own, so that what is counted is known."""
    async with embedded.server(skip_time=True) as environment:
        services = Services(settings(tmp_path))
        yield (
            environment,
            services,
            MetricsCollector(environment.client, services.ledger, services.notices),
        )
        services.close()


async def test_metrics_show_where_purchases_and_money_are(
    own: Own, threads: ThreadPoolExecutor
) -> None:
    """One waits for requirements, one waits for a person, one refund is on its way."""
    environment, services, collector = own
    async with build_worker(environment.client, services, threads):
        await held(environment)
        sent = await held(environment, payment_method="pm_sandbox_slow")
        await send(sent, Role.FREELANCER, "cancel")
        await until(sent, lambda found: found.escrow.in_transit == PRICE)
        late = await held(environment, payment_method="pm_sandbox_slow")
        await send(late, Role.FREELANCER, "cancel")
        await skip(environment, late, timedelta(days=9))
        await until(late, lambda found: bool(found.attention))
        now = datetime.now(UTC)
        found = await settled(collector, now)
        later = read(await collector.text(now + timedelta(days=3)))

    assert named(found, "up", what="temporal") == named(found, "up", what="ledger") == 1
    assert named(found, "purchases", stage="awaiting_requirements") == 1
    assert named(found, "purchases", stage="settling") == 2
    assert named(found, "attention_open") == 1
    assert named(found, "deadlines_missed") == 0
    assert named(found, "workflow_tasks_failing") == 0
    assert named(found, "money_minor_units", state="held", currency="USD") == PRICE
    assert named(found, "money_minor_units", state="in_transit", currency="USD") == 2 * PRICE
    assert named(found, "money_minor_units", state="released", currency="USD") == 0
    assert named(found, "refunds_in_transit", currency="USD") == 2
    assert 0 <= named(found, "refund_in_transit_oldest_seconds") < 60
    assert named(found, "refund_in_transit_age_seconds_bucket", le="3600.0") == 2
    assert named(later, "refund_in_transit_age_seconds_bucket", le="172800.0") == 0
    assert named(later, "refund_in_transit_age_seconds_bucket", le="432000.0") == 2


async def settled(collector: MetricsCollector, now: datetime) -> Samples:
    """The numbers, once the server's search has caught up with what happened."""
    while True:
        found = read(await collector.text(now))
        if named(found, "attention_open") and named(found, "purchases", stage="settling") == 2:
            return found


async def test_metrics_show_deadlines_that_nobody_keeps(
    own: Own, threads: ThreadPoolExecutor
) -> None:
    """With no worker there, a deadline passes and nothing happens: visible to who looks."""
    environment, services, collector = own
    async with build_worker(environment.client, services, threads):
        await held(environment)
    now = datetime.now(UTC)
    while not named(read(await collector.text(now)), "purchases", stage="awaiting_requirements"):
        pass
    kept = read(await collector.text(now + timedelta(hours=48)))
    missed = read(await collector.text(now + timedelta(hours=48, minutes=6)))

    assert named(kept, "deadlines_missed") == 0
    assert named(missed, "deadlines_missed") == 1


async def test_metrics_show_how_the_last_audit_ended(own: Own, threads: ThreadPoolExecutor) -> None:
    """No audit, no number; after one, its age and what it found."""
    environment, services, collector = own
    client = environment.client
    await register_schedules(client)
    async with build_worker(client, services, threads):
        before = read(await collector.text(datetime.now(UTC)))
        handle = await held(environment)
        await handle.terminate("an operator pressed the wrong button")
        await client.get_schedule_handle("recourse-audit").trigger()
        name = ("recourse_audit_differences", frozenset[tuple[str, str]]())
        while name not in (found := read(await collector.text(datetime.now(UTC)))):
            pass

    assert name not in before
    assert named(found, "audit_differences") == 1
    assert 0 <= named(found, "audit_age_seconds") < 60


@pytest.mark.parametrize("audit", ["of another release", "of another key"])
async def test_an_audit_that_cannot_be_read_removes_no_other_metric(own: Own, audit: str) -> None:
    """Temporal answers and the audit does not."""
    environment, _, collector = own
    await finished_audit(environment, encrypted=audit == "of another key")
    name = ("recourse_up", frozenset({("what", "audit")}))
    while (found := read(await collector.text(datetime.now(UTC))))[name]:
        pass
    assert named(found, "up", what="temporal") == named(found, "up", what="ledger") == 1
    assert named(found, "attention_open") == 0
    assert ("recourse_audit_differences", frozenset[tuple[str, str]]()) not in found


async def finished_audit(environment: WorkflowEnvironment, *, encrypted: bool) -> None:
    """Complete an audit with a result that `metrics` cannot read."""
    client = environment.client
    if encrypted:
        converter = replace(client.data_converter, payload_codec=Encryption(read_keys(NEW)))
        client = Client(client.service_client, data_converter=converter)
    async with Worker(client, task_queue="audits", workflows=[StrangeAudit]):
        await client.execute_workflow("LedgerAudit", id="audit", task_queue="audits")


@workflow.defn(name="LedgerAudit", sandboxed=False)
class StrangeAudit:
    """An audit whose report has another shape."""

    @workflow.run
    async def run(self) -> str:
        return "all is well"


async def test_what_cannot_be_asked_is_named_and_the_rest_is_measured(
    own: Own,
) -> None:
    """The database is away, then the server: a scrape answers all the same."""
    environment, services, collector = own
    gone(services)
    without_database = read(await collector.text(datetime.now(UTC)))
    await environment.shutdown()
    without_both = read(await collector.text(datetime.now(UTC)))

    assert named(without_database, "up", what="ledger") == 0
    assert named(without_database, "up", what="temporal") == 1
    assert named(without_database, "attention_open") == 0
    assert named(without_both, "up", what="temporal") == 0
    assert named(without_both, "up", what="audit") == 0


def gone(services: Services) -> None:
    """Nothing can be read where the ledger was."""
    services.close()
    file = Path(str(services.engine.url.database))
    file.unlink()
    file.mkdir()


def scraped(url: str) -> str:
    """What Prometheus would get."""
    with urlopen(url) as answer:  # noqa: S310 - it is one of ours
        text: str = answer.read().decode()
    return text


async def test_processes_serve_their_metrics(own: Own, tmp_path: Path) -> None:
    """A worker counts what was refused and knows days from weeks; `metrics` listens for itself."""
    environment, _, _ = own
    port = free_port()
    async with working(environment, tmp_path, RECOURSE_METRICS=f"127.0.0.1:{port}") as post:
        handle = await held(environment)
        await handle.signal("cancle", {"by": CLIENT})
        await handle.signal("deliver", {"by": CLIENT})
        await until(handle, lambda found: found.rejected_count == 2)
        of_worker = await asyncio.to_thread(scraped, f"http://127.0.0.1:{port}/metrics")
        async with http_process("metrics", **post.environment) as metrics:
            of_business = await asyncio.to_thread(scraped, f"{metrics.url}/metrics")

    rejected = {
        (dict(labels)["message"], dict(labels)["code"])
        for name, labels in read(of_worker)
        if name == "recourse_messages_rejected_total"
    }
    assert rejected == {("unknown", "UNKNOWN_MESSAGE"), ("deliver", "WRONG_ROLE")}
    last = BUCKETS["temporal_activity_succeed_endtoend_latency"][-1]
    assert f'le="{last:.0f}"' in of_worker
    assert "temporal_worker_task_slots_available" in of_worker
    assert named(read(of_business), "up", what="temporal") == 1
