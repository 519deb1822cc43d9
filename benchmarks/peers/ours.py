"""Ours among its peers: the production worker with activities that do nothing but note."""

from collections.abc import Callable, Coroutine
from functools import partial
from multiprocessing.synchronize import Event
from typing import Any

from temporalio import activity
from temporalio.client import Client

from activities.requests import (
    POST_DECISION,
    SEND_NOTICES,
    DecisionPosting,
    NoticeAnswer,
    NoticeRequest,
    Posted,
)
from activities.services import Settings
from benchmarks.lifecycles import bought, by, terms
from benchmarks.peers.noted import Noted
from benchmarks.peers.script import LAST, MOVED
from benchmarks.sides import Idle, Place, recourse
from workflows.messages import Role

SAYS: dict[str, dict[str, Any]] = {
    "submit_requirements": by(Role.CLIENT, requirements="A lighthouse."),
    "cancel": by(Role.CLIENT),
    "decide_refund": by(Role.FREELANCER, decision="approve"),
}


class Noting(Idle):
    """Activities that do nothing, and note what is measured."""

    def __init__(self, noted: Noted, settings: Settings) -> None:
        super().__init__(settings)
        self._noted = noted

    @activity.defn(name=POST_DECISION.name)
    async def post_decision(self, request: DecisionPosting) -> Posted:
        self._noted.step(request.purchase_id, MOVED)
        return await super().post_decision(request)

    @activity.defn(name=SEND_NOTICES.name)
    async def send_notices(self, request: NoticeRequest) -> NoticeAnswer:
        if request.transition == "refund_settled":
            self._noted.step(request.purchase_id, LAST)
        return await super().send_notices(request)


def our_worker(place: Place, ready: Event) -> Coroutine[Any, Any, None]:
    """The production worker."""
    kind: Callable[[Settings], Noting] = partial(Noting, Noted(place.folder))
    return recourse(place, ready, kind)


class Ours:
    """Its users: a client that sends signals."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def start(self, purchase: str) -> None:
        """Buy."""
        await bought(self._client, terms().model_copy(update={"purchase_id": purchase}))

    async def say(self, purchase: str, message: str) -> None:
        """Send a signal."""
        handle = self._client.get_workflow_handle(f"purchase-{purchase}")
        await handle.signal(message, SAYS[message])
