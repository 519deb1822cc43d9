"""A time limit for async tests: a test that hangs fails alone and shows what it is waiting for."""

import asyncio
import functools
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

MARGIN = 30.0
"""Seconds between this limit and that of pytest-timeout, which ends the whole run without a
report."""

Test = Callable[..., Awaitable[None]]


def seconds_for(item: pytest.Item) -> float:
    """The time limit of a test in seconds."""
    own = item.get_closest_marker("timeout")
    limit: float = float(own.args[0] if own else item.config.getini("timeout"))
    return max(limit - MARGIN, limit / 2)


def with_time_limit(test: Test, seconds: float) -> Test:
    """The test with a time limit. When it is over, the test fails with the waiting tasks."""

    @functools.wraps(test)
    async def limited(**fixtures: Any) -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        waiting: list[str] = []

        def give_up() -> None:
            waiting.extend(pending_tasks(loop))
            task.cancel()

        timer = loop.call_later(seconds, give_up)
        try:
            await test(**fixtures)
        except BaseException as error:
            if waiting:
                late = [f"The test did not end in {seconds:.0f} s. Waiting tasks:", *waiting]
                raise AssertionError("\n".join(late)) from error
            raise
        finally:
            timer.cancel()

    return limited


def pending_tasks(loop: asyncio.AbstractEventLoop) -> Iterator[str]:
    """Each task of the loop with its call stack, from its coroutine to what it waits for."""
    for task in asyncio.all_tasks(loop):
        step: Any = task.get_coro()
        places = []
        while frame := getattr(step, "cr_frame", None):
            code = frame.f_code
            places.append(f"{code.co_name} ({code.co_filename}:{frame.f_lineno})")
            step = step.cr_await
        yield "\n  ".join([task.get_name(), *places])
