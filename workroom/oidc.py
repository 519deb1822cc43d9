"""Signs people in at an OpenID Connect provider: authorization code flow with PKCE.

Authlib builds the requests and checks an id token's own claims (nonce, authorized party); PyJWT
checks its signature, issuer, audience and times, with the provider's published keys.
"""

import asyncio
import hmac
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import jwt
import requests
import structlog
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.requests_client import OAuth2Session
from authlib.oidc.core import CodeIDToken
from joserfc.errors import JoseError
from pydantic import ValidationError

from temporal.errors import Unreachable
from workflows.messages import Role, Sender
from workroom.tokens import FETCHED_WITHIN, LEEWAY, MALFORMED, SIGNATURES, Jwks, fetch_json, is_safe

KEPT_FOR = timedelta(minutes=10)
"""How long the provider's metadata is used before it is fetched again."""
PEOPLE = (Role.CLIENT, Role.FREELANCER, Role.MEDIATOR, Role.OPERATOR)
"""The roles that a claim may give. Without one of them a person is both client and freelancer."""

log = structlog.get_logger()


class SignInFailed(Exception):
    """The provider has not signed this person in, or its answer is invalid."""


@dataclass(frozen=True)
class OidcSettings:
    """The provider, and the claims that name a person's id and roles."""

    issuer: str
    client_id: str
    client_secret: str = field(default="", repr=False)
    scope: str = "openid"
    id_claim: str = "sub"
    roles_claim: str = "roles"


@dataclass(frozen=True)
class Attempt:
    """What the browser keeps while its person is at the provider. `to`: the page that follows."""

    to: str
    state: str
    nonce: str
    verifier: str

    @classmethod
    def new(cls, to: str) -> "Attempt":
        """An attempt with new random values."""
        return cls(to, *(secrets.token_urlsafe(32) for _ in range(3)))


class OpenIdProvider:
    """The provider, as its metadata describes it."""

    def __init__(self, settings: OidcSettings, redirect_uri: str) -> None:
        """`redirect_uri`: the page of ours to which the provider returns."""
        self._settings, self._redirect_uri = settings, redirect_uri
        self._found: dict[str, Any] = {}
        self._fetched = 0.0
        self._keys: Jwks | None = None
        self._lock = asyncio.Lock()

    async def sign_in_url(self, attempt: Attempt) -> str:
        """The provider's page for this attempt. Raises Unreachable."""
        metadata = await self._metadata()
        url, _ = self._session().create_authorization_url(
            metadata["authorization_endpoint"],
            state=attempt.state,
            code_verifier=attempt.verifier,
            nonce=attempt.nonce,
        )
        return str(url)

    async def sign_out_url(self, back: str) -> str | None:
        """The provider's page that ends its own session and returns to `back`; None if it has
        none, or cannot be reached."""
        try:
            found = (await self._metadata()).get("end_session_endpoint")
        except Unreachable:
            return None
        asked = {"client_id": self._settings.client_id, "post_logout_redirect_uri": back}
        return f"{found}?{urlencode(asked)}" if found else None

    async def senders(self, attempt: Attempt, answer: Mapping[str, str]) -> list[Sender]:
        """The person whom the provider has signed in, in each of their roles. `answer`: the query
        with which it returned. Raises SignInFailed, Unreachable."""
        metadata = await self._metadata()
        if not hmac.compare_digest(attempt.state.encode(), answer.get("state", "").encode()):
            raise SignInFailed("the state is another one")
        if answer.get("iss", self._settings.issuer) != self._settings.issuer:
            raise SignInFailed("another provider has answered")  # RFC 9207
        if "code" not in answer:
            raise SignInFailed(answer.get("error", "there is no code"))
        claims = await self._claims(metadata, attempt, answer["code"])
        try:
            return [
                Sender.model_validate({"role": role, "id": claims.get(self._settings.id_claim)})
                for role in self._roles(claims)
            ]
        except ValidationError:
            raise SignInFailed(f"the claim {self._settings.id_claim} is not an id") from None

    async def _claims(
        self, metadata: Mapping[str, Any], attempt: Attempt, code: str
    ) -> dict[str, Any]:
        """The claims of the id token that the provider gives for a code."""
        try:
            token = await asyncio.to_thread(
                self._session().fetch_token,
                metadata["token_endpoint"],
                grant_type="authorization_code",
                code=code,
                code_verifier=attempt.verifier,
                timeout=FETCHED_WITHIN.total_seconds(),
                allow_redirects=False,
            )
        except requests.RequestException as error:
            raise _unreachable(error) from None
        except (AuthlibBaseError, ValueError) as error:
            raise SignInFailed(str(error)) from None
        try:
            assert self._keys is not None
            found = jwt.decode_complete(
                token["id_token"],
                await self._keys.find(token["id_token"]),
                algorithms=SIGNATURES,
                issuer=self._settings.issuer,
                audience=self._settings.client_id,
                leeway=LEEWAY,
                options={"require": ["iss", "sub", "aud", "exp", "iat"]},
            )
            claims: dict[str, Any] = found["payload"]
            expected = {"nonce": attempt.nonce, "client_id": self._settings.client_id}
            CodeIDToken(claims, found["header"], params=expected).validate(
                leeway=int(LEEWAY.total_seconds())
            )
        except (KeyError, JoseError, *MALFORMED) as error:
            raise SignInFailed(f"{type(error).__name__}: {error}") from None
        return claims

    def _roles(self, claims: Mapping[str, Any]) -> list[Role]:
        named = claims.get(self._settings.roles_claim)
        names = [named] if isinstance(named, str) else named if isinstance(named, list) else []
        return [role for role in PEOPLE if role.value in names] or [Role.CLIENT, Role.FREELANCER]

    def _session(self) -> Any:
        secret = self._settings.client_secret
        return OAuth2Session(
            self._settings.client_id,
            secret or None,
            token_endpoint_auth_method="client_secret_basic" if secret else "none",
            scope=self._settings.scope,
            redirect_uri=self._redirect_uri,
            code_challenge_method="S256",
        )

    async def _metadata(self) -> dict[str, Any]:
        async with self._lock:
            if not self._found or time.monotonic() - self._fetched > KEPT_FOR.total_seconds():
                try:
                    self._keep(await asyncio.to_thread(self._published))
                except (requests.RequestException, KeyError, *MALFORMED) as error:
                    if not self._found:
                        raise _unreachable(error) from None
                    log.warning("oidc_metadata_not_fetched", why=type(error).__name__)
            return self._found

    def _published(self) -> dict[str, Any]:
        issuer = self._settings.issuer
        found = fetch_json(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
        endpoints = ("authorization_endpoint", "token_endpoint", "jwks_uri")
        if found["issuer"] != issuer or not all(is_safe(found[name]) for name in endpoints):
            raise ValueError("the metadata is another issuer's, or has an address without TLS")
        return dict(found)

    def _keep(self, found: dict[str, Any]) -> None:
        if found["jwks_uri"] != self._found.get("jwks_uri"):
            self._keys = Jwks(found["jwks_uri"])
        self._found, self._fetched = found, time.monotonic()


def _unreachable(error: Exception) -> Unreachable:
    log.warning("oidc_provider_unreachable", why=str(error))
    return Unreachable("PROVIDER_UNREACHABLE", "The sign-in page cannot be reached now.")
