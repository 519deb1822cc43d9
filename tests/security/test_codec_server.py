"""The codec server decrypts for requests with a valid token and the Web UI's origin only."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import requests
from google.protobuf.json_format import MessageToDict
from temporalio.api.common.v1 import Payloads

from activities.services import WrongSetting
from starter.codec import CodecSettings
from temporal.codec import Encryption, WrongKeys, read_keys
from tests.http_processes import HttpProcess
from tests.security.codec_process import TOKEN, codec_server
from tests.security.keys import HELLO, NEW, OLD
from workflows.receiving.encrypted import SETTING

UI = "https://temporal.example.com"


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[HttpProcess]:
    """A running codec server."""
    async with codec_server(NEW, UI) as found:
        yield found


async def asked(
    server: HttpProcess, body: Any, path: str = "/decode", **headers: str
) -> requests.Response:
    """The server's response to a request with a valid token."""
    given = {"Authorization": f"Bearer {TOKEN}", "Origin": UI, **headers}
    return await asyncio.to_thread(
        requests.post, f"{server.url}{path}", json=body, headers=given, timeout=10
    )


def as_json(*payloads: Any) -> dict[str, Any]:
    """Payloads as the Web UI sends them."""
    return MessageToDict(Payloads(payloads=payloads))


async def test_the_codec_server_decodes_for_a_valid_token_and_logs_who_asked(
    server: HttpProcess,
) -> None:
    """A payload without a known key, and an unencrypted one, are returned unchanged."""
    sealed = await Encryption(read_keys(NEW)).encode([HELLO])
    strange = await Encryption(read_keys(OLD)).encode([HELLO])
    answer = await asked(server, as_json(*sealed, *strange, HELLO), **{"X-Namespace": "default"})
    assert answer.json() == as_json(HELLO, *strange, HELLO)
    while not (output := [json.loads(line) for line in server.lines if "codec_used" in line]):  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    assert (output[0]["who"], output[0]["payloads"], output[0]["namespace"]) == (
        "ines",
        3,
        "default",
    )
    assert "ana@example.com" not in str(server.lines)


async def test_the_codec_server_encrypts_what_is_typed_into_the_web_ui(server: HttpProcess) -> None:
    """`/encode` encrypts what support staff type into the Web UI's forms."""
    answer = await asked(server, as_json(HELLO), "/encode")
    (payload,) = answer.json()["payloads"]
    assert payload["data"] != as_json(HELLO)["payloads"][0]["data"]
    assert (await asked(server, answer.json())).json() == as_json(HELLO)


@pytest.mark.parametrize(
    "header", ["", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer "]
)
async def test_the_codec_server_rejects_every_wrong_token(server: HttpProcess, header: str) -> None:
    """The response is 401, the same for every wrong token."""
    sealed = await Encryption(read_keys(NEW)).encode([HELLO])
    answer = await asked(server, as_json(*sealed), Authorization=header)
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert answer.json() == {"message": "Send a valid bearer token."}


@pytest.mark.parametrize("body", [[], {"payloads": 3}, {"payloads": [{"secret": "x"}]}, "x"])
async def test_the_codec_server_rejects_a_body_that_is_not_payloads(
    server: HttpProcess, body: Any
) -> None:
    """The response is 400, and the server goes on."""
    assert (await asked(server, body)).status_code == 400


@pytest.mark.parametrize(("origin", "allowed"), [(UI, UI), ("https://evil.example.com", None)])
async def test_only_pages_of_the_web_ui_may_ask_from_a_browser(
    server: HttpProcess, origin: str, allowed: str | None
) -> None:
    """The CORS preflight allows the Web UI's origin only."""
    preflight = await asyncio.to_thread(
        requests.options,
        f"{server.url}/decode",
        headers={
            "Origin": origin,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type,x-namespace",
        },
        timeout=10,
    )
    assert preflight.headers.get("Access-Control-Allow-Origin") == allowed


@pytest.mark.parametrize(
    ("environment", "error", "says"),
    [
        ({SETTING: NEW}, WrongSetting, "is not set"),
        ({SETTING: NEW, "RECOURSE_CODEC_TOKENS": "ines:short"}, WrongSetting, "16 characters"),
        ({SETTING: NEW, "RECOURSE_CODEC_TOKENS": TOKEN}, WrongSetting, "`name:token`"),
        ({"RECOURSE_CODEC_TOKENS": f"ines:{TOKEN}"}, WrongKeys, "has no key"),
    ],
    ids=["no token", "a short token", "a token without a name", "no key"],
)
def test_the_codec_server_does_not_start_without_keys_and_tokens(
    environment: dict[str, str], error: type[Exception], says: str
) -> None:
    """The error says what to set, and shows no secret."""
    with pytest.raises(error, match=says) as rejected:
        CodecSettings.from_environment(environment)
    assert TOKEN not in str(rejected.value)


def test_the_codec_servers_settings_show_no_secret() -> None:
    """Printing the settings shows neither keys nor tokens."""
    settings = CodecSettings.from_environment(
        {SETTING: NEW, "RECOURSE_CODEC_TOKENS": f"ines:{TOKEN}"}
    )
    assert str(settings) == "CodecSettings(ui_origin='http://localhost:8233')"
