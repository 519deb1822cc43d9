"""What a person has typed and not sent yet, in the address of the page that asks to check it; and
what they have sent a moment ago, in a cookie."""

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from activities.links import NotSigned
from workflows.messages import Message
from workroom.sealed import Seals
from workroom.sessions import FORM_LIVES, Session, Sessions

DRAFT = "draft"
"""The name of a draft in an address."""
MOMENT = timedelta(minutes=10)
"""How long somebody has sent something "a moment ago"."""
KEPT = 5
"""Messages in the cookie: the newest. It has about 1,000 bytes."""


@dataclass(frozen=True)
class Draft:
    """What was typed into a form, and the `message_id` under which it will be sent."""

    message_id: str
    typed: Mapping[str, str]


@dataclass(frozen=True)
class Sent:
    """A message that was accepted: from which form of which purchase. `said`: what it said."""

    message_id: str
    form: str
    purchase: str
    said: str
    at: float


@dataclass(frozen=True)
class Drafts:
    """Keeps drafts and what was sent, both in the browser of the person alone."""

    sessions: Sessions
    seals: Seals

    def address(self, session: Session, purchase_id: str, form: str, draft: Draft) -> str | None:
        """The query of a page that shows a draft; None if it is too long for an address."""
        content = [*_whose(session, purchase_id, form), draft.message_id, dict(draft.typed)]
        sealed = self.seals.seal("draft", content)
        return sealed and urlencode({DRAFT: sealed})

    def of(self, request: Request, session: Session, purchase_id: str, form: str) -> Draft | None:
        """The draft of a page; None without one of this person, purchase and form. It outlives the
        session: the person signs in again, and it is there."""
        try:
            found = self.seals.open("draft", request.query_params.get(DRAFT, ""), FORM_LIVES)
        except NotSigned:
            return None
        *whose, message_id, typed = found
        return Draft(message_id, typed) if whose == _whose(session, purchase_id, form) else None

    # --- what was sent

    def sent(self, request: Request, session: Session) -> list[Sent]:
        """What this session has sent a moment ago, the newest first."""
        try:
            found = self.seals.open("sent", request.cookies.get(self._cookie, ""), MOMENT)
        except NotSigned:
            return []
        whose, *kept = found
        earliest = time.time() - MOMENT.total_seconds()
        sent = [Sent(**each) for each in kept] if whose == session.id else []
        return [each for each in sent if each.at > earliest]

    def is_sent(self, request: Request, session: Session, message_id: str) -> bool:
        """Whether this message was sent a moment ago."""
        return any(each.message_id == message_id for each in self.sent(request, session))

    def sent_to(self, request: Request, session: Session, purchase_id: str) -> Sent | None:
        """The message that a purchase's page says was sent; None if it was not, or long ago."""
        wanted = request.query_params.get("sent", "")
        found = self.sent(request, session)
        named = (each for each in found if each.message_id == wanted)
        return next((each for each in named if each.purchase == _digest(purchase_id)), None)

    def said_before(
        self, request: Request, session: Session, purchase_id: str, form: str, message: Message
    ) -> bool:
        """Whether the same was sent a moment ago, under another `message_id`."""
        new = _sent(purchase_id, form, message)
        return any(
            (each.purchase, each.form, each.said) == (new.purchase, new.form, new.said)
            and each.message_id != new.message_id
            for each in self.sent(request, session)
        )

    def keep(
        self,
        response: Response,
        request: Request,
        session: Session,
        purchase_id: str,
        form: str,
        message: Message,
    ) -> None:
        """Remember in the browser that a message was accepted."""
        new = _sent(purchase_id, form, message)
        others = (each for each in self.sent(request, session) if each.message_id != new.message_id)
        kept = [asdict(each) for each in (new, *others)][:KEPT]
        if sealed := self.seals.seal("sent", [session.id, *kept]):
            self.sessions.set_cookie(response, self._cookie, sealed, MOMENT)

    @property
    def _cookie(self) -> str:
        return f"{self.sessions.cookie}-sent"


def _whose(session: Session, purchase_id: str, form: str) -> list[Any]:
    return [session.sender.role.value, session.sender.id, purchase_id, form]


def _sent(purchase_id: str, form: str, message: Message) -> Sent:
    own = message.model_dump(mode="json", exclude={"by", "message_id"})
    said = _digest(json.dumps(own, sort_keys=True))
    return Sent(message.message_id or "", form, _digest(purchase_id), said, time.time())


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
