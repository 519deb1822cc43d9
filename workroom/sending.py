"""The pages that send a message: the form, the page that asks to check it, and the sending.

POST leads to a page with an address of its own (303), so that the back button and a reload send
nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import unquote, urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from temporal.access import send
from temporal.aftercare import status_of
from temporal.errors import Rejected
from workflows.lifecycle.state import Code
from workflows.messages import Message
from workroom.answers import Fields, Invalid, escrow_of, message_of, read
from workroom.drafts import Draft, Drafts
from workroom.forms import FORMS, Form, Question, form_at, prefilled
from workroom.opening import Opening
from workroom.outlook import before_sending
from workroom.reading import fields_of
from workroom.sessions import Session, Sessions
from workroom.show import View, page, purchase_path, reader_of


@dataclass(frozen=True)
class Sending:
    """The pages of every form."""

    sessions: Sessions
    opening: Opening
    drafts: Drafts

    async def form(self, request: Request, session: Session) -> Response:
        """The form, empty or with a draft; the purchase with the reason if it is not possible."""
        form = _form_of(request, session)
        view, buttons = await self.opening.buttons(request, session)
        if not next(each.allowed for each in buttons if each.form is form):
            return _not_possible(view, form)
        draft = self.drafts.of(request, session, view.status.purchase_id, form.path)
        if draft is None:
            return self._asked(session, view, form, prefilled(form, view.status))
        return self._asked(session, view, form, draft.typed, message_id=draft.message_id)

    async def check(self, request: Request, session: Session) -> Response:
        """The page that repeats a draft before it is sent."""
        form = _form_of(request, session)
        view, buttons = await self.opening.buttons(request, session)
        draft = self.drafts.of(request, session, view.status.purchase_id, form.path)
        if draft is None:
            return RedirectResponse(f"{view.path}/{form.path}", 303)
        is_sent = self.drafts.is_sent(request, session, draft.message_id)
        if not is_sent and not next(each.allowed for each in buttons if each.form is form):
            return _not_possible(view, form)
        try:
            fields = read(form, draft.typed, view.terms.price, view.reader)
            message = message_of(form, fields, session.sender, draft.message_id, view.reader)
            return await self._confirmed(
                session, view, form, draft, fields, message, is_sent=is_sent
            )
        except Invalid as invalid:
            return self._asked(session, view, form, draft.typed, invalid.errors)

    async def submit(self, request: Request, session: Session) -> Response:
        """Send the message, or ask to check it first."""
        form = _form_of(request, session)
        typed = await fields_of(request)
        purchase, terms = await self.opening.terms(request, session)
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
            draft = Draft(message_id, _answers(form, typed))
            if query := self.drafts.address(session, purchase.id, form.path, draft):
                path = f"{purchase_path(purchase.id)}/{form.path}/check"
                return RedirectResponse(f"{path}?{query}", 303)
            shown = await view()
            try:
                return await self._confirmed(session, shown, form, draft, fields, message)
            except Invalid as invalid:
                return self._asked(session, shown, form, typed, invalid.errors)
        sent = (request, session, purchase.id, form.path, message)
        if typed.get("again") != "yes" and self.drafts.said_before(*sent):
            before = reader.text(
                "You sent this a moment ago. To send it once more, press the button again."
            )
            return self._asked(session, await view(), form, typed | {"again": "yes"}, {"": before})
        try:
            await send(purchase, message)
        except Rejected as rejected:
            shown = await view()
            why = {"": _why(rejected, shown)}
            return self._asked(session, shown, form, typed, why, HTTPStatus.CONFLICT)
        query = urlencode({"sent": message_id})
        response = RedirectResponse(f"{purchase_path(purchase.id)}?{query}", 303)
        self.drafts.keep(response, *sent)
        return response

    async def written(self, request: Request) -> str:
        """What a person has written into a form of ours that cannot be sent, because their session
        or its time is over; empty for any other request."""
        path, purchase = request.path_params.get("form", ""), request.path_params.get("id", "")
        if request.method != "POST" or not path:
            return ""
        typed = await fields_of(request)
        if not self.sessions.is_own(unquote(purchase), path, typed.get("token", "")):
            return ""
        asked = [each for form in FORMS if form.path == path for each in form.questions]
        texts = (typed.get(each.name, "") for each in asked if each.kind in ("text", "line"))
        return "\n\n".join(dict.fromkeys(text for text in texts if text.strip()))

    def _asked(
        self,
        session: Session,
        view: View,
        form: Form,
        typed: Mapping[str, str],
        errors: Mapping[str, str] | None = None,
        status: HTTPStatus | None = None,
        message_id: str | None = None,
    ) -> Response:
        """The form, with what was typed and what is wrong with it."""
        found = HTTPStatus.UNPROCESSABLE_ENTITY if errors else HTTPStatus.OK
        shown = {name: view.reader.text_if_known(why) for name, why in (errors or {}).items()}
        purchase_id = view.status.purchase_id
        return page(
            "form",
            session,
            view.reader,
            status=status or found,
            **self.sessions.header_tokens(session),
            token=self.sessions.form_token(session, purchase_id, form.path, message_id),
            view=view,
            form=form,
            typed=typed,
            errors=shown,
            escrow=escrow_of(view.status),
            division="" if form.asks_for_money else _division(view, form, dict(typed)),
        )

    async def _confirmed(
        self,
        session: Session,
        view: View,
        form: Form,
        draft: Draft,
        fields: Fields,
        message: Message,
        *,
        is_sent: bool = False,
    ) -> Response:
        """The page that repeats what will be sent. The same token goes on: it is sent once."""
        purchase_id = view.status.purchase_id
        query = self.drafts.address(session, purchase_id, form.path, draft)
        state = None if is_sent else await self.opening.state(purchase_id)
        return page(
            "confirm",
            session,
            view.reader,
            **self.sessions.header_tokens(session),
            token=self.sessions.form_token(session, purchase_id, form.path, draft.message_id),
            view=view,
            form=form,
            typed=draft.typed,
            shown=_shown(view, form, fields),
            division=view.division(form, fields),
            then=before_sending(view, message, state),
            change=f"{view.path}/{form.path}?{query}" if query else "",
            is_sent=is_sent,
        )


def _answers(form: Form, typed: Mapping[str, str]) -> dict[str, str]:
    return {each.name: typed.get(each.name, "") for each in form.questions}


def _shown(view: View, form: Form, fields: Fields) -> list[tuple[str, str]]:
    """The answers, by label; amounts as they were understood."""
    asked = (each for each in form.questions if each.name in form.labels and each.name in fields)
    return [(form.labels[each.name], _text(view, each, fields[each.name])) for each in asked]


def _text(view: View, question: Question, answer: str | int) -> str:
    if question.kind == "amount":
        return view.amount(int(answer))
    chosen = dict(question.choices).get(str(answer))
    return view.reader.text(chosen) if chosen else str(answer)


def _division(view: View, form: Form, fields: Fields) -> str:
    """Who gets what, where nobody has to type it; empty if what was typed is not valid."""
    try:
        return view.division(form, fields) if form.money else ""
    except (Invalid, KeyError, ValueError):
        return ""


def _not_possible(view: View, form: Form) -> Response:
    return RedirectResponse(f"{view.path}?{urlencode({'not': form.path})}", 303)


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
