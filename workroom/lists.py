"""Lists of purchases, from the search attributes: no purchase is asked."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from temporalio.client import Client
from temporalio.common import SearchAttributeKey
from temporalio.service import RPCError

from activities.keys import workflow_id_of
from temporal.errors import Rejected
from temporal.purchases import Listed, can_be_asked, find_page, literal
from workflows import view
from workflows.lifecycle.state import Stage
from workflows.messages import Role
from workroom.sessions import Session

PAGE = 25
QUEUE = 100
"""Purchases that the staff page shows of each kind."""

Wanted = dict[SearchAttributeKey[Any], str | bool]


@dataclass(frozen=True)
class Jobs:
    """One page of a person's purchases. `following` leads to the next page; empty: the last."""

    closed: bool
    found: list[Listed]
    following: str


@dataclass(frozen=True)
class Queue:
    """What waits for staff. `more`: there is more than is shown."""

    attention: list[Listed]
    disputed: list[Listed]
    more: bool


async def jobs(client: Client, session: Session, query: Mapping[str, str]) -> Jobs:
    """The open or the closed purchases that the session covers. Raises RPCError, Rejected."""
    closed = query.get("closed") == "yes"
    conditions = [f"{view.OUTCOME.name} IS {'NOT ' if closed else ''}NULL"]
    if session.purchases is not None:
        known = [literal(workflow_id_of(each)) for each in session.purchases if can_be_asked(each)]
        if not known:
            return Jobs(closed, [], "")
        conditions.append(f"WorkflowId IN ({', '.join(known)})")
    own = {Role.CLIENT: view.CLIENT, Role.FREELANCER: view.FREELANCER}.get(session.sender.role)
    wanted: Wanted = {own: session.sender.id} if own else {}
    try:
        token = read_token(query.get("page", ""))
        found, following = await find_page(client, wanted, PAGE, token, conditions)
    except ValueError:
        raise Rejected("NOT_FOUND", "There is no such page.") from None
    except RPCError:
        if query.get("page"):
            raise Rejected("NOT_FOUND", "There is no such page. Begin again at Jobs.") from None
        raise
    return Jobs(closed, found, written_token(following))


def read_token(text: str) -> bytes:
    """The server's token of a page, which a link or a caller brings back. Raises ValueError."""
    return base64.b64decode(text, altchars=b"-_", validate=True)


def written_token(token: bytes) -> str:
    """The token of a page in the characters of a URL."""
    return base64.urlsafe_b64encode(token).decode()


async def queue(client: Client) -> Queue:
    """The purchases that need attention, and the disputes that wait for a mediator."""
    attention, more = await find_page(client, {view.NEEDS_ATTENTION: True}, QUEUE)
    disputed, others = await find_page(client, {view.STAGE: Stage.DISPUTED.value}, QUEUE)
    return Queue(attention, disputed, bool(more or others))
