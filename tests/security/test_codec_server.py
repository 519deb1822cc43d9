"""The codec server: clear text for whoever shows a token, from the Web UI's own origin."""

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
from tests.listening import Listening
from tests.security.codec_process import TOKEN, codec_server
from tests.security.keys import HELLO, NEW, OLD
from workflows.receiving.encrypted import SETTING

UI = "https://temporal.example.com"


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[Listening]:
    """As people start it."""
    async with codec_server(NEW, UI) as found:
        yield found


async def asked(
    server: Listening, body: Any, path: str = "/decode", **headers: str
) -> requests.Response:
    """Its answer to somebody with a token."""
    given = {"Authorization": f"Bearer {TOKEN}", "Origin": UI, **headers}
    return await asyncio.to_thread(
        requests.post, f"{server.url}{path}", json=body, headers=given, timeout=10
    )


def as_json(*payloads: Any) -> dict[str, Any]:
    """As the Web UI sends them."""
    return MessageToDict(Payloads(payloads=payloads))


async def test_it_decodes_for_those_with_a_token_and_says_who_asked(server: Listening) -> None:
    """What cannot be decrypted, and what is in the clear, comes back as it was."""
    sealed = await Encryption(read_keys(NEW)).encode([HELLO])
    strange = await Encryption(read_keys(OLD)).encode([HELLO])
    answer = await asked(server, as_json(*sealed, *strange, HELLO), **{"X-Namespace": "default"})
    assert answer.json() == as_json(HELLO, *strange, HELLO)
    while not (told := [json.loads(line) for line in server.lines if "codec_asked" in line]):  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    assert (told[0]["who"], told[0]["payloads"], told[0]["namespace"]) == ("ines", 3, "default")
    assert "ana@example.com" not in str(server.lines)


async def test_what_is_typed_into_the_web_ui_is_encrypted(server: Listening) -> None:
    """`/encode`, for its forms."""
    answer = await asked(server, as_json(HELLO), "/encode")
    (payload,) = answer.json()["payloads"]
    assert payload["data"] != as_json(HELLO)["payloads"][0]["data"]
    assert (await asked(server, answer.json())).json() == as_json(HELLO)


@pytest.mark.parametrize(
    "header", ["", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer "]
)
async def test_nobody_else_sees_anything(server: Listening, header: str) -> None:
    """401, the same for every wrong token."""
    sealed = await Encryption(read_keys(NEW)).encode([HELLO])
    answer = await asked(server, as_json(*sealed), Authorization=header)
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert answer.json() == {"message": "Show a token that may see this."}


@pytest.mark.parametrize("body", [[], {"payloads": 3}, {"payloads": [{"secret": "x"}]}, "x"])
async def test_what_are_no_payloads_is_refused(server: Listening, body: Any) -> None:
    """400, and it goes on listening."""
    assert (await asked(server, body)).status_code == 400


@pytest.mark.parametrize(("origin", "allowed"), [(UI, UI), ("https://evil.example.com", None)])
async def test_only_pages_of_the_web_ui_may_ask_from_a_browser(
    server: Listening, origin: str, allowed: str | None
) -> None:
    """CORS: the preflight names the one origin."""
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
        ({SETTING: NEW}, WrongSetting, "says who may see"),
        ({SETTING: NEW, "RECOURSE_CODEC_TOKENS": "ines:short"}, WrongSetting, "16 characters"),
        ({SETTING: NEW, "RECOURSE_CODEC_TOKENS": TOKEN}, WrongSetting, "`name:token`"),
        ({"RECOURSE_CODEC_TOKENS": f"ines:{TOKEN}"}, WrongKeys, "has no key"),
    ],
    ids=["no token", "a short token", "a token of nobody", "no key"],
)
def test_it_does_not_start_without_keys_and_tokens(
    environment: dict[str, str], error: type[Exception], says: str
) -> None:
    """A sentence says what to set, and shows no secret."""
    with pytest.raises(error, match=says) as rejected:
        CodecSettings.from_environment(environment)
    assert TOKEN not in str(rejected.value)


def test_its_settings_show_no_secret() -> None:
    """Whoever prints them sees neither keys nor tokens."""
    settings = CodecSettings.from_environment(
        {SETTING: NEW, "RECOURSE_CODEC_TOKENS": f"ines:{TOKEN}"}
    )
    assert str(settings) == "CodecSettings(ui_origin='http://localhost:8233')"
