"""Checks bearer tokens: JWTs with the claims `sub`, `role`, `aud` and `exp`.

The setting fixes the kind of key, and the kind of key fixes the algorithms: a shared secret takes
HS256 only, a JWKS takes signatures only. So no token chooses `none`, and no public key is ever used
as a secret.
"""

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Protocol
from urllib.parse import urlsplit

import jwt
import requests
import structlog
from pydantic import ValidationError

from temporal.errors import Unreachable
from workflows.messages import Sender

SIGNATURES = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"),
)
FRESH_FOR = timedelta(minutes=10)
"""How long keys are used before they are fetched again: so long a withdrawn key still counts."""
KEPT_FOR = timedelta(hours=1)
"""How long keys are used while they cannot be fetched."""
FETCHED_AGAIN_AFTER = timedelta(seconds=30)
"""The shortest time between two fetches: tokens that name unknown keys cause no more."""
FETCHED_WITHIN = timedelta(seconds=5)
LONGEST_TOKEN = 8_192
LARGEST_DOCUMENT = 1_000_000
LOOPBACK = ("localhost", "127.0.0.1", "::1")
LEEWAY = timedelta(seconds=10)
"""By how much the clock of the tokens' issuer may differ from ours."""

MALFORMED = (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError)
"""What reading a key set, a header or claims raises if they are JSON, but not what they should
be."""

log = structlog.get_logger()


class Unauthorized(Exception):
    """There is no valid credential. The message says what is wrong with it."""


class Keys(Protocol):
    """The keys that tokens may be signed with."""

    @property
    def algorithms(self) -> Sequence[str]:
        """The algorithms that a token may name."""

    async def find(self, token: str) -> Any:
        """The key for a token. Raises PyJWTError for an unknown key, Unreachable."""


@dataclass(frozen=True)
class SharedSecret:
    """One secret that issuer and workroom share."""

    secret: str = field(repr=False)
    algorithms: Sequence[str] = ("HS256",)

    async def find(self, token: str) -> str:
        """The secret."""
        return self.secret


class Jwks:
    """The public keys that an issuer publishes, fetched again as they age."""

    algorithms: Sequence[str] = SIGNATURES

    def __init__(self, url: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._url, self._clock = url, clock
        self._keys: dict[str | None, jwt.PyJWK] = {}
        self._fetched = self._tried = -KEPT_FOR.total_seconds()
        self._lock = asyncio.Lock()

    async def find(self, token: str) -> jwt.PyJWK:
        """The key that the token names; the only key if it names none."""
        name = jwt.get_unverified_header(token).get("kid")
        async with self._lock:
            now = self._clock()
            unknown = not self._keys or (name is not None and name not in self._keys)
            stale = now - self._fetched > FRESH_FOR.total_seconds()
            if (unknown or stale) and now - self._tried > FETCHED_AGAIN_AFTER.total_seconds():
                await self._fetch(now)
            if now - self._fetched > KEPT_FOR.total_seconds() or not self._keys:
                raise Unreachable("KEYS_UNREACHABLE", "The keys of tokens cannot be fetched now.")
        if name is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        if name not in self._keys:
            raise jwt.InvalidKeyError("the key is unknown")
        return self._keys[name]

    async def _fetch(self, now: float) -> None:
        self._tried = now
        try:
            async with asyncio.timeout(2 * FETCHED_WITHIN.total_seconds()):
                found = await asyncio.to_thread(_published, self._url)
        except (requests.RequestException, TimeoutError, *MALFORMED) as error:
            log.warning("jwks_not_fetched", why=type(error).__name__)
            return
        self._keys, self._fetched = found, now


def _published(url: str) -> dict[str | None, jwt.PyJWK]:
    """Fetch the key set, without the keys that are secrets. Raises an error of requests or jwt."""
    found = jwt.PyJWKSet.from_dict(fetch_json(url))
    return {key.key_id: key for key in found.keys if key.key_type != "oct"}


def fetch_json(url: str) -> Any:
    """The JSON document at an address; redirects are not followed. Raises an error of requests, or
    ValueError."""
    with requests.get(
        url, timeout=FETCHED_WITHIN.total_seconds(), allow_redirects=False, stream=True
    ) as answer:
        answer.raise_for_status()
        return json.loads(answer.raw.read(LARGEST_DOCUMENT, decode_content=True))


def is_safe(url: str) -> bool:
    """Whether what is fetched there cannot be changed on its way: over TLS, or on this machine."""
    parts = urlsplit(url)
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)


@dataclass(frozen=True)
class Tokens:
    """Reads who sends a request from its `Authorization` header."""

    keys: Keys
    audience: str

    async def sender(self, header: str) -> Sender:
        """The sender that the token names. Raises Unauthorized, Unreachable."""
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise Unauthorized("Send a token: Authorization: Bearer ….")
        claims = await self._claims(token.strip())
        try:
            return Sender.model_validate({"role": claims["role"], "id": claims["sub"]})
        except ValidationError:
            raise Unauthorized(
                "The token's `sub` is not an id, or its `role` is unknown."
            ) from None

    async def _claims(self, token: str) -> dict[str, Any]:
        if len(token) > LONGEST_TOKEN:
            raise Unauthorized("The token is too long.")
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                await self.keys.find(token),
                algorithms=self.keys.algorithms,
                audience=self.audience,
                leeway=LEEWAY,
                options={
                    "require": ["exp", "aud", "sub", "role"],
                    "enforce_minimum_key_length": True,
                },
            )
        except jwt.ExpiredSignatureError:
            raise Unauthorized("The token has expired.") from None
        except jwt.MissingRequiredClaimError as error:
            raise Unauthorized(f"The token has no claim `{error.claim}`.") from None
        except jwt.InvalidAudienceError:
            raise Unauthorized("The token is for another audience.") from None
        except MALFORMED:
            raise Unauthorized("The token is not valid.") from None
        return claims
