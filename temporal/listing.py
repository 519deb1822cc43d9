"""Lists purchases by their search attributes; needs no worker. Functions raise RPCError."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from temporalio.client import Client
from temporalio.common import SearchAttributeKey, TypedSearchAttributes
from temporalio.service import RPCError, RPCStatusCode

from activities.fields import UtcDatetime
from activities.keys import (
    WORKFLOW_ID_PREFIX,
    aftercare_id_of,
    purchase_of_workflow,
    workflow_id_of,
)
from activities.requests import Model
from temporal.executions import ENDED, Execution, can_be_asked, executions, literal, memo, page
from temporal.purchases import Purchase
from temporal.runs import OURS, RUNNING
from workflows import lifecycle, view
from workflows.messages import Role
from workflows.view import ListedNow

OPEN_CASES = "(WorkflowType = 'PurchaseAftercare' AND ExecutionStatus IN ('Running', 'Paused'))"
"""The aftercare cases of closed purchases."""
ENDED_EARLY = "ExecutionStatus IN ('Terminated', 'Failed', 'TimedOut', 'Canceled')"

FAILED = "ExecutionStatus = 'Failed'"
"""Among these are the starts with an invalid input (`Listed.never_started`)."""
NOTHING = "WorkflowId = 'none'"
"""A condition that no purchase fulfils. The server takes an empty id for no condition."""

INVALID_TOKEN = (RPCStatusCode.INVALID_ARGUMENT, RPCStatusCode.UNKNOWN, RPCStatusCode.INTERNAL)
"""How servers answer a page token that is not theirs; which of them depends on their store."""

MOST_OF_PERSON = 100
"""How many purchases of a person the server is asked for in one query."""

NONE = ListedNow()

Wanted = Mapping[SearchAttributeKey[Any], str | bool]


class InvalidPageToken(ValueError):
    """The server has not issued this page token."""

    def __init__(self) -> None:
        super().__init__("is no token of a page")


class Listed(Model):
    """A purchase in a list: its search attributes. Needs no worker.

    `next_deadline`: the earliest; `due`: the one that people wait for in this stage, and `due_row`
    the id of the row of the rules that applies when it ends. `offer`: the role of who has proposed
    the split that stands. Names and `price`, such as `250.00 USD`, are empty for a purchase of an
    earlier release.
    One that was ended from outside keeps the stage that it had: its `workflow_status` is then
    `terminated`, `failed`, `timed_out` or `canceled`, it needs attention, and no deadline runs.
    `why_not_started`: what was wrong with the start input of a purchase that never started, and
    what to do; null for any other one.
    """

    purchase_id: str
    title: str
    terms: str
    client: str | None
    freelancer: str | None
    client_name: str
    freelancer_name: str
    price: str
    stage: str | None
    outcome: str | None
    next_deadline: UtcDatetime | None
    due: UtcDatetime | None
    due_row: str | None
    frozen: bool
    offer: Role | None
    needs_attention: bool
    workflow_status: str
    why_not_started: str | None = None

    @property
    def never_started(self) -> bool:
        """Whether its start input was invalid: it was ended, with no money inside."""
        return self.workflow_status in ENDED and not self.outcome and not self.needs_attention


async def find(
    client: Client,
    wanted: Wanted,
    conditions: Sequence[str] = (),
    *,
    never_started: bool = False,
    most: int | None = None,
) -> list[Listed]:
    """Return the purchases with these search attributes, the newest first, and no more than `most`.
    A closed purchase with an open aftercare case is listed once, as its case says. `conditions`:
    more of them, in the server's query language. `never_started`: only those."""
    found: dict[str, Listed] = {}
    query = " AND ".join([_query_for(wanted), *conditions, *([FAILED] if never_started else [])])
    async for execution in executions(client, query):
        purchase_id = purchase_of_workflow(execution.id)
        shown = None if purchase_id in found else await _run_to_list(client, execution, wanted)
        if shown:
            listed = await _listed(client, shown)
            if listed.never_started or not never_started:
                found[purchase_id] = listed
        if len(found) == most:
            break
    return list(found.values())


def among(ids: Sequence[str]) -> str:
    """The condition for these purchases and their aftercare cases."""
    workflows = [
        literal(name)
        for each in ids
        if can_be_asked(each)
        for name in (workflow_id_of(each), aftercare_id_of(each))
    ]
    return f"WorkflowId IN ({', '.join(workflows)})" if workflows else NOTHING


def too_many(found: Sequence[str]) -> str:
    """What to do if a person has more purchases than can be asked for."""
    return f"{len(found)} purchases match. Give the mail address, or the id of the person."


async def find_page(
    client: Client, wanted: Wanted, size: int, token: bytes = b"", conditions: Sequence[str] = ()
) -> tuple[list[Listed], bytes]:
    """Return one page of them, of `size` or fewer, and the token of the next page; empty after the
    last one. `conditions`: more of them, in the server's query language. Raises
    InvalidPageToken."""
    query = " AND ".join([_query_for(wanted), *conditions])
    runs, following = await _runs(client, query, token, size, retry=not token)
    shown = await asyncio.gather(*(_run_to_list(client, each, wanted) for each in runs))
    listed = await asyncio.gather(*(_listed(client, each) for each in shown if each))
    return list(listed), following


async def _runs(
    client: Client, query: str, token: bytes, size: int, *, retry: bool
) -> tuple[list[Execution], bytes]:
    """One page of runs. A server reports an invalid token like a fault of its own, which the SDK
    would retry. So the first attempt with a token is not retried."""
    try:
        return await page(client, query, token, size, retry=retry)
    except RPCError as error:
        if token and error.status in INVALID_TOKEN:
            raise InvalidPageToken from None
        if retry:
            raise
    return await _runs(client, query, token, size, retry=True)


def _query_for(wanted: Wanted) -> str:
    conditions = [_condition(key, value) for key, value in wanted.items() if can_be_asked(value)]
    ours = f"({OURS} OR {OPEN_CASES})"
    return " AND ".join([ours, "ExecutionStatus != 'ContinuedAsNew'", *conditions])


async def running(client: Client) -> dict[str, str | None]:
    """Return the stages of the running purchases by id. One with an open aftercare case counts."""
    return {
        purchase_of_workflow(each.id): each.attributes.get(view.STAGE)
        async for each in executions(client, f"({RUNNING}) OR {OPEN_CASES}")
    }


async def known(client: Client) -> set[str]:
    """Return the ids of all purchases, also closed ones. A start under another workflow id than a
    purchase's is rejected, so it is none."""
    return {
        purchase_of_workflow(each.id)
        async for each in executions(client, OURS)
        if each.id.startswith(WORKFLOW_ID_PREFIX)
    }


async def _run_to_list(client: Client, execution: Execution, wanted: Wanted) -> Execution | None:
    """Return the run that a list shows: None for one that is not wanted, or that was replaced and
    keeps its attributes; of a rejected start the run before it, or the start without a stage."""
    if not _is_wanted(execution, wanted):
        return None
    if not execution.is_ended:
        return execution
    purchase = Purchase(client, purchase_of_workflow(execution.id))
    runs = await purchase.last_runs()
    if runs is None or execution.run_id not in {run.run_id for run in runs}:
        return None
    last, begun = runs
    if last.run_id != begun.run_id:
        return begun if _is_wanted(begun, wanted) else None
    if await purchase.input_error():
        execution = replace(execution, attributes=TypedSearchAttributes.empty)
    return execution if _is_wanted(execution, wanted) else None


async def _listed(client: Client, execution: Execution) -> Listed:
    attributes = execution.attributes
    next_deadline = None if execution.is_ended else attributes.get(view.DEADLINE)
    outcome, stage = attributes.get(view.OUTCOME), attributes.get(view.STAGE)
    now = NONE if execution.is_ended else await _listed_now(client, execution)
    usual = lifecycle.usual_rows(stage or "")
    text = partial(memo, client, execution)
    return Listed(
        purchase_id=purchase_of_workflow(execution.id),
        title=await text("title"),
        terms=await text("terms"),
        client=attributes.get(view.CLIENT),
        freelancer=attributes.get(view.FREELANCER),
        client_name=await text("client"),
        freelancer_name=await text("freelancer"),
        price=await text("price"),
        stage=stage,
        outcome=outcome,
        next_deadline=next_deadline,
        due=next_deadline and (now.deadline or next_deadline),
        due_row=(now.row or next(iter(usual), None)) if next_deadline else None,
        frozen=now.frozen,
        offer=now.offer,
        needs_attention=_needs_attention(execution),
        workflow_status=execution.status,
        why_not_started=await _why_not_started(client, execution),
    )


async def _why_not_started(client: Client, execution: Execution) -> str | None:
    if execution.status != "failed" or _needs_attention(execution):
        return None
    return await Purchase(client, purchase_of_workflow(execution.id)).input_error()


async def _listed_now(client: Client, execution: Execution) -> ListedNow:
    """What the purchase has written for lists; nothing if another release wrote it otherwise."""
    written = execution.memo.get(view.LISTED)
    try:
        return (await client.data_converter.decode([written], [ListedNow]))[0] if written else NONE
    except (ValueError, RuntimeError):
        return NONE


def _condition(key: SearchAttributeKey[Any], value: str | bool) -> str:
    condition = f"{key.name} = {literal(value)}"
    return f"({condition} OR {ENDED_EARLY})" if key == view.NEEDS_ATTENTION else condition


def _is_wanted(execution: Execution, wanted: Wanted) -> bool:
    found = {key: execution.attributes.get(key) for key in wanted}
    if view.NEEDS_ATTENTION in found:
        found[view.NEEDS_ATTENTION] = _needs_attention(execution)
    return found == wanted


def _needs_attention(execution: Execution) -> bool:
    """What the purchase said, or: it was ended before it was closed. One that never started, since
    its input was rejected, has no stage."""
    attributes = execution.attributes
    if not execution.is_ended:
        return bool(attributes.get(view.NEEDS_ATTENTION))
    started = execution.status != "failed" or attributes.get(view.STAGE) is not None
    return started and not attributes.get(view.OUTCOME)
