"""Serves the Nexus service `Purchases` in a worker.

The server decides who may call an endpoint. `RECOURSE_NEXUS_ENDPOINTS` says as which roles the
callers of each endpoint may act: the `by` of a call is believed within these roles, and a party's
id is checked against the purchase. An endpoint that is not listed may do nothing.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

import structlog
from nexusrpc import HandlerError, HandlerErrorType, OperationError, OperationErrorState
from nexusrpc.handler import StartOperationContext, service_handler, sync_operation
from pydantic import ValidationError
from temporalio import nexus
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError

from activities.requests import Model
from activities.services import WrongSetting
from temporal.access import MAY_START, NotYours, actions_for, opened, send, status_for
from temporal.connection_errors import server_failure
from temporal.errors import Failure, InvalidInput, Rejected, Unreachable
from temporal.nexus import SERVICE, Ask, Send
from temporal.purchases import Purchase
from temporal.terms import check
from workflows.messages import (
    MESSAGES,
    Message,
    Permission,
    PurchaseStart,
    Receipt,
    Role,
    Sender,
    Started,
    Status,
)
from workflows.receiving.encrypted import Undecipherable
from workflows.receiving.parsing import parse, read

ENDPOINTS = "RECOURSE_NEXUS_ENDPOINTS"

AT_ONCE = 20
"""Calls that a worker answers at the same time: each may have to replay a purchase."""

Endpoints = Mapping[str, frozenset[Role]]
"""The roles of each endpoint."""

log = structlog.get_logger()

Document = TypeVar("Document", bound=Model)


def read_endpoints(setting: str) -> Endpoints:
    """`shop:client+freelancer,support:operator`. Raises WrongSetting."""
    found: dict[str, frozenset[Role]] = {}
    for item in filter(None, map(str.strip, setting.split(","))):
        name, _, roles = item.partition(":")
        named = roles.split("+")
        if not name or not set(named) <= set(Role) or name in found:
            raise WrongSetting(
                f"{ENDPOINTS}: {item!r} has to be ENDPOINT:ROLE+ROLE, each endpoint once; roles "
                f"are {', '.join(Role)}."
            )
        found[name] = frozenset(map(Role, named))
    return found


class Forbidden(Rejected):
    """The endpoint may not do that. The text says what it may do."""

    def __init__(self, text: str) -> None:
        super().__init__("FORBIDDEN", text)


@service_handler(name=SERVICE)
class PurchasesHandler:
    """The operations. They get raw payloads and parse them, as purchases do."""

    def __init__(self, endpoints: Endpoints) -> None:
        self._endpoints = endpoints

    @sync_operation
    async def start(self, context: StartOperationContext, given: RawValue) -> Started:
        """Start a purchase."""
        with _failures():
            terms, roles = _parsed(PurchaseStart, given), self._roles()
            _log(terms.purchase_id)
            if not roles & set(MAY_START):
                raise Forbidden("Only endpoints of clients and operators start purchases.")
            if terms.imported and Role.OPERATOR not in roles:
                raise Forbidden("Only endpoints of operators say where a purchase stands.")
            check(terms)
            purchase = Purchase(nexus.client(), terms.purchase_id)
            created = await purchase.start(terms)
            return Started(
                purchase_id=purchase.id,
                workflow_id=purchase.workflow_id,
                already_started=not created,
            )

    @sync_operation
    async def send(self, context: StartOperationContext, given: RawValue) -> Receipt:
        """Send a message."""
        with _failures():
            wanted = _parsed(Send, given)
            message = _message(wanted, context.request_id)
            return await send(await self._opened(wanted.purchase_id, message.by), message)

    @sync_operation
    async def status(self, context: StartOperationContext, given: RawValue) -> Status:
        """Everything about a purchase."""
        with _failures():
            asked = _parsed(Ask, given)
            return await status_for(await self._asked(asked), asked.by)

    @sync_operation
    async def actions(self, context: StartOperationContext, given: RawValue) -> list[Permission]:
        """Which messages a role may send now."""
        with _failures():
            asked = _parsed(Ask, given)
            return await actions_for(await self._asked(asked), asked.by)

    async def _asked(self, asked: Ask) -> Purchase:
        return await self._opened(asked.purchase_id, asked.by)

    async def _opened(self, purchase_id: str, sender: Sender) -> Purchase:
        """The purchase, for a sender as whom this endpoint may act. Raises Forbidden, NotYours."""
        _log(purchase_id, by=f"{sender.role}:{sender.id}")
        if sender.role not in (roles := self._roles()):
            allowed = ", ".join(sorted(roles))
            raise Forbidden(f"This endpoint may not act as {sender.role}, only as: {allowed}.")
        return await opened(nexus.client(), purchase_id, sender)

    def _roles(self) -> frozenset[Role]:
        name = nexus.info().endpoint
        if name not in self._endpoints:
            raise Forbidden(f"The endpoint {name!r} is not in {ENDPOINTS} of the worker.")
        return self._endpoints[name]


def _log(purchase_id: str, **by: str) -> None:
    """A purchase does not know through which endpoint a message came; the log does."""
    log.info("nexus_called", endpoint=nexus.info().endpoint, purchase_id=purchase_id, **by)


def _parsed(kind: type[Document], given: RawValue) -> Document:
    try:
        return parse(kind, [given])
    except ValueError as error:
        raise InvalidInput(str(error)) from None


def _message(given: Send, request_id: str) -> Message:
    """The message; a repeated request makes the same one. Raises InvalidInput."""
    kind = MESSAGES.get(given.name)
    if kind is None:
        known = ", ".join(MESSAGES)
        text = f"There is no such message. Known are: {known}."
        raise InvalidInput(text, "UNKNOWN_MESSAGE")
    document = dict(given.message)
    if document.get("message_id") is None:
        document["message_id"] = f"nexus-{hashlib.sha256(request_id.encode()).hexdigest()[:32]}"
    try:
        return read(kind, json.dumps(document))
    except ValueError as error:
        raise InvalidInput(f"{given.name}: {error}", "INVALID_MESSAGE") from None


@contextmanager
def _failures() -> Iterator[None]:
    """Raises every failure as an error of Nexus, caused by one with its code and its sentence."""
    try:
        yield
    except FORESEEN as error:
        failure = _failure_of(error)
        cause = ApplicationError(failure.text, type=failure.code, non_retryable=True)
        raise _error_of(failure) from cause


FORESEEN = (Failure, NotYours, RPCError, Undecipherable, ValidationError)


def _failure_of(error: Exception) -> Failure:
    match error:
        case NotYours():
            return Rejected("NOT_A_PARTY", "The sender is not a party of such a purchase.")
        case RPCError():
            return server_failure(error)
        case Undecipherable():
            return Unreachable("WRONG_SETTING", str(error))
        case ValidationError():
            text = "The worker that runs the purchase has another version."
            return Unreachable("NOT_UNDERSTOOD", text)
    assert isinstance(error, Failure)
    return error


def _error_of(failure: Failure) -> Exception:
    match failure:
        case Forbidden():
            return HandlerError(failure.text, type=HandlerErrorType.UNAUTHORIZED)
        case InvalidInput():
            return HandlerError(failure.text, type=HandlerErrorType.BAD_REQUEST)
        case Rejected():
            return OperationError(failure.text, state=OperationErrorState.FAILED)
    return HandlerError(failure.text, type=HandlerErrorType.UNAVAILABLE)
