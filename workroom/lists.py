"""Lists of purchases, from the search attributes: no purchase is asked."""

import asyncio
import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from temporalio.client import Client
from temporalio.common import SearchAttributeKey

from activities.keys import workflow_id_of
from temporal.access import may_search
from temporal.errors import Failure, Rejected
from temporal.executions import can_be_asked, literal
from temporal.listing import FAILED, NOTHING, InvalidPageToken, Listed, among, find_page
from workflows import view
from workflows.lifecycle.state import Stage
from workflows.messages import Role
from workroom.database import Database
from workroom.sessions import Session

PAGE = 25
LONGEST_SEARCH = 200

Wanted = dict[SearchAttributeKey[Any], str | bool]


@dataclass(frozen=True)
class Search:
    """What a person looks for in Jobs. `text`: a purchase's id, or how it begins, or the id of a
    party; for staff also a name or a mail address. `stage`: one of `Stage`. Empty: any."""

    closed: bool
    text: str
    stage: str

    @classmethod
    def read(cls, query: Mapping[str, str]) -> "Search":
        """From the query of a page; what is not understood is left out."""
        closed, stage = query.get("closed") == "yes", query.get("stage", "")
        known = stage in {each.value for each in Stage} and not closed
        text = query.get("search", "").strip()[:LONGEST_SEARCH]
        return cls(closed, text, stage if known else "")

    @property
    def fields(self) -> dict[str, str]:
        """The query that asks for it."""
        found = {
            "closed": "yes" if self.closed else "",
            "search": self.text,
            "stage": self.stage,
        }
        return {name: value for name, value in found.items() if value}

    def conditions(self, ids: Sequence[str] = ()) -> list[str]:
        """In the server's query language. `ids`: purchases that match the text by a name."""
        found = [f"{view.OUTCOME.name} IS {'NOT ' if self.closed else ''}NULL"]
        if self.text and not can_be_asked(self.text):
            found.append(among(ids))
        elif self.text:
            id_, person = literal(workflow_id_of(self.text)), literal(self.text)
            begins = "=" if set(self.text) & set("%'") else "STARTS_WITH"  # which misreads them
            people = [f"{key.name} = {person}" for key in (view.CLIENT, view.FREELANCER)]
            named = [among(ids)] if ids else []
            found.append(f"({' OR '.join([f'WorkflowId {begins} {id_}', *people, *named])})")
        return found


@dataclass(frozen=True)
class Jobs:
    """One page of a person's purchases. `following` leads to the next page; empty: the last.
    `not_searched`: why names and mail addresses were not searched; empty if they were, or if the
    person may not."""

    search: Search
    found: list[Listed]
    following: str
    not_searched: str = ""


@dataclass(frozen=True)
class Queue:
    """One page of the purchases of a kind that wait for staff. `following`: as in Jobs."""

    name: str
    heading: str
    empty: str
    found: list[Listed]
    following: str


async def jobs(
    client: Client, session: Session, query: Mapping[str, str], database: Database
) -> Jobs:
    """The open or the closed purchases that the session covers. Staff find them by a name or a mail
    address, too. Raises RPCError, Rejected."""
    search, ids, not_searched = Search.read(query), [], ""
    if search.text and may_search(session.sender) and session.purchases is None:
        try:
            ids = await database.purchases_of(search.text)
        except Failure as failure:
            not_searched = failure.text
    conditions = search.conditions(ids)
    if session.purchases is not None:
        known = [literal(workflow_id_of(each)) for each in session.purchases if can_be_asked(each)]
        conditions.append(f"WorkflowId IN ({', '.join(known)})" if known else NOTHING)
    own = {Role.CLIENT: view.CLIENT, Role.FREELANCER: view.FREELANCER}.get(session.sender.role)
    wanted: Wanted = {own: session.sender.id} if own else {}
    if search.stage:
        wanted[view.STAGE] = search.stage
    found, following = await _page(client, wanted, conditions, query.get("page", ""))
    return Jobs(search, found, following, not_searched)


ATTENTION: Wanted = {view.NEEDS_ATTENTION: True}
SETTLING, CLOSED = (
    f"{view.STAGE.name} = {literal(stage.value)}" for stage in (Stage.SETTLING, Stage.CLOSED)
)
NO_DEADLINE = f"{view.DEADLINE.name} IS NULL AND {view.STAGE.name} IS NOT NULL"

UNSTARTED = "unstarted"

QUEUES: Mapping[str, tuple[str, str, Wanted, Sequence[str]]] = {
    "disputes": (
        "Disputes for a mediator",
        "No dispute waits for a decision.",
        {view.STAGE: Stage.DISPUTED.value},
        (),
    ),
    "refunds": (
        "Late and failed refunds",
        "Every refund is on time.",
        ATTENTION,
        (SETTLING,),
    ),
    "bank": (
        "Bank disputes, and others without a deadline",
        "Every purchase has a deadline.",
        ATTENTION,
        (NO_DEADLINE, f"NOT {SETTLING}", f"NOT {CLOSED}"),
    ),
    "closed": (
        "News about closed purchases",
        "Nothing has happened to a closed purchase.",
        ATTENTION,
        (CLOSED,),
    ),
    "others": (
        "Everything else that needs attention",
        "Nothing else needs attention.",
        ATTENTION,
        (f"({view.STAGE.name} IS NULL OR NOT ({SETTLING} OR {CLOSED} OR ({NO_DEADLINE})))",),
    ),
    UNSTARTED: (
        "Starts that failed",
        "No start has failed.",
        {},
        (FAILED,),
    ),
}
"""What waits for staff: heading, what an empty one says, and its conditions. A purchase that a bank
dispute has frozen has no deadline."""


async def queues(client: Client) -> list[Queue]:
    """The first page of each queue. Raises RPCError."""
    return list(await asyncio.gather(*(queue(client, name) for name in QUEUES)))


async def queue(client: Client, name: str, page: str = "") -> Queue:
    """One page of a queue. Raises RPCError, Rejected."""
    if name not in QUEUES:
        raise Rejected("NOT_FOUND", "There is no such page.")
    heading, empty, wanted, conditions = QUEUES[name]
    found, following = await _page(client, wanted, conditions, page)
    if name == UNSTARTED:
        found = [each for each in found if each.never_started]
    return Queue(name, heading, empty, found, following)


async def _page(
    client: Client, wanted: Wanted, conditions: Sequence[str], page: str
) -> tuple[list[Listed], str]:
    try:
        found, following = await find_page(client, wanted, PAGE, read_token(page), conditions)
    except InvalidPageToken:
        raise Rejected("NOT_FOUND", "There is no such page. Begin again at Jobs.") from None
    return _once(found), written_token(following)


def _once(found: Iterable[Listed]) -> list[Listed]:
    """Each purchase once: one with an open aftercare case is found twice."""
    return list({each.purchase_id: each for each in reversed(list(found))}.values())[::-1]


def read_token(text: str) -> bytes:
    """A page token, from the characters of a URL. Raises InvalidPageToken."""
    try:
        return base64.b64decode(text, altchars=b"-_", validate=True)
    except ValueError:
        raise InvalidPageToken from None


def written_token(token: bytes) -> str:
    """The token of a page in the characters of a URL."""
    return base64.urlsafe_b64encode(token).decode()
