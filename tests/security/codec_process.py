"""The codec server as people start it."""

from contextlib import AbstractAsyncContextManager

from tests.listening import Listening, listening
from workflows.receiving.encrypted import SETTING

TOKEN = "a-token-that-nobody-guesses"


def codec_server(keys: str, ui_origin: str) -> AbstractAsyncContextManager[Listening]:
    """`python -m starter codec`, listening."""
    return listening(
        "codec",
        **{
            SETTING: keys,
            "RECOURSE_CODEC_TOKENS": f"ines:{TOKEN},rui:another-token-of-somebody",
            "RECOURSE_UI_ORIGIN": ui_origin,
        },
    )
