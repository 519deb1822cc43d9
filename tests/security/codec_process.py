"""Runs the codec server as a process."""

from contextlib import AbstractAsyncContextManager

from tests.http_processes import HttpProcess, http_process
from workflows.receiving.encrypted import SETTING

TOKEN = "a-token-that-nobody-guesses"


def codec_server(keys: str, ui_origin: str) -> AbstractAsyncContextManager[HttpProcess]:
    """`python -m starter codec`, once it accepts requests."""
    return http_process(
        "codec",
        **{
            SETTING: keys,
            "RECOURSE_CODEC_TOKENS": f"ines:{TOKEN},rui:another-token-of-somebody",
            "RECOURSE_UI_ORIGIN": ui_origin,
        },
    )
