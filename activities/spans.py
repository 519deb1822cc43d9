"""OpenTelemetry spans around calls to the database, the provider and the mail server.

Without a configured tracer they are no-ops.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import opentelemetry.trace
from opentelemetry.trace import Status, StatusCode

_tracer = opentelemetry.trace.get_tracer("recourse")


@contextmanager
def span(name: str, **attributes: str) -> Iterator[None]:
    """Open a span. It records the type of an error, not its message, which may quote an address."""
    with _tracer.start_as_current_span(
        name, attributes=attributes, record_exception=False, set_status_on_exception=False
    ) as opened:
        try:
            yield
        except Exception as error:
            opened.set_status(Status(StatusCode.ERROR, type(error).__name__))
            raise
