"""A worker that dies at any point of a money step: the next one ends with the same books."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from activities.requests import (
    Model,
)
from tests.money.environment import (
    LATER,
    NOW,
    PRICE,
    House,
    decision,
    opened,
    payment,
    refund,
    retried,
    settlement,
)


class Crash(Exception):
    """The worker is gone; what it had written is on disk."""


@dataclass
class Fuse:
    """Passes calls on to the real thing and burns at the n-th point: before or after a call."""

    points: int

    def step(self) -> None:
        self.points -= 1
        if self.points == 0:
            raise Crash

    def wrap(self, real: Any) -> Any:
        return Fused(real, self)


@dataclass(frozen=True)
class Fused:
    real: Any
    fuse: Fuse

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            self.fuse.step()
            answer = getattr(self.real, name)(*args, **named)
            self.fuse.step()
            return answer

        return call


Step = Callable[[House], object]


def step(name: str, request: Callable[[House], Model]) -> Step:
    return lambda house: retried(getattr(house.money, name), request(house))


def story_of_a_refund(method: str) -> list[Step]:
    return [
        step("take_payment", lambda _: payment(method)),
        step("post_decision", lambda _: decision(10000, 15000)),
        step("send_refund", partial(refund, amount=10000, method=method)),
        step("check_refund", partial(refund, amount=10000, method=method, at=LATER)),
        step("post_settlement", lambda _: settlement(10000)),
    ]


SCENARIOS: dict[str, list[Step]] = {
    "refund": story_of_a_refund("pm_sandbox_ok"),
    "refund on a flaky line": story_of_a_refund("pm_sandbox_flaky"),
    "charge whose answer is lost": [
        step("take_payment", lambda _: payment("pm_sandbox_charge_lost"))
    ],
    "declined": [step("take_payment", lambda _: payment("pm_sandbox_declined"))],
    "called off": [step("void_payment", lambda _: payment())],
    "charged, then called off": [
        lambda house: house.sandbox.charge("purchase-p-1/pay", PRICE, "pm_sandbox_ok", NOW),
        step("void_payment", lambda _: payment()),
        step("take_payment", lambda _: payment()),
    ],
}


def told(scenario: list[Step], folder: Path, fuse: Fuse) -> tuple[tuple[object, ...], int]:
    """The books at the end of a story, and how often the worker crashed and started anew."""
    crashes = 0
    left = list(scenario)
    while True:
        with opened(folder, fuse.wrap) as house:
            try:
                while left:
                    left[0](house)
                    del left[0]
                return house.books, crashes
            except Crash:
                crashes += 1


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_crash_before_or_after_any_call_leaves_the_same_books(
    name: str, empty_books: Path, tmp_path: Path
) -> None:
    def books(crash_at: int) -> tuple[tuple[object, ...], int]:
        folder = Path(shutil.copytree(empty_books, tmp_path / str(crash_at)))
        return told(SCENARIOS[name], folder, Fuse(crash_at))

    expected, _ = books(crash_at=0)
    crash_at, crashes = 0, 1
    while crashes:
        crash_at += 1
        ended, crashes = books(crash_at)
        assert ended == expected, f"crash at point {crash_at}"
    assert crash_at > 2, "no call was ever interrupted"
