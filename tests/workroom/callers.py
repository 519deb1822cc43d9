"""Callers of the HTTP API, each with a token of their own."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jwt
import requests

SECRET = "a-secret-that-issuer-and-workroom-share-1"  # pragma: allowlist secret
AUDIENCE = "recourse"
ANA = ("client", "ana")
BO = ("freelancer", "bo")
EVE = ("client", "eve")
MEDIATOR = ("mediator", "mediator-1")
OPERATOR = ("operator", "operator-1")


def claims(role: Any, sub: Any, **changed: Any) -> dict[str, Any]:
    """The claims of a good token; None leaves a claim out."""
    until = int(time.time()) + 300
    good = {"sub": sub, "role": role, "aud": AUDIENCE, "exp": until, **changed}
    return {name: value for name, value in good.items() if value is not None}


def token(role: Any, sub: Any, **changed: Any) -> str:
    """A good token, with some claims changed."""
    return jwt.encode(claims(role, sub, **changed), SECRET, "HS256")


@dataclass(frozen=True)
class Caller:
    """Somebody who calls the API at `url` with a token."""

    url: str
    token: str | None

    async def get(self, path: str, **query: Any) -> requests.Response:
        """GET under /api/purchases."""
        return await self.send("GET", path, params=query)

    async def post(
        self, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> requests.Response:
        """POST a JSON document, or these very bytes, under /api/purchases."""
        given = {"data": body} if isinstance(body, bytes) else {"json": body}
        return await self.send("POST", path, headers=headers, **given)

    async def send(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, **given: Any
    ) -> requests.Response:
        """Any request."""
        own = {"Authorization": f"Bearer {self.token}"} if self.token is not None else {}
        return await asyncio.to_thread(
            requests.request,
            method,
            f"{self.url}/api/purchases{path}",
            headers={**own, **(headers or {})},
            timeout=30,
            allow_redirects=False,
            **given,
        )


def problem(answer: requests.Response) -> tuple[int, str]:
    """Status and code of a problem; fails if it is not written as one."""
    body = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    assert body["status"] == answer.status_code
    assert body["detail"]
    return answer.status_code, body["code"]


def pointers(answer: requests.Response) -> list[str]:
    """The fields that a 422 names."""
    assert problem(answer) == (422, "INVALID_INPUT")
    return [each["pointer"] for each in answer.json()["errors"]]
