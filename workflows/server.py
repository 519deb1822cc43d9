"""The way to Temporal: its own environment configuration, our converter, words for errors."""

import os
import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import NoReturn

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import (
    AddSearchAttributesRequest,
    ListSearchAttributesRequest,
)
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
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
from temporalio.converter import DataConverter, DefaultFailureConverterWithEncodedAttributes
from temporalio.envconfig import ClientConfig
from temporalio.service import RPCError, RPCStatusCode

from workflows import codec
from workflows.codec import Encryption, read_keys
from workflows.converter import DATA_CONVERTER
from workflows.view import SEARCH_ATTRIBUTES

TASK_QUEUE = "project-purchases"
AUDIT = "recourse-audit"
AUDITED_AT = ScheduleCalendarSpec(
    hour=[ScheduleRange(6)], comment="Daily at 06:00 UTC, before offices open"
)
DEFAULT_ADDRESS = "localhost:7233"


class Unreachable(Exception):
    """Temporal, or the namespace in it, cannot be reached. The sentence says what to check."""


async def connect() -> Client:
    """A client as the standard environment variables and TOML profiles say; nothing of our own.

    Raises Unreachable with a sentence, and WrongKeys.
    """
    converter = data_converter()
    try:
        options = ClientConfig.load_client_connect_config()
    except Exception as error:  # the SDK raises several kinds for a bad file or profile
        raise Unreachable(f"The Temporal configuration cannot be read: {error}") from None
    address = options.setdefault("target_host", DEFAULT_ADDRESS)
    try:
        client = await Client.connect(**options, data_converter=converter)
    except Exception as error:  # RuntimeError, TLS and name errors: all mean the same to a person
        raise Unreachable(
            f"No Temporal server answers at {address}. Is it running, and is TEMPORAL_ADDRESS "
            f"right? `python worker.py --dev` starts one. ({_short(error)})"
        ) from None
    await check_namespace(client, address)
    return client


def data_converter(environment: Mapping[str, str] = os.environ) -> DataConverter:
    """Encrypting, if there are keys; messages and stack traces of failures, too.

    Raises WrongKeys with a sentence.
    """
    setting = environment.get(codec.SETTING, "")
    if not setting:
        return DATA_CONVERTER
    return replace(
        DATA_CONVERTER,
        payload_codec=Encryption(read_keys(setting)),
        failure_converter_class=DefaultFailureConverterWithEncodedAttributes,
    )


async def check_namespace(client: Client, address: str) -> None:
    """Raises Unreachable if the client's namespace is not there."""
    try:
        await client.workflow_service.describe_namespace(
            DescribeNamespaceRequest(namespace=client.namespace)
        )
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            raise Unreachable(
                f"The Temporal server at {address} has no namespace {client.namespace!r}. "
                "Create it, or set TEMPORAL_NAMESPACE."
            ) from None
        raise Unreachable(f"Temporal at {address} refuses: {_short(error)}") from None


class NotPermitted(Unreachable):
    """Whoever we are to the server, we may not see its search attributes."""


async def register_search_attributes(client: Client) -> list[str]:
    """Make sure the server knows our search attributes; returns the names that were new.

    Safe to repeat. Raises NotPermitted where it may not even look, and Unreachable where some are
    missing and it may not add them: purchases would stand still without them.
    """
    names = ", ".join(key.name for key in SEARCH_ATTRIBUTES)
    try:
        known = await client.operator_service.list_search_attributes(
            ListSearchAttributesRequest(namespace=client.namespace)
        )
    except RPCError as error:
        raise NotPermitted(
            f"The search attributes {names} have to be in namespace {client.namespace!r}; "
            f"whether they are cannot be seen from here ({_short(error)})."
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
        raise Unreachable(
            f"The search attributes {', '.join(missing)} cannot be registered here "
            f"({_short(error)}). Ask an administrator to add them to the namespace."
        ) from None
    return sorted(missing)


async def register_schedules(client: Client) -> list[str]:
    """Make sure the daily audit is scheduled; returns the names that were new. Safe to repeat: one
    that is there stays as it is, paused or at another hour.

    Raises Unreachable where it may not.
    """
    schedule = Schedule(
        action=ScheduleActionStartWorkflow(
            "BooksAudit", id=AUDIT, task_queue=TASK_QUEUE, static_summary="Daily audit of the books"
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
        raise Unreachable(
            f"The schedule {AUDIT} cannot be created here ({_short(error)})."
        ) from None
    return [AUDIT]


def leave(status: int) -> NoReturn:
    """End a process that used the SDK, at once. The SDK's threads may still call into Python while
    the interpreter takes itself down, which now and then ends in an abort instead of `status`."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    os._exit(status)


def _short(error: BaseException) -> str:
    text = " ".join(str(error).split())
    inner = re.findall(r'message: "([^"]+)"', text)
    return (inner[-1] if inner else text)[:300]
