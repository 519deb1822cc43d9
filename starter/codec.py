"""`codec`: decrypts payloads for the Web UI and the `temporal` command line.

The browser or command line calls it, not the server, so the server never has a key. Each person has
their own bearer token, and each request is one log line with that person's name.
"""

import hmac
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field

import structlog
from google.protobuf.json_format import MessageToDict, ParseDict, ParseError
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from temporalio.api.common.v1 import Payloads

from activities.services import WrongSetting
from temporal.codec import Encryption, read_keys
from temporal.serving import LISTENS, body_of, listen
from workflows.receiving.encrypted import SETTING

LARGEST_BODY = 20_000_000
"""Bytes. The Web UI asks for a page of events at a time; each may have two megabytes."""
SHORTEST_TOKEN = 16

log = structlog.get_logger()


@dataclass(frozen=True)
class CodecSettings:
    """Who may decrypt, and from which origin. `RECOURSE_CODEC_TOKENS`: `name:token`,…;
    `RECOURSE_UI_ORIGIN`: where the Web UI is, such as `https://temporal.example.com`."""

    keys: Mapping[str, bytes] = field(repr=False)
    tokens: Mapping[str, str] = field(repr=False)
    ui_origin: str

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "CodecSettings":
        """Raises WrongSetting or WrongKeys."""
        tokens = {}
        for item in filter(None, environment.get("RECOURSE_CODEC_TOKENS", "").split(",")):
            name, _, token = item.strip().partition(":")
            if not name or len(token) < SHORTEST_TOKEN:
                raise WrongSetting(
                    "RECOURSE_CODEC_TOKENS must be `name:token`, separated by commas, each token "
                    f"of {SHORTEST_TOKEN} characters or more."
                )
            tokens[name] = token
        if not tokens:
            raise WrongSetting("RECOURSE_CODEC_TOKENS is not set; give `name:token` for each user.")
        return cls(
            read_keys(environment.get(SETTING, "")),
            tokens,
            environment.get("RECOURSE_UI_ORIGIN", "http://localhost:8233"),
        )

    def who(self, header: str) -> str | None:
        """Return the name of the token's owner."""
        scheme, _, given = header.partition(" ")
        found = None
        for name, token in self.tokens.items():  # no early exit: constant time
            if hmac.compare_digest(given.encode(), token.encode()):
                found = name
        return found if scheme.lower() == "bearer" else None


async def serve(host: str, port: int) -> None:
    """Listen until stopped. Raises WrongSetting or WrongKeys."""
    settings = CodecSettings.from_environment()
    await listen(codec_server(settings), host, port, "codec_listening")


def codec_server(settings: CodecSettings) -> Starlette:
    """The ASGI application: `POST /decode` and, for values typed into the Web UI's forms,
    `POST /encode`. 401 without a token, 400 for an invalid body, 413 for one that is too large."""
    encryption = Encryption(settings.keys)

    async def convert(request: Request) -> JSONResponse:
        who = settings.who(request.headers.get("authorization", ""))
        if who is None:
            log.warning("codec_unauthorized", path=request.url.path)
            return JSONResponse(
                {"message": "Send a valid bearer token."}, 401, {"WWW-Authenticate": "Bearer"}
            )
        body = await body_of(request, LARGEST_BODY)
        if body is None:
            return JSONResponse({"message": "The request body is too large."}, 413)
        asked = _payloads(body)
        if asked is None:
            return JSONResponse({"message": "The request body is not payloads in JSON."}, 400)
        decodes = request.url.path.endswith("/decode")
        work = encryption.decode if decodes else encryption.encode
        answer = Payloads(payloads=await work(asked.payloads))
        log.info(
            "codec_used",
            who=who,
            what="decode" if decodes else "encode",
            payloads=len(asked.payloads),
            namespace=request.headers.get("x-namespace", "")[:64],
        )
        return JSONResponse(MessageToDict(answer))

    cors = Middleware(
        CORSMiddleware,
        allow_origins=[settings.ui_origin],
        allow_methods=["POST"],
        allow_headers=["authorization", "content-type", "x-namespace"],
        allow_credentials=True,
    )
    return Starlette(
        routes=[
            Route("/decode", convert, methods=["POST"]),
            Route("/encode", convert, methods=["POST"]),
            LISTENS,
        ],
        middleware=[cors],
    )


def _payloads(body: bytes) -> Payloads | None:
    """Return the payloads in a request; None if its body is invalid."""
    try:
        given = json.loads(body)
        return ParseDict(given, Payloads()) if isinstance(given, dict) else None
    except (ParseError, ValueError, RecursionError):
        return None
