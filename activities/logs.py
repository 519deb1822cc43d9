"""Structured logs: text on a terminal, JSON elsewhere.

Every line written in a workflow or activity has its workflow id, attempt and purchase id.
"""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog
from temporalio import activity, workflow

from activities.keys import WORKFLOW_ID_PREFIX
from activities.sanitize import lines, one_line

Event = MutableMapping[str, Any]

_PERSONAL = re.compile(r"[\w.+-]{1,64}@[\w-]+(\.[\w-]+)+|\bpm_\w+")
"""The bound is that of mail. Without one, a long text without spaces takes minutes."""
_REDACTED = "(redacted)"
_ADDED_BY_LIBRARIES = ("temporal_workflow", "temporal_activity", "temporal_log", "color_message")
STACK_TRACES = ("exception", "stack")
LONGEST_VALUE = 20_000
"""Characters of one value: a stack trace has some thousands."""


def configure_logs() -> None:
    """Send the logs of structlog and of the standard library to stderr in one format."""
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.ExtraAdder(),
        add_context,
    ]
    if sys.stderr.isatty():
        last: Any = structlog.dev.ConsoleRenderer()
    else:
        last = structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                redact,
                last,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    # The SDK would repeat these fields, as text, in every message.
    workflow.logger.workflow_info_on_message = False
    activity.logger.activity_info_on_message = False


def redact(_logger: Any, _method: str, event: Event) -> Event:
    """Remove mail addresses and payment methods, which messages of libraries may contain, and
    control characters. Long values are cut, and only stack traces have several lines."""
    for name, value in event.items():
        if _PERSONAL.search(text := str(value)):
            event[name] = text = _PERSONAL.sub(_REDACTED, text)
        if isinstance(event[name], str):
            is_trace = name in STACK_TRACES
            event[name] = (
                lines(text, LONGEST_VALUE, most=500) if is_trace else one_line(text, LONGEST_VALUE)
            )
    return event


def add_context(_logger: Any, _method: str, event: Event) -> Event:
    """Add purchase id, workflow id and attempt to a line written in a workflow or activity."""
    for added_by_library in _ADDED_BY_LIBRARIES:
        event.pop(added_by_library, None)
    if activity.in_activity():
        info = activity.info()
        event.setdefault("workflow_id", info.workflow_id)
        event.setdefault("activity", info.activity_type)
        event.setdefault("attempt", info.attempt)
    elif workflow.in_workflow():
        running = workflow.info()
        event.setdefault("workflow_id", running.workflow_id)
        event.setdefault("attempt", running.attempt)
    workflow_id = str(event.get("workflow_id") or "")
    if workflow_id.startswith(WORKFLOW_ID_PREFIX):
        event.setdefault("purchase_id", workflow_id.removeprefix(WORKFLOW_ID_PREFIX))
    return event
