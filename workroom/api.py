"""The HTTP API for machines: start, list and read purchases, and send them messages.

The sender of a message is the token's, never the body's. Answers: 200, or a problem (see
`workroom.problems`): 401 no or bad token, 403 not yours, 404, 409 the rules reject it, 413 too
large, 422 invalid, 503 no worker or server.
"""

import json
import math
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from typing import Annotated, Any, TypeVar
from urllib.parse import unquote

from pydantic import AfterValidator, Field, ValidationError
from pydantic_core import from_json, to_jsonable_python
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from temporalio.client import Client
from temporalio.common import SearchAttributeKey

from activities.fields import Identifier, Line
from activities.requests import Model
from temporal import terms as start_terms
from temporal.access import (
    MAY_START,
    NotYours,
    actions_for,
    is_party,
    may_search,
    opened,
    send,
    status_for,
)
from temporal.errors import Rejected
from temporal.listing import FAILED, InvalidPageToken, Listed, among, find_page
from temporal.purchases import Purchase
from temporal.serving import body_of
from temporal.terms import InvalidTerms
from workflows import view
from workflows.lifecycle.state import Stage
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
from workflows.receiving.parsing import LARGEST_MESSAGE, problems
from workroom import openapi
from workroom.database import Database
from workroom.limits import Limits, TooMany
from workroom.lists import read_token, written_token
from workroom.problems import FORESEEN, NO_STORE, Problem, failure_of, pointer, problem_of
from workroom.tokens import Tokens, Unauthorized

LONGEST_PAGE = 100

Document = TypeVar("Document", bound=Model)
Answer = Callable[[Request, Sender], Awaitable[object]]


def _page_token(text: str) -> str:
    read_token(text)
    return text


class ListQuery(Model):
    """Which purchases to list: like the options of the command `list`."""

    client: Identifier | None = None
    freelancer: Identifier | None = None
    stage: Stage | None = None
    needs_attention: bool | None = None
    never_started: bool = False
    person: Line | None = None
    page_size: Annotated[int, Field(ge=1, le=LONGEST_PAGE)] = 50
    page_token: Annotated[str, Field(max_length=4_000), AfterValidator(_page_token)] = ""


class Page(Model):
    """One page of a list, the newest first. `next_page_token` leads to the next; null: the last. A
    page may have fewer purchases than were asked for, even none."""

    purchases: tuple[Listed, ...]
    next_page_token: str | None


@dataclass(frozen=True)
class Api:
    """The routes of the HTTP API."""

    client: Client
    database: Database
    tokens: Tokens
    limits: Limits

    @cached_property
    def routes(self) -> list[Route]:
        """Everything under `/api/`."""
        one = "/api/purchases/{id}"
        return [
            Route("/api/openapi.json", _openapi),
            Route("/api/purchases", self._route(self._list), methods=["GET"]),
            Route("/api/purchases", self._route(self._start), methods=["POST"]),
            Route(one, self._route(self._status), methods=["GET"]),
            Route(f"{one}/actions", self._route(self._actions), methods=["GET"]),
            Route(f"{one}/{{message}}", self._route(self._send), methods=["POST"]),
        ]

    def _route(self, answer: Answer) -> Callable[[Request], Awaitable[Response]]:
        async def respond(request: Request) -> Response:
            try:
                document = await self._answer(answer, request)
            except Problem as problem:
                return problem.response()
            return JSONResponse(to_jsonable_python(document), headers=NO_STORE)

        return respond

    async def _answer(self, answer: Answer, request: Request) -> object:
        """What to answer. Raises Problem for everything that can go wrong."""
        try:
            sender = await self.tokens.sender(request.headers.get("authorization", ""))
            self.limits.count(sender)
            return await answer(request, sender)
        except Unauthorized as error:
            raise _unauthorized(request, error) from None
        except TooMany as error:
            raise _too_many(error) from None
        except NotYours:
            raise _forbidden("You are not a party of such a purchase.") from None
        except InvalidTerms as error:
            where = pointer(*error.field.split(".")) if error.field else ""
            raise _invalid([(where, error.problem)]) from None
        except FORESEEN as error:
            raise problem_of(failure_of(error)) from None

    async def _start(self, request: Request, sender: Sender) -> Started:
        terms = _read(PurchaseStart, await _body(request))
        if sender.role not in MAY_START:
            raise _forbidden(f"A {sender.role} cannot start purchases.")
        if sender.role is Role.CLIENT and terms.client.id != sender.id:
            raise _forbidden("A client can only start purchases of their own.")
        if sender.role is Role.CLIENT and terms.imported:
            raise _forbidden("A client cannot say where a purchase stands; leave `imported` out.")
        start_terms.check(terms)
        purchase = Purchase(self.client, terms.purchase_id)
        try:
            created = await purchase.start(terms)
        except Rejected as rejected:
            if is_party(sender):  # the purchase may be somebody else's: nothing is said of it
                text = "This id was used before: choose a new one."
                raise Rejected("PURCHASE_EXISTS", text) from None
            raise rejected from None
        return Started(
            purchase_id=purchase.id, workflow_id=purchase.workflow_id, already_started=not created
        )

    async def _list(self, request: Request, sender: Sender) -> Page:
        try:
            query = ListQuery.model_validate_strings(dict(request.query_params))
        except ValidationError as error:
            raise _invalid([(pointer(*where), why) for where, why in problems(error)]) from None
        given: dict[SearchAttributeKey[Any], str | bool | None] = {
            view.CLIENT: query.client,
            view.FREELANCER: query.freelancer,
            view.STAGE: query.stage and query.stage.value,
            view.NEEDS_ATTENTION: query.needs_attention,
        }
        wanted = {key: value for key, value in given.items() if value is not None}
        if is_party(sender):
            own = view.CLIENT if sender.role is Role.CLIENT else view.FREELANCER
            if wanted.setdefault(own, sender.id) != sender.id:
                raise _forbidden(f"A {sender.role} can only list purchases of their own.")
        if query.person is not None and not may_search(sender):
            raise _forbidden(f"A {sender.role} cannot search by person.")
        conditions = [FAILED] if query.never_started else []
        if query.person is not None:
            conditions.append(among(await self.database.purchases_of(query.person)))
        token, size = read_token(query.page_token), query.page_size
        try:
            found, following = await find_page(self.client, wanted, size, token, conditions)
        except InvalidPageToken as error:
            raise _invalid([("/page_token", str(error))]) from None
        if query.never_started:
            found = [each for each in found if each.never_started]
        return Page(purchases=tuple(found), next_page_token=written_token(following) or None)

    async def _status(self, request: Request, sender: Sender) -> Status:
        found = await status_for(await self._opened(request, sender), sender)
        return await self.database.without_arrived(found)

    async def _actions(self, request: Request, sender: Sender) -> list[Permission]:
        return await actions_for(await self._opened(request, sender), sender)

    async def _send(self, request: Request, sender: Sender) -> Receipt:
        kind = MESSAGES.get(request.path_params["message"])
        if kind is None:
            raise Problem(
                HTTPStatus.NOT_FOUND,
                "UNKNOWN_MESSAGE",
                f"There is no such message. Known are: {', '.join(MESSAGES)}.",
            )
        purchase = await self._opened(request, sender)
        return await send(purchase, _message(kind, await _body(request), request, sender))

    async def _opened(self, request: Request, sender: Sender) -> Purchase:
        return await opened(self.client, unquote(request.path_params["id"]), sender)


async def _openapi(_: Request) -> JSONResponse:
    return JSONResponse(openapi.document(ListQuery, Page, Started))


async def _body(request: Request) -> dict[str, Any]:
    """The JSON object in the body; an empty body is one without fields. Raises Problem."""
    body = await body_of(request, LARGEST_MESSAGE)
    if body is None:
        raise Problem(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            "TOO_LARGE",
            f"Send at most {LARGEST_MESSAGE} bytes.",
        )
    try:
        document = from_json(body or b"{}", allow_inf_nan=False)
    except ValueError as error:
        raise _invalid([("", f"is not JSON: {error}")]) from None
    if not isinstance(document, dict):
        raise _invalid([("", "must be a JSON object")])
    return document


def _message(
    kind: type[Message], document: dict[str, Any], request: Request, sender: Sender
) -> Message:
    """The body as a message of the token's sender, with the id of the body or of the header."""
    if "by" in document:
        raise _invalid([("/by", "comes from the token; leave it out")])
    key = request.headers.get("idempotency-key")
    if key is not None and document.setdefault("message_id", key) != key:
        raise _invalid([("/message_id", "differs from the header Idempotency-Key")])
    if document.get("message_id") is None:  # so that a lost answer is asked for again
        document["message_id"] = str(uuid.uuid4())
    return _read(kind, {"by": sender.model_dump(mode="json"), **document})


def _read(kind: type[Document], document: dict[str, Any]) -> Document:
    try:
        return kind.model_validate_json(json.dumps(document))
    except ValidationError as error:
        raise _invalid([(pointer(*where), why) for where, why in problems(error)]) from None


def _unauthorized(request: Request, error: Unauthorized) -> Problem:
    given = bool(request.headers.get("authorization"))
    challenge = 'Bearer error="invalid_token"' if given else "Bearer"
    return Problem(
        HTTPStatus.UNAUTHORIZED,
        "UNAUTHORIZED",
        str(error),
        headers={"WWW-Authenticate": challenge},
    )


def _too_many(error: TooMany) -> Problem:
    return Problem(
        HTTPStatus.TOO_MANY_REQUESTS,
        "TOO_MANY_REQUESTS",
        "This sender asks too often: ask again after the seconds in Retry-After.",
        headers={"Retry-After": str(math.ceil(error.seconds))},
    )


def _forbidden(detail: str) -> Problem:
    return Problem(HTTPStatus.FORBIDDEN, "FORBIDDEN", detail)


def _invalid(errors: list[tuple[str, str]]) -> Problem:
    """`errors`: a JSON pointer to each invalid field, and what is wrong there."""
    said = "; ".join(f"{where or 'The body'} {why}" for where, why in errors[:3])
    return Problem(
        HTTPStatus.UNPROCESSABLE_ENTITY, "INVALID_INPUT", f"{said.rstrip('.')}.", errors=errors
    )
