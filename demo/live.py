"""Purchases that the demo leaves open, one in each stage that waits, and links to their forms."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

from temporalio.testing import WorkflowEnvironment

from activities.payments.sandbox import SandboxProvider
from activities.payments.sandbox_events import SandboxEvent
from demo.runner import Handle, happen, send, skip, start, until
from demo.scenarios import (
    BRIEF,
    CANCELS,
    DECLINES,
    PEOPLE,
    SCENARIOS,
    Happens,
    Send,
    client,
    freelancer,
)
from workflows.messages import PurchaseStart, Role, Sender
from workroom.server import day_link
from workroom.settings import WorkroomSettings

DISPUTES = client("open_dispute", reason="Nothing that was delivered can be used.")
REFUND_FAILS = timedelta(days=4)
"""After this time the sandbox has failed both attempts of a refund."""


@dataclass(frozen=True)
class Live:
    """A purchase that stays open. `fails`: its refund fails, and staff have to step."""

    purchase_id: str
    title: str
    steps: tuple[Send | Happens, ...] = ()
    fails: bool = False


TO_CANCEL = Live("live-01", "Logo for a lighthouse", (BRIEF,))
TO_DECIDE = Live("live-02", "Web shop", (BRIEF, CANCELS))
TO_MEDIATE = Live("live-03", "Illustrations", (BRIEF, CANCELS, DECLINES, DISPUTES))
TO_RESOLVE = Live("live-04", "Voice-over", (freelancer("give_refund"),), fails=True)
LIVE = (
    TO_CANCEL,
    TO_DECIDE,
    TO_MEDIATE,
    TO_RESOLVE,
    Live("live-05", "Song mix", (BRIEF, CANCELS, DECLINES)),
    Live("live-06", "Translation", (BRIEF, freelancer("deliver", note="It is in the folder."))),
    Live("live-07", "Book cover", (BRIEF, freelancer("propose_split", refund=15_000))),
    Live("live-08", "Product photos", (BRIEF, Happens(SandboxEvent.DISPUTE_OPENED))),
    Live("live-09", "Business cards"),
)


class Invitation(NamedTuple):
    """A link to a form that waits for a person, and what it is for."""

    who: str
    what: str
    link: str


async def open_purchases(server: WorkflowEnvironment, provider: SandboxProvider) -> None:
    """Start the purchases and bring each to its stage."""
    await asyncio.gather(*(_open(server, provider, each) for each in LIVE))


async def _open(server: WorkflowEnvironment, provider: SandboxProvider, live: Live) -> None:
    handle = await open_purchase(server, live.purchase_id, live.title, fails=live.fails)
    for step in live.steps:
        if isinstance(step, Send):
            await send(handle, step.role, step.message, **step.fields)
        else:
            await happen(server.client, provider, live.purchase_id, step)
    if live.fails:
        await skip(server, handle, REFUND_FAILS)
        await until(handle, lambda found: bool(found.attention))


async def open_purchase(
    server: WorkflowEnvironment, purchase_id: str, title: str, *, fails: bool = False
) -> Handle:
    """Start a purchase of Ana from Bo, and wait until its money is held."""
    template = SCENARIOS[0].start(purchase_id).model_dump(mode="json")
    method = "pm_sandbox_refund_fails" if fails else "pm_sandbox_ok"
    terms = PurchaseStart.model_validate({**template, "title": title, "payment_method": method})
    handle = await start(server.client, terms)
    await until(handle, lambda found: found.payment == "held")
    return handle


def invitations(settings: WorkroomSettings) -> list[Invitation]:
    """Links into the purchases that wait for Ana, Bo, a mediator and an operator."""
    return [
        Invitation(
            who,
            f"{what}: {live.title}",
            day_link(
                settings,
                Sender(role=role, id=PEOPLE[role]),
                live.purchase_id,
                form,
                everywhere=True,
            ),
        )
        for who, role, live, form, what in (
            ("Ana", Role.CLIENT, TO_CANCEL, "cancel", "cancel the contract"),
            ("Bo", Role.FREELANCER, TO_DECIDE, "decline_refund", "answer the refund request"),
            ("mediator", Role.MEDIATOR, TO_MEDIATE, "resolve_dispute", "decide the dispute"),
            ("staff", Role.OPERATOR, TO_RESOLVE, "resolve_attention", "settle the failed refund"),
        )
    ]
