"""Plays stories: drives a purchase on a server that can skip its time."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

from temporalio.client import Client, WorkflowHandle, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from starter.purchases import Purchase
from starter.stories import PEOPLE, Act, PlatformCancels, Says, Story, UntilClosed, Waits
from workflows.messages import PurchaseResult, PurchaseStart, Receipt, Role, Status

Handle = WorkflowHandle[Any, PurchaseResult]

LOOK_EVERY = 0.05
"""Seconds between two looks at a status that is to change."""


class Skips(Protocol):
    """A server on which each purchase's clock can be moved, such as the SDK's environment."""

    @property
    def client(self) -> Client:
        """A client of the server."""

    async def fast_forward(
        self, handle: WorkflowHandle[Any, Any], duration: timedelta | float | None = None, /
    ) -> bool:
        """Move the clock ahead, or until the purchase is closed."""


class NotAsTold(Exception):
    """A story did not go as its script says."""


async def start(client: Client, terms: PurchaseStart) -> Handle:
    """Start a purchase."""
    bought = Purchase(client, terms.purchase_id)
    await bought.start(terms)
    return bought.handle


async def say(handle: Handle, role: Role, message: str, **fields: Any) -> Receipt:
    """Send a message as an update and wait for its answer.

    Raises ApplicationError, its type a code of `RULES.md`, when it is refused.
    """
    payload = {"by": {"role": role.value, "id": PEOPLE[role]}, **fields}
    try:
        receipt: Receipt = await handle.execute_update(message, payload, result_type=Receipt)
    except WorkflowUpdateFailedError as error:
        if isinstance(error.cause, ApplicationError):
            raise error.cause from None
        raise
    return receipt


async def status(handle: Handle) -> Status:
    """Everything about the purchase."""
    found: Status = await handle.query("status", result_type=Status)
    return found


async def until(handle: Handle, holds: Callable[[Status], bool]) -> Status:
    """Wait until the status is as wished."""
    while not holds(found := await status(handle)):  # noqa: ASYNC110 - it is another process
        await asyncio.sleep(LOOK_EVERY)
    return found


async def skip(environment: Skips, handle: Handle, duration: timedelta | None = None) -> None:
    """Let the purchase's clock run `duration` ahead, or until it is closed.

    Raises whatever keeps the clock from being moved: a purchase would then wait for days.
    """
    skipping = asyncio.create_task(environment.fast_forward(handle, duration))
    closing = asyncio.create_task(handle.result())
    try:
        done, _ = await asyncio.wait({skipping, closing}, return_when=asyncio.FIRST_COMPLETED)
        if closing not in done:
            skipping.result()
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:  # not there any more: closed meanwhile
            raise
    finally:
        skipping.cancel()
        closing.cancel()
        await asyncio.gather(skipping, closing, return_exceptions=True)


@dataclass
class Theatre:
    """A server with a worker, and somewhere to tell what is going on."""

    environment: Skips
    told: Callable[[Story, str], None] = lambda _story, _line: None

    async def play(self, story: Story, purchase_id: str) -> PurchaseResult:
        """Play a story to its end. Raises NotAsTold if a message is answered otherwise."""
        self.told(story, f"{story.title} (purchase-{purchase_id})")
        handle = await start(self.environment.client, story.start(purchase_id))
        await until(handle, lambda found: found.payment != "pending")
        for act in story.acts:
            await self._perform(story, handle, act)
        return await handle.result()

    async def _perform(self, story: Story, handle: Handle, act: Act) -> None:
        match act:
            case Says():
                self.told(story, await _answer(handle, act))
            case Waits(duration):
                await skip(self.environment, handle, duration)
                self.told(story, f"{duration / timedelta(hours=1):g} h later")
            case PlatformCancels():
                await handle.cancel()
                self.told(story, "the platform cancels")
            case UntilClosed():
                self.told(story, "time passes")
                await skip(self.environment, handle)


async def _answer(handle: Handle, act: Says) -> str:
    try:
        receipt = await say(handle, act.role, act.message, **act.fields)
    except ApplicationError as error:
        if error.type != act.refused:
            raise NotAsTold(f"{act.message} was refused: {error.type}, {error.message}") from None
        return f"{act.role} {act.message}: {error.type}. {error.message}"
    if act.refused:
        raise NotAsTold(f"{act.message} was accepted, not refused as {act.refused}")
    return receipt.text
