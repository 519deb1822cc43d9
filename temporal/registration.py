"""Registers in a namespace what purchases need: search attributes and the audit's schedule."""

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import (
    AddSearchAttributesRequest,
    ListSearchAttributesRequest,
)
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleCalendarSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleRange,
    ScheduleSpec,
    ScheduleState,
)
from temporalio.service import RPCError, RPCStatusCode

from activities.requests import TASK_QUEUE
from temporal.connection_errors import short
from temporal.errors import NotPermitted, ServerUnreachable
from workflows.view import SEARCH_ATTRIBUTES

AUDIT = "recourse-audit"
AUDITED_AT = ScheduleCalendarSpec(
    hour=[ScheduleRange(6)], comment="Daily at 06:00 UTC, before offices open"
)


async def register_search_attributes(client: Client) -> list[str]:
    """Register our search attributes; return the names that were missing.

    Safe to repeat. Raises NotPermitted if it may not list them, and ServerUnreachable if some are
    missing and it may not add them: purchases would be blocked without them.
    """
    names = ", ".join(key.name for key in SEARCH_ATTRIBUTES)
    try:
        known = await client.operator_service.list_search_attributes(
            ListSearchAttributesRequest(namespace=client.namespace)
        )
    except RPCError as error:
        raise NotPermitted(
            f"The search attributes {names} have to be in namespace {client.namespace!r}; "
            f"this client may not list them ({short(error)})."
        ) from None
    missing = {
        key.name: IndexedValueType.ValueType(int(key.indexed_value_type))
        for key in SEARCH_ATTRIBUTES
        if key.name not in known.custom_attributes
    }
    if not missing:
        return []
    try:
        await client.operator_service.add_search_attributes(
            AddSearchAttributesRequest(namespace=client.namespace, search_attributes=missing)
        )
    except RPCError as error:
        if error.status is RPCStatusCode.ALREADY_EXISTS:
            return []
        raise ServerUnreachable(
            f"The search attributes {', '.join(missing)} cannot be registered here "
            f"({short(error)}). Ask an administrator to add them to the namespace."
        ) from None
    return sorted(missing)


async def register_schedules(client: Client) -> list[str]:
    """Schedule the daily audit; return the names that were new. Safe to repeat: an existing
    schedule is not changed, also if it is paused or has another hour.

    Raises ServerUnreachable if this client may not create it.
    """
    schedule = Schedule(
        action=ScheduleActionStartWorkflow(
            "BooksAudit", id=AUDIT, task_queue=TASK_QUEUE, static_summary="Daily ledger audit"
        ),
        spec=ScheduleSpec(calendars=[AUDITED_AT]),
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP),
        state=ScheduleState(note="Compares ledger, workflows and payment provider once a day."),
    )
    try:
        await client.create_schedule(AUDIT, schedule)
    except ScheduleAlreadyRunningError:
        return []
    except RPCError as error:
        raise ServerUnreachable(
            f"The schedule {AUDIT} cannot be created here ({short(error)})."
        ) from None
    return [AUDIT]
