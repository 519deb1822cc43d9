"""Who looks at the pages: sessions that signed links open, and the tokens of forms.

A session is a signed cookie; nothing is stored. It covers the purchases whose links were opened, or
all of the person's. A form's token binds session, purchase, form and `message_id`: a page of
another origin has none, and a form that is sent twice counts once.
"""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from activities.links import Expired, LinkKeys, NotSigned, Purpose, from_now
from workflows.messages import Role, Sender

SIGN_OUT, SWITCH = "sign-out", "role"
"""The forms in the header of every page."""
SESSION_LIVES = timedelta(hours=12)
ATTEMPT_LIVES = timedelta(minutes=15)
"""How long a person may take to sign in at an OpenID Connect provider."""
FORM_LIVES = timedelta(hours=24)
"""Longer than a session: a form that was left open says that one has to sign in again."""
LARGEST_LIST = 2_000
"""Bytes of JSON, of the purchases in one session: the oldest are dropped. A browser keeps cookies
of 4,096 bytes."""


@dataclass(frozen=True)
class Session:
    """A signed-in person. `purchases`: those that it covers; None: all of theirs. `roles`: those
    that an OpenID Connect provider gives them; none if a link has opened it."""

    id: str
    sender: Sender
    purchases: tuple[str, ...] | None
    roles: tuple[Role, ...] = ()

    @classmethod
    def new(
        cls, sender: Sender, purchases: tuple[str, ...] | None, roles: tuple[Role, ...] = ()
    ) -> "Session":
        """A session with a new id."""
        return cls(str(uuid.uuid4()), sender, purchases, roles)

    def covers(self, purchase_id: str) -> bool:
        """Whether a link to this purchase, or to all, was opened."""
        return self.purchases is None or purchase_id in self.purchases

    def widened(self, purchase_id: str | None) -> "Session":
        """The same session, which covers this purchase too; None: all."""
        if self.purchases is None or purchase_id is None:
            return replace(self, purchases=None)
        kept = [*(each for each in self.purchases if each != purchase_id), purchase_id]
        while len(json.dumps(kept)) > LARGEST_LIST:
            del kept[0]
        return replace(self, purchases=tuple(kept))


@dataclass(frozen=True)
class Sessions:
    """Reads and writes the session cookie. `secure`: people reach the workroom over TLS."""

    keys: LinkKeys
    secure: bool

    @property
    def cookie(self) -> str:
        """Its name. Browsers accept `__Host-` only over TLS and from this very host."""
        return "__Host-recourse" if self.secure else "recourse"

    def of(self, request: Request) -> Session | None:
        """The session of a request; None without a valid one."""
        try:
            claims = self.keys.verify("session", request.cookies.get(self.cookie, ""))
            purchases = claims["purchases"]
            return Session(
                claims["sid"],
                _sender(claims),
                None if purchases is None else tuple(purchases),
                tuple(map(Role, claims.get("roles", ()))),
            )
        except (NotSigned, KeyError, TypeError, ValueError):
            return None

    def open(self, claims: Mapping[str, Any], current: Session | None) -> Session:
        """The session that a link with these claims opens; it goes on with the person's own."""
        sender = _sender(claims)
        purchase_id = None if claims.get("everywhere") else claims["purchase"]
        if current and current.sender == sender:
            return current.widened(purchase_id)
        purchases = None if purchase_id is None else (purchase_id,)
        return Session.new(sender, purchases)

    def keep(self, response: Response, session: Session) -> None:
        """Give the browser the session's cookie."""
        claims = {
            "sid": session.id,
            "role": session.sender.role.value,
            "sub": session.sender.id,
            "purchases": session.purchases,
            "roles": [role.value for role in session.roles],
        }
        self._set(response, self.cookie, "session", claims, SESSION_LIVES)

    def end(self, response: Response) -> None:
        """Take the cookie back."""
        self._delete(response, self.cookie)

    @property
    def attempt_cookie(self) -> str:
        """The name of the cookie of somebody who is at the OpenID Connect provider."""
        return f"{self.cookie}-sign-in"

    def keep_attempt(self, response: Response, attempt: Mapping[str, str]) -> None:
        """Give the browser what it must bring back from the provider."""
        self._set(response, self.attempt_cookie, "sign-in", attempt, ATTEMPT_LIVES)

    def attempt(self, request: Request) -> dict[str, str]:
        """What `keep_attempt` has given. Raises NotSigned."""
        claims = self.keys.verify("sign-in", request.cookies.get(self.attempt_cookie, ""))
        return {name: value for name, value in claims.items() if name not in ("aud", "exp")}

    def end_attempt(self, response: Response) -> None:
        """Take the cookie of an attempt back."""
        self._delete(response, self.attempt_cookie)

    def _set(
        self,
        response: Response,
        name: str,
        purpose: Purpose,
        claims: Mapping[str, Any],
        lives: timedelta,
    ) -> None:
        self.set_cookie(response, name, self.keys.sign(purpose, claims, from_now(lives)), lives)

    def set_cookie(self, response: Response, name: str, value: str, lives: timedelta) -> None:
        """Give the browser a cookie that no script and no other origin can use."""
        response.set_cookie(
            name,
            value,
            max_age=int(lives.total_seconds()),
            secure=self.secure,
            httponly=True,
            samesite="lax",
        )

    def _delete(self, response: Response, name: str) -> None:
        response.delete_cookie(name, secure=self.secure, httponly=True, samesite="lax")

    def form_token(
        self, session: Session, purchase_id: str, form: str, message_id: str | None = None
    ) -> str:
        """A token for one form on one page, with this `message_id` or a new one."""
        claims = {
            "sid": session.id,
            "purchase": purchase_id,
            "form": form,
            "message_id": message_id or str(uuid.uuid4()),
        }
        return self.keys.sign("form", claims, from_now(FORM_LIVES))

    def header_tokens(self, session: Session) -> dict[str, Any]:
        """The tokens of the forms in the header of every page, by the name in its template."""
        names = {"sign_out_token": SIGN_OUT, "switch_token": SWITCH}
        return {name: self.form_token(session, "", form) for name, form in names.items()}

    def message_id(self, session: Session, purchase_id: str, form: str, token: str) -> str:
        """The `message_id` of a form's token. Raises NotSigned for the token of another session,
        purchase or form."""
        claims = self.keys.verify("form", token)
        expected = {"sid": session.id, "purchase": purchase_id, "form": form}
        if any(claims.get(name) != value for name, value in expected.items()):
            raise NotSigned("for another form")
        return str(claims["message_id"])

    def is_own(self, purchase_id: str, form: str, token: str) -> bool:
        """Whether the form is a page of ours, also one whose session or time is over."""
        try:
            claims = self.keys.verify("form", token)
        except Expired:
            return True
        except NotSigned:
            return False
        return claims.get("purchase") == purchase_id and claims.get("form") == form


def _sender(claims: Mapping[str, Any]) -> Sender:
    return Sender.model_validate({"role": claims["role"], "id": claims["sub"]})
