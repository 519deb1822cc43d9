"""A test that waits for ever says for what it waits, and fails alone."""

import asyncio
import functools
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

SPARE = 30.0
"""Seconds before the limit at which pytest-timeout ends the whole run, and tells nothing of it."""

Test = Callable[..., Awaitable[None]]


def seconds_for(item: pytest.Item) -> float:
    """How long a test may take before it is given up."""
    own = item.get_closest_marker("timeout")
    limit: float = float(own.args[0] if own else item.config.getini("timeout"))
    return max(limit - SPARE, limit / 2)


def in_time(test: Test, seconds: float) -> Test:
    """The same test, given up after so long."""

    @functools.wraps(test)
    async def limited(**fixtures: Any) -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        waiting: list[str] = []

        def give_up() -> None:
            waiting.extend(waits(loop))
            task.cancel()

        timer = loop.call_later(seconds, give_up)
        try:
            await test(**fixtures)
        except BaseException as error:
            if waiting:
                late = [f"still waiting after {seconds:.0f} s:", *waiting]
                raise AssertionError("\n".join(late)) from error
            raise
        finally:
            timer.cancel()

    return limited


def waits(loop: asyncio.AbstractEventLoop) -> Iterator[str]:
    """Where each task of the loop stands, from its beginning to what it waits for."""
    for task in asyncio.all_tasks(loop):
        step: Any = task.get_coro()
        places = []
        while frame := getattr(step, "cr_frame", None):
            code = frame.f_code
            places.append(f"{code.co_name} ({code.co_filename}:{frame.f_lineno})")
            step = step.cr_await
        yield "\n  ".join([task.get_name(), *places])
