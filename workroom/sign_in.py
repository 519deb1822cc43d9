"""Signing in and out: by the link of a notice, or at an OpenID Connect provider."""

import re
from dataclasses import asdict, dataclass
from functools import cached_property
from urllib.parse import urlencode

import structlog
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from activities.links import Expired, NotSigned
from temporal.access import is_party
from temporal.errors import Unreachable
from workroom.error_pages import SignedOut, error_page
from workroom.forms import form_at
from workroom.oidc import Attempt, OpenIdProvider, SignInFailed
from workroom.readers import Readers
from workroom.reading import fields_of
from workroom.sessions import SIGN_OUT, SWITCH, Session, Sessions
from workroom.show import page, purchase_path

PATH = re.compile(r"/(staff|purchases/[A-Za-z0-9%._~-]{1,400}(/[a-z_]{1,40})?)?")
"""Where a person may go after signing in: pages of ours only."""

log = structlog.get_logger()


@dataclass(frozen=True)
class SignIn:
    """The pages that open and end sessions."""

    sessions: Sessions
    readers: Readers
    provider: OpenIdProvider | None
    base_url: str

    @cached_property
    def routes(self) -> list[Route]:
        """Those that need no session."""
        found = [Route("/open/{token}", self._open)]
        if self.provider:
            found += [Route("/sign-in", self._begin), Route("/signed-in", self._finish)]
        return found

    def wanted(self, request: Request) -> str | None:
        """Our page that signs people in and comes back to this one; None without a provider."""
        if self.provider is None:
            return None
        return f"/sign-in?{urlencode({'to': request.url.path})}"

    async def sign_out(self, request: Request, session: Session) -> Response:
        """End the session; link to the page that ends the provider's session, if there is one."""
        self.sessions.message_id(session, "", SIGN_OUT, (await fields_of(request)).get("token", ""))
        leave = None
        if session.roles and self.provider:
            leave = await self.provider.sign_out_url(f"{self.base_url}/")
        reader = self.readers.before(session.sender, request)
        response = page("signed_out", None, reader, leave=leave, sign_in=self._sign_in)
        self.sessions.end(response)
        return response

    async def switch(self, request: Request, session: Session) -> Response:
        """Go on in another of the person's roles."""
        fields = await fields_of(request)
        self.sessions.message_id(session, "", SWITCH, fields.get("token", ""))
        chosen = next((role for role in session.roles if role.value == fields.get("role")), None)
        if chosen is None:
            raise NotSigned("no role of this session")
        sender = session.sender.model_copy(update={"role": chosen})
        return self._opened(Session.new(sender, None, session.roles), "/")

    async def _open(self, request: Request) -> Response:
        """Sign in by a link, and redirect to its page. Nothing else happens."""
        try:
            claims = self.sessions.keys.verify("link", request.path_params["token"])
        except Expired:
            return self._failed(request, "This link has expired.")
        except NotSigned:
            return self._failed(request, "This link is not valid.")
        session = self.sessions.open(claims, self.sessions.of(request))
        return self._opened(session, _target(session, claims["purchase"], claims["form"]))

    async def _begin(self, request: Request) -> Response:
        assert self.provider
        to = request.query_params.get("to", "/")
        attempt = Attempt.new(to if PATH.fullmatch(to) else "/")
        try:
            response = RedirectResponse(await self.provider.sign_in_url(attempt), 303)
        except Unreachable as error:
            return error_page(error, None, self.readers.before(None, request))
        self.sessions.keep_attempt(response, asdict(attempt))
        return response

    async def _finish(self, request: Request) -> Response:
        assert self.provider
        try:
            attempt = Attempt(**self.sessions.attempt(request))
            first, *others = await self.provider.senders(attempt, request.query_params)
        except Unreachable as error:
            return error_page(error, None, self.readers.before(None, request))
        except (NotSigned, SignInFailed) as error:
            log.warning("sign_in_failed", why=str(error))
            return self._failed(request, "Signing in did not work.")
        roles = tuple(each.role for each in (first, *others))
        to = attempt.to if attempt.to != "/" or is_party(first) else "/staff"
        response = self._opened(Session.new(first, None, roles), to)
        self.sessions.end_attempt(response)
        return response

    def _opened(self, session: Session, to: str) -> Response:
        response = RedirectResponse(to, 303)
        self.sessions.keep(response, session)
        return response

    def _failed(self, request: Request, why: str) -> Response:
        return error_page(SignedOut(why, self._sign_in), None, self.readers.before(None, request))

    @property
    def _sign_in(self) -> str | None:
        return "/sign-in" if self.provider else None


def _target(session: Session, purchase_id: str | None, form: str) -> str:
    """The path of the page that a link opens."""
    if purchase_id is None:
        return "/" if is_party(session.sender) else "/staff"
    path = purchase_path(purchase_id)
    return f"{path}/{form}" if form_at(form, session.sender.role) else path
