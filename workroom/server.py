"""The workroom's web server: the HTTP API for machines and the pages for people."""

from datetime import timedelta
from http import HTTPStatus

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from temporalio.client import Client

from activities.links import LINK_KEYS, Person, from_now, link
from activities.services import WrongSetting
from temporal.client import connect
from temporal.serving import LISTENS, listen
from workflows.messages import Sender
from workroom.api import Api
from workroom.database import Database
from workroom.error_pages import plain_page
from workroom.limits import Limits
from workroom.pages import Pages
from workroom.problems import Problem
from workroom.readers import asked_for
from workroom.settings import WorkroomSettings


async def serve() -> None:
    """Listen until stopped. Raises WrongSetting, or Unreachable if Temporal cannot be reached."""
    settings = WorkroomSettings.from_environment()
    app = workroom(await connect(), settings)
    await listen(app, settings.host, settings.port, "workroom_listening")


def link_for(person: Sender, purchase_id: str | None) -> str:
    """A link that signs a person in for a day: to one purchase, or to all of theirs. Raises
    WrongSetting."""
    return day_link(WorkroomSettings.from_environment(), person, purchase_id)


def day_link(
    settings: WorkroomSettings,
    person: Sender,
    purchase_id: str | None = None,
    form: str = "",
    *,
    everywhere: bool = False,
) -> str:
    """A link that signs a person in for a day (`activities.links.link`). Raises WrongSetting."""
    if settings.links is None:
        raise WrongSetting(f"{LINK_KEYS} is not set: it signs links.")
    of, until = Person(person.role.value, person.id), from_now(timedelta(days=1))
    return link(
        settings.links, settings.base_url, of, until, purchase_id, form, everywhere=everywhere
    )


def workroom(
    client: Client, settings: WorkroomSettings, database: Database | None = None
) -> Starlette:
    """The ASGI application, with what the settings have keys for. Without `database`, that of the
    environment."""
    routes, limits, database = [LISTENS], Limits(), database or Database.from_environment()
    if settings.tokens:
        routes += Api(client, database, settings.tokens, limits).routes
    plain = _plain
    if settings.links:
        pages = Pages.of(client, database, settings.links, settings, limits)
        routes, plain = routes + pages.routes, pages.plain

    async def not_answered(request: Request, error: Exception) -> Response:
        """A path or a method that is not known: in a browser, a mistyped address."""
        assert isinstance(error, HTTPException)
        status = HTTPStatus(error.status_code)
        if _is_browser(request):
            return plain(status, request)
        detail = f"{status.phrase}: the API is described at /api/openapi.json."
        return Problem(status, status.name, detail, headers=error.headers).response()

    return Starlette(
        routes=routes,
        middleware=[Middleware(UndecodedPaths)],
        exception_handlers={HTTPException: not_answered, Exception: _broken},
    )


def _plain(status: HTTPStatus, request: Request) -> Response:
    """The page without a session, in the language of the browser."""
    return plain_page(status, asked_for(request))


async def _broken(request: Request, error: Exception) -> Response:
    """A fault of ours; the log has its traceback."""
    status = HTTPStatus.INTERNAL_SERVER_ERROR
    if _is_browser(request):
        return _plain(status, request)
    return Problem(
        status, "INTERNAL_ERROR", "This is a fault of ours, and is in our log."
    ).response()


def _is_browser(request: Request) -> bool:
    is_api = request.url.path.startswith("/api/")
    return not is_api and "text/html" in request.headers.get("accept", "")


class UndecodedPaths:
    """Routes by the path as it was sent, so that an id in it may contain an encoded slash."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if raw := scope.get("raw_path"):
            scope = {**scope, "path": raw.decode("ascii", "replace")}
        await self._app(scope, receive, send)
