"""The pages for people: their jobs, the workroom of one purchase, and the forms of its messages.

They work without JavaScript. A link signs somebody in, and only a form that its own page made sends
a message: as the session's person, once.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route
from temporalio.client import Client

from activities.links import LinkKeys, NotSigned
from activities.notices.formats import Reader
from activities.notices.formats import reader as reader_for
from temporal.access import NotYours, is_party
from temporal.aftercare import current, status_of
from workflows.messages import Role
from workroom import lists
from workroom.audits import Audits
from workroom.correspondence import written_messages
from workroom.database import Database
from workroom.drafts import Drafts
from workroom.error_pages import SignedOut, error_page, plain_page
from workroom.forms import form_at
from workroom.limits import Limits
from workroom.live import Live
from workroom.oidc import OpenIdProvider
from workroom.opening import Opening
from workroom.outlook import after_sending
from workroom.readers import Readers
from workroom.sealed import Seals
from workroom.sending import Sending
from workroom.sessions import SIGN_OUT, SWITCH, Session, Sessions
from workroom.settings import WorkroomSettings
from workroom.show import View, page
from workroom.sign_in import SignIn

FILES = ("workroom.css", "workroom.js")

Show = Callable[[Request, Session], Awaitable[Response]]


@dataclass(frozen=True)
class Pages:
    """The routes of the pages."""

    client: Client
    database: Database
    sessions: Sessions
    limits: Limits
    signing: SignIn
    readers: Readers
    opening: Opening
    drafts: Drafts
    audits: Audits
    live: Live

    @classmethod
    def of(
        cls,
        client: Client,
        database: Database,
        keys: LinkKeys,
        settings: WorkroomSettings,
        limits: Limits,
    ) -> "Pages":
        """Pages whose links and sessions are signed with these keys."""
        base_url = settings.base_url
        sessions = Sessions(keys, secure=base_url.startswith("https://"))
        provider = None
        if settings.oidc:
            provider = OpenIdProvider(settings.oidc, f"{base_url}/signed-in")
        readers = Readers(client)
        signing = SignIn(sessions, readers, provider, base_url)
        opening, drafts = Opening(client, readers), Drafts(sessions, Seals(keys))
        audits, live = Audits(client), Live()
        return cls(
            client, database, sessions, limits, signing, readers, opening, drafts, audits, live
        )

    @cached_property
    def sending(self) -> Sending:
        """The pages of forms."""
        return Sending(self.sessions, self.opening, self.drafts)

    @cached_property
    def routes(self) -> list[Route]:
        """Everything that people open."""
        one = "/purchases/{id}"
        return [
            *(Route(f"/{name}", _file) for name in FILES),
            *self.signing.routes,
            Route("/", self._route(self._jobs)),
            Route("/staff", self._route(self._staff)),
            Route("/staff/{queue}", self._route(self._queue)),
            Route(f"/{SIGN_OUT}", self._route(self.signing.sign_out), methods=["POST"]),
            Route(f"/{SWITCH}", self._route(self.signing.switch), methods=["POST"]),
            Route(one, self._route(self._purchase)),
            Route(f"{one}/live", self._route(self._live)),
            Route(f"{one}/messages", self._route(self._messages)),
            Route(f"{one}/{{form}}", self._route(self.sending.form), methods=["GET"]),
            Route(f"{one}/{{form}}", self._route(self.sending.submit), methods=["POST"]),
            Route(f"{one}/{{form}}/check", self._route(self.sending.check), methods=["GET"]),
        ]

    def _route(self, show: Show) -> Callable[[Request], Awaitable[Response]]:
        async def respond(request: Request) -> Response:
            session = self.sessions.of(request)
            try:
                if session is None:
                    raise SignedOut(
                        "Your session is over, or you have not signed in.",
                        self.signing.wanted(request),
                    )
                self.limits.count(session.sender)
                return await show(request, session)
            except Exception as error:
                reader = self._reader(request, session)
                written = ""
                if isinstance(error, SignedOut | NotSigned):
                    written = await self.sending.written(request)
                return error_page(error, session, reader, written)

        return respond

    def _reader(self, request: Request, session: Session | None) -> Reader:
        return self.readers.before(session.sender if session else None, request)

    def plain(self, status: HTTPStatus, request: Request) -> Response:
        """The page for an address that is not known, or for a fault of ours."""
        session = self.sessions.of(request)
        return plain_page(status, self._reader(request, session), session)

    # --- lists

    async def _jobs(self, request: Request, session: Session) -> Response:
        found = await lists.jobs(self.client, session, request.query_params, self.database)
        reader = await self.readers.of(session.sender, found.found, request)
        return page("jobs", session, reader, **self.sessions.header_tokens(session), jobs=found)

    async def _staff(self, _: Request, session: Session) -> Response:
        _check_is_staff(session)
        queues, audit = await asyncio.gather(lists.queues(self.client), self.audits.last())
        reader = reader_for(None)
        return page(
            "staff",
            session,
            reader,
            **self.sessions.header_tokens(session),
            queues=queues,
            audit=audit,
        )

    async def _queue(self, request: Request, session: Session) -> Response:
        _check_is_staff(session)
        name, at = request.path_params["queue"], request.query_params.get("page", "")
        queue = await lists.queue(self.client, name, at)
        return page(
            "queue", session, reader_for(None), **self.sessions.header_tokens(session), queue=queue
        )

    # --- one purchase

    async def _purchase(self, request: Request, session: Session) -> Response:
        view, buttons = await self.opening.buttons(request, session)
        asked_for = request.query_params.get("not", "")
        not_possible = (each for each in buttons if each.form.path == asked_for)
        return page(
            "purchase",
            session,
            view.reader,
            **self.sessions.header_tokens(session),
            view=view,
            buttons=buttons,
            done=self._done(request, session, view),
            not_possible=next((each for each in not_possible if not each.allowed), None),
            live=f"{view.path}/live",
            confirm_url=_confirm_url(view),
        )

    def _done(self, request: Request, session: Session, view: View) -> str:
        """What the person has sent a moment ago, and what comes next; empty if they have not."""
        sent = self.drafts.sent_to(request, session, view.status.purchase_id)
        form = form_at(sent.form, session.sender.role) if sent else None
        return after_sending(view, form) if form else ""

    async def _messages(self, request: Request, session: Session) -> Response:
        purchase, terms = await self.opening.terms(request, session)
        view = View(session.sender, terms, await status_of(purchase))
        found = await written_messages(purchase, terms)
        tokens = self.sessions.header_tokens(session)
        return page("messages", session, view.reader, **tokens, view=view, messages=found)

    async def _live(self, request: Request, session: Session) -> Response:
        purchase, _ = await self.opening.terms(request, session)
        return self.live.stream(request, await current(purchase))


def _confirm_url(view: View) -> str | None:
    """The page of the payment provider on which the client confirms the payment, if the bank asks
    for that."""
    url = view.status.confirm_url or ""
    if view.sender.role is not Role.CLIENT:
        return None
    return url if url.startswith("https://") and url.isascii() and " " not in url else None


async def _file(request: Request) -> Response:
    path = Path(__file__).with_name(request.url.path.removeprefix("/"))
    return FileResponse(path, headers={"Cache-Control": "max-age=3600"})


def _check_is_staff(session: Session) -> None:
    if is_party(session.sender) or session.purchases is not None:
        raise NotYours
