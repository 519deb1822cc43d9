"""Recourse as one of the sides: the production worker with activities that only record their
steps."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from multiprocessing.synchronize import Event
from typing import Any

from temporalio import activity
from temporalio.client import Client

from activities.requests import (
    POST_DECISION,
    POST_SETTLEMENT,
    SEND_NOTICES,
    TAKE_PAYMENT,
    DecisionPosting,
    NoticeAnswer,
    NoticeRequest,
    PaymentAnswer,
    PaymentRequest,
    Posted,
    SettlementPosting,
)
from activities.services import Settings
from benchmarks.lifecycles import buy, message, terms
from benchmarks.peers.recorder import Recorder
from benchmarks.peers.script import LAST, MOVED, SETTLE, TAKE
from benchmarks.sides import IdleServices, Place, recourse
from workflows.messages import Role

PAYLOADS: dict[str, dict[str, Any]] = {
    "submit_requirements": message(Role.CLIENT, requirements="A lighthouse."),
    "cancel": message(Role.CLIENT),
    "decide_refund": message(Role.FREELANCER, decision="approve"),
}


class RecordingServices(IdleServices):
    """Activities that do nothing and record the measured steps."""

    def __init__(self, recorder: Recorder, settings: Settings) -> None:
        super().__init__(settings)
        self._recorder = recorder

    @activity.defn(name=TAKE_PAYMENT.name)
    async def take_payment(self, request: PaymentRequest) -> PaymentAnswer:
        await asyncio.to_thread(self._recorder.record, request.purchase_id, TAKE)
        return await super().take_payment(request)

    @activity.defn(name=POST_DECISION.name)
    async def post_decision(self, request: DecisionPosting) -> Posted:
        await asyncio.to_thread(self._recorder.record, request.purchase_id, MOVED)
        return await super().post_decision(request)

    @activity.defn(name=POST_SETTLEMENT.name)
    async def post_settlement(self, request: SettlementPosting) -> Posted:
        await asyncio.to_thread(self._recorder.record, request.purchase_id, SETTLE)
        return await super().post_settlement(request)

    @activity.defn(name=SEND_NOTICES.name)
    async def send_notices(self, request: NoticeRequest) -> NoticeAnswer:
        if request.transition == "refund_settled":
            self._recorder.record(request.purchase_id, LAST)
        return await super().send_notices(request)


def our_worker(place: Place, ready: Event) -> Coroutine[Any, Any, None]:
    """Run the production worker."""
    create: Callable[[Settings], RecordingServices] = partial(
        RecordingServices, Recorder(place.folder, place.database)
    )
    return recourse(place, ready, create)


class Ours:
    """A client that sends signals."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def start(self, purchase: str) -> None:
        """Start a purchase."""
        await buy(self._client, terms().model_copy(update={"purchase_id": purchase}))

    async def send(self, purchase: str, message: str) -> None:
        """Send a signal."""
        handle = self._client.get_workflow_handle(f"purchase-{purchase}")
        await handle.signal(message, PAYLOADS[message])
