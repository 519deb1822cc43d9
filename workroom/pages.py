"""The pages for people: their jobs, the workroom of one purchase, and the forms of its messages.

They work without JavaScript. A link signs somebody in, and only a form that its own page made sends
a message: as the session's person, once.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import Route
from temporalio.client import Client

from activities.links import LinkKeys
from activities.notices.formats import reader as reader_for
from temporal.access import NotYours, is_party, named, send, terms_for
from temporal.aftercare import current, status_of
from temporal.errors import Rejected
from temporal.purchases import Purchase
from workflows.lifecycle.state import Code
from workflows.messages import PurchaseStart, Role
from workroom import lists
from workroom.audits import Audits
from workroom.correspondence import written_messages
from workroom.error_pages import SignedOut, error_page
from workroom.forms import Form, Invalid, form_at, message_of, prefilled, read
from workroom.limits import Limits
from workroom.live import Live
from workroom.oidc import OpenIdProvider
from workroom.readers import Readers
from workroom.reading import fields_of
from workroom.sessions import Session, Sessions
from workroom.settings import WorkroomSettings
from workroom.show import Button, View, page, purchase_path, reader_of
from workroom.sign_in import SIGN_OUT, SWITCH, SignIn

FILES = ("workroom.css", "workroom.js")

Show = Callable[[Request, Session], Awaitable[Response]]


@dataclass(frozen=True)
class Pages:
    """The routes of the pages."""

    client: Client
    sessions: Sessions
    limits: Limits
    signing: SignIn
    readers: Readers
    audits: Audits
    live: Live

    @classmethod
    def of(
        cls, client: Client, keys: LinkKeys, settings: WorkroomSettings, limits: Limits
    ) -> "Pages":
        """Pages whose links and sessions are signed with these keys."""
        base_url = settings.base_url
        sessions = Sessions(keys, secure=base_url.startswith("https://"))
        provider = None
        if settings.oidc:
            provider = OpenIdProvider(settings.oidc, f"{base_url}/signed-in")
        readers = Readers(client)
        signing = SignIn(sessions, readers, provider, base_url)
        return cls(client, sessions, limits, signing, readers, Audits(client), Live())

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
            Route(f"{one}/{{form}}", self._route(self._form), methods=["GET"]),
            Route(f"{one}/{{form}}", self._route(self._submit), methods=["POST"]),
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
                sender = session.sender if session else None
                return error_page(error, session, self.readers.before(sender, request))

        return respond

    # --- lists

    async def _jobs(self, request: Request, session: Session) -> Response:
        found = await lists.jobs(self.client, session, request.query_params)
        reader = await self.readers.of(session.sender, found.found, request)
        return page("jobs", session, reader, **self._tokens(session), jobs=found)

    async def _staff(self, _: Request, session: Session) -> Response:
        _check_is_staff(session)
        queues, audit = await asyncio.gather(lists.queues(self.client), self.audits.last())
        reader = reader_for(None)
        return page("staff", session, reader, **self._tokens(session), queues=queues, audit=audit)

    async def _queue(self, request: Request, session: Session) -> Response:
        _check_is_staff(session)
        name, at = request.path_params["queue"], request.query_params.get("page", "")
        queue = await lists.queue(self.client, name, at)
        return page("queue", session, reader_for(None), **self._tokens(session), queue=queue)

    def _tokens(self, session: Session) -> dict[str, Any]:
        """The tokens of the forms in a page's header."""
        names = {"sign_out_token": SIGN_OUT, "switch_token": SWITCH}
        return {name: self.sessions.form_token(session, "", of) for name, of in names.items()}

    # --- one purchase

    async def _opened(self, request: Request, session: Session) -> tuple[Purchase, PurchaseStart]:
        purchase_id = unquote(request.path_params["id"])
        if not session.covers(purchase_id):
            raise NotYours
        purchase = named(self.client, purchase_id)
        terms = await terms_for(purchase, session.sender)
        if is_party(session.sender):
            self.readers.keep(session.sender, reader_of(session.sender, terms))
        return purchase, terms

    async def _shown(
        self, request: Request, session: Session
    ) -> tuple[Purchase, View, list[Button]]:
        """A purchase, and what the person may do now."""
        purchase, terms = await self._opened(request, session)
        role = session.sender.role
        if found := await purchase.open_view(role):
            status, allowed = found
        else:
            status = await status_of(purchase)
            allowed = await (await current(purchase)).actions(role)
        view = View(session.sender, terms, status)
        return purchase, view, view.buttons(allowed)

    async def _purchase(self, request: Request, session: Session) -> Response:
        _, view, buttons = await self._shown(request, session)
        sent = form_at(request.query_params.get("sent", ""), session.sender.role)
        return page(
            "purchase",
            session,
            view.reader,
            **self._tokens(session),
            view=view,
            buttons=buttons,
            sent=sent,
            live=f"{view.path}/live",
            confirm_url=_confirm_url(view),
        )

    async def _messages(self, request: Request, session: Session) -> Response:
        purchase, terms = await self._opened(request, session)
        view = View(session.sender, terms, await status_of(purchase))
        found = await written_messages(purchase, terms)
        tokens = self._tokens(session)
        return page("messages", session, view.reader, **tokens, view=view, messages=found)

    async def _live(self, request: Request, session: Session) -> Response:
        purchase, _ = await self._opened(request, session)
        return self.live.stream(request, await current(purchase))

    async def _form(self, request: Request, session: Session) -> Response:
        form = _form_of(request, session)
        _, view, buttons = await self._shown(request, session)
        button = next(each for each in buttons if each.form is form)
        if not button.allowed:
            raise Rejected(button.code or "NOT_ALLOWED_NOW", button.why_not or "Not possible now.")
        return self._asked(session, view, form, prefilled(form, view.status))

    async def _submit(self, request: Request, session: Session) -> Response:
        form = _form_of(request, session)
        typed = await fields_of(request)
        purchase, terms = await self._opened(request, session)
        token = typed.pop("token", "")
        message_id = self.sessions.message_id(session, purchase.id, form.path, token)

        async def view() -> View:  # what is sent at once needs no query
            return View(session.sender, terms, await status_of(purchase))

        try:
            reader = reader_of(session.sender, terms)
            fields = read(form, typed, terms.price, reader)
            message = message_of(form, fields, session.sender, message_id, reader)
        except Invalid as invalid:
            return self._asked(session, await view(), form, typed, invalid.errors)
        if form.confirms and typed.get("confirmed") != "yes":
            shown = await view()
            try:
                return self._confirmed(session, shown, form, typed, fields, token)
            except Invalid as invalid:
                return self._asked(session, shown, form, typed, invalid.errors)
        try:
            await send(purchase, message)
        except Rejected as rejected:
            shown = await view()
            why = {"": _why(rejected, shown)}
            return self._asked(session, shown, form, typed, why, HTTPStatus.CONFLICT)
        return RedirectResponse(f"{purchase_path(purchase.id)}?sent={form.path}", 303)

    def _asked(
        self,
        session: Session,
        view: View,
        form: Form,
        typed: dict[str, str],
        errors: Mapping[str, str] | None = None,
        status: HTTPStatus | None = None,
    ) -> Response:
        """The form, with what was typed and what is wrong with it."""
        found = HTTPStatus.UNPROCESSABLE_ENTITY if errors else HTTPStatus.OK
        shown = {name: view.reader.text_if_known(why) for name, why in (errors or {}).items()}
        return page(
            "form",
            session,
            view.reader,
            status=status or found,
            **self._tokens(session),
            token=self.sessions.form_token(session, view.status.purchase_id, form.path),
            view=view,
            form=form,
            typed=typed,
            errors=shown,
        )

    def _confirmed(
        self,
        session: Session,
        view: View,
        form: Form,
        typed: dict[str, str],
        fields: dict[str, str | int],
        token: str,
    ) -> Response:
        """The page that repeats what will be sent. The same token goes on: it is sent once."""
        asked = {each.name: typed.get(each.name, "") for each in form.questions}
        return page(
            "confirm",
            session,
            view.reader,
            **self._tokens(session),
            token=token,
            view=view,
            form=form,
            typed=asked,
            division=view.division(form, fields),
        )


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


def _form_of(request: Request, session: Session) -> Form:
    form = form_at(request.path_params["form"], session.sender.role)
    if form is None:
        raise Rejected("NOT_FOUND", "There is no such page.")
    return form


def _why(rejected: Rejected, view: View) -> str:
    if rejected.code == Code.INVALID_MESSAGE:
        return view.reader.text(
            "This form was sent before. Look at the purchase first; then send it again if needed."
        )
    return view.why_not(rejected.code, rejected.text) or rejected.text
