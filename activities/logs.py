"""Structured logs: for people on a terminal, JSON elsewhere; purchase, workflow and attempt on
every line that belongs to one."""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog
from temporalio import activity, workflow

Event = MutableMapping[str, Any]

_PERSONAL = re.compile(r"[\w.+-]+@[\w-]+(\.[\w-]+)+|\bpm_\w+")
_REDACTED = "(redacted)"


def configure_logs(level: int = logging.INFO) -> None:
    """Send structlog and the standard library through one pipe to stderr."""
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.ExtraAdder(),
        where_it_belongs,
    ]
    if sys.stderr.isatty():
        last: Any = structlog.dev.ConsoleRenderer()
    else:
        last = structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            *shared[:2],
            where_it_belongs,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
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
                redacted,
                last,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    # The SDK would write the same again, as text, into every message.
    workflow.logger.workflow_info_on_message = False
    activity.logger.activity_info_on_message = False


def redacted(_logger: Any, _method: str, event: Event) -> Event:
    """Take out what no line should have in the first place: mail addresses and payment methods,
    wherever a library's own words repeat them."""
    for name, value in event.items():
        if _PERSONAL.search(text := str(value)):
            event[name] = _PERSONAL.sub(_REDACTED, text)
    return event


def where_it_belongs(_logger: Any, _method: str, event: Event) -> Event:
    """Add purchase id, workflow id and attempt where the line was written in one's name."""
    for told in ("temporal_workflow", "temporal_activity"):
        event.pop(told, None)
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
    if workflow_id.startswith("purchase-"):
        event.setdefault("purchase_id", workflow_id.removeprefix("purchase-"))
    return event
