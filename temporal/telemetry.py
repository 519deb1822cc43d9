"""The metrics of a worker, for Prometheus: the SDK's own and our counters, under `/metrics` at
`RECOURSE_METRICS=host:port`."""

import os
from collections.abc import Mapping
from datetime import timedelta

from temporalio.runtime import PrometheusConfig, Runtime, TelemetryConfig

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


def runtime(environment: Mapping[str, str] = os.environ) -> Runtime | None:
    """Return an SDK runtime that serves its metrics; None if the setting is absent.

    At most one per process: it keeps its address until the process ends. Raises WrongSetting.
    """
    address = environment.get(METRICS)
    if not address:
        return None
    prometheus = PrometheusConfig(
        bind_address=address, durations_as_seconds=True, histogram_bucket_overrides=BUCKETS
    )
    try:
        return Runtime(telemetry=TelemetryConfig(metrics=prometheus))
    except Exception as error:  # the SDK raises several kinds
        raise WrongSetting(
            f"{METRICS} is {address!r}, which cannot be used ({error}). Give an address of "
            "this machine and a free port, such as 0.0.0.0:9464."
        ) from None
