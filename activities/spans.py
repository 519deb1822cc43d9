"""Spans of OpenTelemetry around what an activity does outside. Without a tracer they cost next to
nothing."""

from collections.abc import Iterator
from contextlib import contextmanager

import opentelemetry.trace
from opentelemetry.trace import Status, StatusCode

_tracer = opentelemetry.trace.get_tracer("recourse")


@contextmanager
def span(name: str, **attributes: str) -> Iterator[None]:
    """One span. Of an error it tells the kind, not the words: they may quote an address."""
    with _tracer.start_as_current_span(
        name, attributes=attributes, record_exception=False, set_status_on_exception=False
    ) as opened:
        try:
            yield
        except Exception as error:
            opened.set_status(Status(StatusCode.ERROR, type(error).__name__))
            raise
