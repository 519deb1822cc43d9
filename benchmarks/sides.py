"""The sides of the comparisons. Each is a worker in its own process, so that its CPU time is
known."""

import asyncio
import multiprocessing
import os
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import structlog
from temporalio import activity
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

import worker
from activities.calendar import business_deadline_activity
from activities.requests import (
    POST_DECISION,
    POST_SETTLEMENT,
    SEND_NOTICES,
    SEND_REFUND,
    TAKE_PAYMENT,
    DecisionPosting,
    NoticeAnswer,
    NoticeRequest,
    PaymentAnswer,
    PaymentRequest,
    Posted,
    RefundAnswer,
    RefundRequest,
    SettlementPosting,
)
from activities.services import Services, Settings
from benchmarks import bare, plain
from temporal import plugin
from temporal.converter import DATA_CONVERTER

processes = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class Place:
    """A server, and a folder for the data of one side."""

    address: str
    folder: Path
    database: str = ""
    """The URL of a ledger to which the steps are posted."""

    @property
    def settings(self) -> Settings:
        """Settings with ledger, mail and sandbox in the folder."""
        return Settings(
            database_url=f"sqlite:///{self.folder}/recourse.db",
            mail_url=f"maildir:{self.folder}/mail",
            payments=f"sandbox:{self.folder}/sandbox.db",
        )


class IdleServices(Services):
    """Activities that answer at once and do nothing, so that only the workflow is measured."""

    @property
    def activities(self) -> list[Callable[..., Any]]:
        """The activities, with the names and answers of the real ones."""
        return [
            self.take_payment,
            self.post_decision,
            self.send_refund,
            self.post_settlement,
            business_deadline_activity,
        ]

    @property
    def notice_activities(self) -> list[Callable[..., Any]]:
        """The activity for notices, which sends nothing."""
        return [self.send_notices]

    @activity.defn(name=TAKE_PAYMENT.name)
    async def take_payment(self, request: PaymentRequest) -> PaymentAnswer:
        return PaymentAnswer(status="held", reference="ch")

    @activity.defn(name=POST_DECISION.name)
    async def post_decision(self, request: DecisionPosting) -> Posted:
        return Posted(key=request.key, created=True)

    @activity.defn(name=SEND_REFUND.name)
    async def send_refund(self, request: RefundRequest) -> RefundAnswer:
        return RefundAnswer(status="settled", reference="re")

    @activity.defn(name=POST_SETTLEMENT.name)
    async def post_settlement(self, request: SettlementPosting) -> Posted:
        return Posted(key=request.key, created=True)

    @activity.defn(name=SEND_NOTICES.name)
    async def send_notices(self, request: NoticeRequest) -> NoticeAnswer:
        return NoticeAnswer(delivered=2)


async def recourse(place: Place, ready: Event, create: Callable[[Settings], Services]) -> None:
    """Run the production worker with the services that `create` makes."""
    client = await Client.connect(place.address, data_converter=DATA_CONVERTER)
    with (
        closing(create(place.settings)) as services,
        ThreadPoolExecutor(plugin.ACTIVITY_THREADS) as threads,
    ):
        worker.tune_garbage_collection()
        async with worker.build_worker(client, services, threads):
            ready.set()
            await asyncio.Event().wait()


async def bare_worker(place: Place, ready: Event) -> None:
    """Run a worker for the bare workflows, with our settings and without a sandbox."""
    worker.tune_garbage_collection()
    client = await Client.connect(place.address)
    async with Worker(
        client,
        task_queue=bare.QUEUE,
        workflows=[bare.AutoCancel, bare.ApprovedRefund],
        activities=[bare.nothing],
        workflow_runner=UnsandboxedWorkflowRunner(),
        max_concurrent_activities=plugin.ACTIVITY_THREADS,
    ):
        ready.set()
        await asyncio.Event().wait()


async def plain_worker(place: Place, ready: Event) -> None:
    """Run a worker with the SDK's defaults, including its sandbox."""
    client = await Client.connect(place.address, data_converter=pydantic_data_converter)
    async with Worker(
        client, task_queue=plain.QUEUE, workflows=[plain.PlainPurchase], activities=[plain.nothing]
    ):
        ready.set()
        await asyncio.Event().wait()


Serve = Callable[[Place, Event], Coroutine[Any, Any, None]]


def whole_product(place: Place, ready: Event) -> Coroutine[Any, Any, None]:
    """Run Recourse with ledger and mail."""
    return recourse(place, ready, Services)


def workflow_alone(place: Place, ready: Event) -> Coroutine[Any, Any, None]:
    """Run Recourse with activities that do nothing."""
    return recourse(place, ready, IdleServices)


def _run(serve: Serve, place: Place, ready: Event) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    asyncio.run(serve(place, ready))


@contextmanager
def running(serve: Serve, place: Place) -> Iterator[int]:
    """Run a side's worker process; gives its id once it is ready. Kills it at the end."""
    ready = processes.Event()
    process = processes.Process(target=_run, args=(serve, place, ready), daemon=True)
    process.start()
    try:
        if not ready.wait(60):
            raise RuntimeError(f"{serve} was not ready within 60 s")
        assert process.pid is not None
        yield process.pid
    finally:
        process.kill()
        process.join()


def cpu(process: int) -> float:
    """The CPU seconds of a process so far, in user and kernel mode."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(process: int) -> float:
    """The private memory of a process in megabytes."""
    status = Path(f"/proc/{process}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) / 1024
