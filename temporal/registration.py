"""Registers in a namespace what purchases need: search attributes and the audit's schedule."""

from collections.abc import Mapping

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
from workflows import priorities
from workflows.view import SEARCH_ATTRIBUTES

AUDIT = "recourse-audit"
AUDITED_AT = ScheduleCalendarSpec(
    hour=[ScheduleRange(6)], comment="Daily at 06:00 UTC, before offices open"
)


async def register_search_attributes(client: Client) -> list[str]:
    """Register our search attributes; return the names that were missing.

    Safe to repeat. Raises NotPermitted if it may not list them, and ServerUnreachable if one has
    another type, or is missing and cannot be added: purchases would be blocked.
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
    wanted = {
        key.name: IndexedValueType.ValueType(int(key.indexed_value_type))
        for key in SEARCH_ATTRIBUTES
    }
    _check_types(client, wanted, known.custom_attributes)
    missing = {name: kind for name, kind in wanted.items() if name not in known.custom_attributes}
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


Types = Mapping[str, IndexedValueType.ValueType]


def _check_types(client: Client, wanted: Types, known: Types) -> None:
    """Raises ServerUnreachable if one is registered with another type."""
    for name, kind in wanted.items():
        if known.get(name, kind) != kind:
            raise ServerUnreachable(
                f"The search attribute {name} in namespace {client.namespace!r} has the type "
                f"{_type_name(known[name])}; purchases need {_type_name(kind)} and would be "
                "blocked. If nothing else uses it, remove it with `temporal operator "
                f"search-attribute remove --name {name}` and run `recourse setup`; otherwise use "
                "another namespace."
            )


def _type_name(kind: IndexedValueType.ValueType) -> str:
    """As the `temporal` command writes it, such as Keyword."""
    return IndexedValueType.Name(kind).removeprefix("INDEXED_VALUE_TYPE_").title()


async def register_schedules(client: Client) -> list[str]:
    """Schedule the daily audit; return the names that were new. Safe to repeat: an existing
    schedule is not changed, also if it is paused or has another hour.

    Raises ServerUnreachable if this client may not create it.
    """
    schedule = Schedule(
        action=ScheduleActionStartWorkflow(
            "LedgerAudit",
            id=AUDIT,
            task_queue=TASK_QUEUE,
            static_summary="Daily ledger audit",
            priority=priorities.AUDIT,
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
