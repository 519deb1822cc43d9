"""Reads the fields of submitted forms."""

from urllib.parse import parse_qsl

from starlette.requests import Request

from temporal.serving import body_of
from workflows.receiving.parsing import LARGEST_MESSAGE

MOST_FIELDS = 20


async def fields_of(request: Request) -> dict[str, str]:
    """The fields of a submitted form; none if they are too many, too large or not UTF-8. They can
    be asked for again."""
    if not hasattr(request.state, "fields"):
        request.state.fields = await _read(request)
    found: dict[str, str] = request.state.fields
    return dict(found)


async def _read(request: Request) -> dict[str, str]:
    body = await body_of(request, 3 * LARGEST_MESSAGE)  # a byte may be written as three
    try:
        return dict(
            parse_qsl((body or b"").decode(), keep_blank_values=True, max_num_fields=MOST_FIELDS)
        )
    except ValueError:
        return {}
