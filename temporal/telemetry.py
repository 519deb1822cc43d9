"""What a worker reports: the SDK's log, in the format of our log, and metrics for Prometheus, the
SDK's own and our counters, under `/metrics` at `RECOURSE_METRICS=host:port`."""

import logging
import os
from collections.abc import Callable, Mapping
from datetime import timedelta

from temporalio.runtime import (
    LogForwardingConfig,
    LoggingConfig,
    PrometheusConfig,
    Runtime,
    TelemetryConfig,
    TelemetryFilter,
)

from activities.services import WrongSetting

METRICS = "RECOURSE_METRICS"

_TASK = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_DAYS = (1, 2, 3, 5, 7, 14, 30, 60, 90)
_LIFE = (3600.0, *(timedelta(days=days).total_seconds() for days in _DAYS))
BUCKETS = {
    "temporal_workflow_endtoend_latency": _LIFE,
    "temporal_activity_succeed_endtoend_latency": (*_TASK, *_LIFE),
    "temporal_activity_execution_latency": _TASK,
    "temporal_activity_schedule_to_start_latency": (*_TASK, *_LIFE[:2]),
    "temporal_workflow_task_execution_latency": _TASK,
    "temporal_workflow_task_schedule_to_start_latency": (*_TASK, *_LIFE[:2]),
}
"""Seconds. A task takes milliseconds, a refund days, a purchase weeks; the SDK's default buckets
end before one hour."""


LOST_TASK = "Extra buffered run should not have produced an activation"
"""What the SDK (temporalio 1.35.0) logs after it has dropped a workflow task: if the cache is full
and two tasks at once, such as two queries, are for a workflow that is not in it. The worker keeps
the next tasks of that workflow waiting behind the lost one, and never stops by itself."""

_log = logging.getLogger("temporalio.sdk_core")


class _LostTasks(logging.Handler):
    def __init__(self, on_lost_task: Callable[[], object]) -> None:
        super().__init__()
        self._on_lost_task = on_lost_task

    def emit(self, record: logging.LogRecord) -> None:
        if LOST_TASK in record.getMessage():
            self._on_lost_task()


def runtime(
    on_lost_task: Callable[[], object], environment: Mapping[str, str] = os.environ
) -> Runtime:
    """Return an SDK runtime that calls `on_lost_task`, in a thread of its own, after `LOST_TASK`,
    and serves its metrics if the setting is there.

    At most one per process: it keeps its address until the process ends. Raises WrongSetting.
    """
    _log.addHandler(_LostTasks(on_lost_task))
    logs = LoggingConfig(TelemetryFilter("WARN", "ERROR"), LogForwardingConfig(_log))
    address = environment.get(METRICS)
    if not address:
        return Runtime(telemetry=TelemetryConfig(logging=logs))
    prometheus = PrometheusConfig(
        bind_address=address, durations_as_seconds=True, histogram_bucket_overrides=BUCKETS
    )
    try:
        return Runtime(telemetry=TelemetryConfig(logging=logs, metrics=prometheus))
    except Exception as error:  # the SDK raises several kinds
        raise WrongSetting(
            f"{METRICS} is {address!r}, which cannot be used ({error}). Give an address of "
            "this machine and a free port, such as 0.0.0.0:9464."
        ) from None
