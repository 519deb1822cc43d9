"""The pages for people: their jobs, the workroom of one purchase, and the forms of its messages.

They work without JavaScript. A link signs somebody in, and only a form that its own page made sends
a message: as the session's person, once.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote

from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import Route
from temporalio.client import Client

from activities.links import Expired, LinkKeys, NotSigned
from temporal.aftercare import current, status_of
from temporal.errors import Failure, Rejected, Unreachable
from temporal.purchases import Purchase
from temporal.serving import body_of
from workflows.lifecycle.state import Code
from workflows.messages import PurchaseStart
from workflows.receiving.parsing import LARGEST_MESSAGE
from workroom import lists
from workroom.access import NotYours, is_party, opened, send, terms_for
from workroom.forms import Form, Invalid, form_at, message_of, prefilled, read
from workroom.limits import Limits, TooMany
from workroom.problems import failure_of
from workroom.sessions import Session, Sessions
from workroom.show import View, page, reader_of

STYLE = Path(__file__).parent / "workroom.css"
MOST_FIELDS = 20
SIGN_OUT = "sign-out"

Show = Callable[[Request, Session], Awaitable[Response]]


class SignedOut(Exception):
    """There is no session. The message says why."""


@dataclass(frozen=True)
class Pages:
    """The routes of the pages."""

    client: Client
    sessions: Sessions
    limits: Limits

    @classmethod
    def signed_with(cls, client: Client, keys: LinkKeys, base_url: str, limits: Limits) -> "Pages":
        """Pages whose links and sessions are signed with these keys."""
        return cls(client, Sessions(keys, secure=base_url.startswith("https://")), limits)

    @cached_property
    def routes(self) -> list[Route]:
        """Everything that people open."""
        one = "/purchases/{id}"
        return [
            Route("/workroom.css", _style),
            Route("/open/{token}", self._open),
            Route("/", self._route(self._jobs)),
            Route("/staff", self._route(self._staff)),
            Route(f"/{SIGN_OUT}", self._route(self._sign_out), methods=["POST"]),
            Route(one, self._route(self._purchase)),
            Route(f"{one}/{{form}}", self._route(self._form), methods=["GET"]),
            Route(f"{one}/{{form}}", self._route(self._submit), methods=["POST"]),
        ]

    def _route(self, show: Show) -> Callable[[Request], Awaitable[Response]]:
        async def respond(request: Request) -> Response:
            session = self.sessions.of(request)
            try:
                if session is None:
                    raise SignedOut("Your session is over, or you have not signed in.")
                self.limits.count(session.sender)
                return await show(request, session)
            except Exception as error:
                return _failed(error, session)

        return respond

    async def _open(self, request: Request) -> Response:
        """Sign in by a link, and go where it leads. Nothing else happens."""
        try:
            claims = self.sessions.keys.verify("link", request.path_params["token"])
        except Expired:
            return _failed(SignedOut("This link is too old. Use a newer one."), None)
        except NotSigned:
            return _failed(SignedOut("This link is not valid."), None)
        session = self.sessions.open(claims, self.sessions.of(request))
        response = RedirectResponse(_target(session, claims["purchase"], claims["form"]), 303)
        self.sessions.keep(response, session)
        return response

    async def _sign_out(self, request: Request, session: Session) -> Response:
        typed = await _typed(request)
        self.sessions.message_id(session, "", SIGN_OUT, typed.get("token", ""))
        response = _failed(SignedOut("You have signed out."), None, HTTPStatus.OK)
        self.sessions.end(response)
        return response

    # --- lists

    async def _jobs(self, request: Request, session: Session) -> Response:
        found = await lists.jobs(self.client, session, request.query_params)
        return page("jobs", session, token=self._sign_out_token(session), jobs=found)

    async def _staff(self, _: Request, session: Session) -> Response:
        if is_party(session.sender) or session.purchases is not None:
            raise NotYours
        queue = await lists.queue(self.client)
        return page("staff", session, token=self._sign_out_token(session), queue=queue)

    def _sign_out_token(self, session: Session) -> str:
        return self.sessions.form_token(session, "", SIGN_OUT)

    # --- one purchase

    async def _opened(self, request: Request, session: Session) -> tuple[Purchase, PurchaseStart]:
        purchase_id = unquote(request.path_params["id"])
        if not session.covers(purchase_id):
            raise NotYours
        purchase = await opened(self.client, purchase_id, session.sender)
        return purchase, await terms_for(purchase, session.sender)

    async def _purchase(self, request: Request, session: Session) -> Response:
        purchase, terms = await self._opened(request, session)
        view = View(session.sender, terms, await status_of(purchase))
        actions = await (await current(purchase)).actions(session.sender.role)
        sent = form_at(request.query_params.get("sent", ""), session.sender.role)
        return page(
            "purchase",
            session,
            token=self._sign_out_token(session),
            view=view,
            buttons=view.buttons(actions),
            sent=sent,
        )

    async def _form(self, request: Request, session: Session) -> Response:
        form = _form_of(request, session)
        purchase, terms = await self._opened(request, session)
        view = View(session.sender, terms, await status_of(purchase))
        actions = await (await current(purchase)).actions(session.sender.role)
        button = next(each for each in view.buttons(actions) if each.form is form)
        if not button.allowed:
            raise Rejected(button.code or "NOT_ALLOWED_NOW", button.why_not or "Not possible now.")
        return self._asked(session, view, form, prefilled(form, view.status))

    async def _submit(self, request: Request, session: Session) -> Response:
        form = _form_of(request, session)
        typed = await _typed(request)
        purchase, terms = await self._opened(request, session)
        token = typed.pop("token", "")
        message_id = self.sessions.message_id(session, purchase.id, form.path, token)

        async def view() -> View:  # what is sent at once needs no query
            return View(session.sender, terms, await status_of(purchase))

        try:
            fields = read(form, typed, terms.price, reader_of(session.sender, terms))
            message = message_of(form, fields, session.sender, message_id)
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
            return self._asked(
                session, await view(), form, typed, {"": _why(rejected)}, HTTPStatus.CONFLICT
            )
        return RedirectResponse(f"/purchases/{quote(purchase.id, safe='')}?sent={form.path}", 303)

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
        return page(
            "form",
            session,
            status=status or found,
            token=self.sessions.form_token(session, view.status.purchase_id, form.path),
            view=view,
            form=form,
            typed=typed,
            errors=errors or {},
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
            token=token,
            view=view,
            form=form,
            typed=asked,
            division=view.division(form, fields),
        )


async def _style(_: Request) -> Response:
    return FileResponse(STYLE, media_type="text/css", headers={"Cache-Control": "max-age=3600"})


def _target(session: Session, purchase_id: str | None, form: str) -> str:
    """A path of ours that a link leads to."""
    if purchase_id is None:
        return "/" if is_party(session.sender) else "/staff"
    path = f"/purchases/{quote(purchase_id, safe='')}"
    return f"{path}/{form}" if form_at(form, session.sender.role) else path


def _form_of(request: Request, session: Session) -> Form:
    form = form_at(request.path_params["form"], session.sender.role)
    if form is None:
        raise Rejected("NOT_FOUND", "There is no such page.")
    return form


async def _typed(request: Request) -> dict[str, str]:
    """The fields of a submitted form."""
    body = await body_of(request, 3 * LARGEST_MESSAGE)  # a byte may be written as three
    try:
        pairs = parse_qsl(
            (body or b"").decode(), keep_blank_values=True, max_num_fields=MOST_FIELDS
        )
    except ValueError:
        pairs = []
    return dict(pairs)


def _why(rejected: Rejected) -> str:
    if rejected.code == Code.INVALID_MESSAGE:
        return (
            "This form was sent before. Look at the purchase first; then send it again if needed."
        )
    return rejected.text


def _failed(
    error: Exception, session: Session | None, status: HTTPStatus | None = None
) -> Response:
    """The page for what went wrong. Raises what is a fault of ours."""
    found, heading, text = _explained(error)
    return page("failed", session, status=status or found, heading=heading, text=text)


def _explained(error: Exception) -> tuple[HTTPStatus, str, str]:
    match error:
        case SignedOut():
            advice = "To sign in, open the link in the newest mail about your purchase."
            return HTTPStatus.UNAUTHORIZED, "Sign in", f"{error} {advice}"
        case NotYours():
            text = "You are not a party of such a purchase, or you have to open its own link first."
            return HTTPStatus.FORBIDDEN, "Not yours", text
        case NotSigned():
            text = "The page was open for too long, or you have signed in anew. Open it again."
            return HTTPStatus.FORBIDDEN, "Nothing was sent", text
        case TooMany():
            text = "You have opened many pages in a short time. Wait some seconds."
            return HTTPStatus.TOO_MANY_REQUESTS, "Too many requests", text
        case Unreachable():
            text = "Our system does not answer now. Nothing is lost; try again in a minute."
            return HTTPStatus.SERVICE_UNAVAILABLE, "Try again soon", text
        case Failure(code="NOT_FOUND"):
            return HTTPStatus.NOT_FOUND, "Not found", error.text
        case Failure():
            return HTTPStatus.CONFLICT, "Not possible now", error.text
    return _explained(failure_of(error))
