"""A worker that crashes before or after any call: the next one ends with the same records."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from activities.requests import (
    Model,
    MoveAccount,
    ProviderMoveKind,
    ProviderMovePosting,
)
from tests.money.environment import (
    LATER,
    NOW,
    PRICE,
    PURCHASE,
    Environment,
    decision,
    opened,
    payment,
    refund,
    retried,
    settlement,
)


class Crash(Exception):
    """The worker crashes; what it wrote is on disk."""


@dataclass
class CrashPoint:
    """Passes calls on and raises Crash at the n-th point: before or after a call."""

    points: int

    def step(self) -> None:
        self.points -= 1
        if self.points == 0:
            raise Crash

    def wrap(self, real: Any) -> Any:
        return Crashing(real, self)


@dataclass(frozen=True)
class Crashing:
    real: Any
    crash_point: CrashPoint

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            self.crash_point.step()
            answer = getattr(self.real, name)(*args, **named)
            self.crash_point.step()
            return answer

        return call


Step = Callable[[Environment], object]


def step(name: str, request: Callable[[Environment], Model]) -> Step:
    return lambda environment: retried(getattr(environment.money, name), request(environment))


def refund_scenario(method: str) -> list[Step]:
    return [
        step("take_payment", lambda _: payment(method)),
        step("post_decision", lambda _: decision(10000, 15000)),
        step("send_refund", partial(refund, amount=10000, method=method)),
        step("check_refund", partial(refund, amount=10000, method=method, at=LATER)),
        step("post_settlement", lambda _: settlement(10000)),
    ]


def moved(kind: ProviderMoveKind, account: MoveAccount, amount: int) -> ProviderMovePosting:
    return ProviderMovePosting(
        key=f"purchase-p-1/{kind}",
        purchase_id=PURCHASE,
        kind=kind,
        account=account,
        amount=amount,
        currency="USD",
        reference="dp_1",
        at=NOW,
    )


SCENARIOS: dict[str, list[Step]] = {
    "refund": refund_scenario("pm_sandbox_ok"),
    "refund with a flaky provider": refund_scenario("pm_sandbox_flaky"),
    "charge whose answer is lost": [
        step("take_payment", lambda _: payment("pm_sandbox_charge_lost"))
    ],
    "bank dispute, refund elsewhere, refund returned": [
        step("take_payment", lambda _: payment()),
        step("post_provider_move", lambda _: moved("bank_dispute_opened", "escrow", 20000)),
        step("post_provider_move", lambda _: moved("bank_dispute_lost", "escrow", 20000)),
        step("post_provider_move", lambda _: moved("refunded_elsewhere", "escrow", 1000)),
        step("post_decision", lambda _: decision(3000, 1000)),
        step("post_settlement", lambda _: settlement(3000)),
        step("post_provider_move", lambda _: moved("refund_returned", "in_transit", 3000)),
        step("post_provider_move", lambda _: moved("bank_dispute_loss", "platform_losses", 1000)),
    ],
    "declined": [step("take_payment", lambda _: payment("pm_sandbox_declined"))],
    "voided": [step("void_payment", lambda _: payment())],
    "charged, then voided": [
        lambda environment: environment.sandbox.charge(
            "purchase-p-1/pay", PRICE, "pm_sandbox_ok", NOW
        ),
        step("void_payment", lambda _: payment()),
        step("take_payment", lambda _: payment()),
    ],
}


def run_scenario(
    scenario: list[Step], folder: Path, crash_point: CrashPoint
) -> tuple[tuple[object, ...], int]:
    """Return the records at the end of a scenario, and how often the worker crashed."""
    crashes = 0
    remaining = list(scenario)
    while True:
        with opened(folder, crash_point.wrap) as environment:
            try:
                while remaining:
                    remaining[0](environment)
                    del remaining[0]
                return environment.records, crashes
            except Crash:
                crashes += 1


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_crash_before_or_after_any_call_leaves_the_same_records(
    name: str, empty_folder: Path, tmp_path: Path
) -> None:
    def records_after(crash_at: int) -> tuple[tuple[object, ...], int]:
        folder = Path(shutil.copytree(empty_folder, tmp_path / str(crash_at)))
        return run_scenario(SCENARIOS[name], folder, CrashPoint(crash_at))

    expected, _ = records_after(crash_at=0)
    crash_at, crashes = 0, 1
    while crashes:
        crash_at += 1
        ended, crashes = records_after(crash_at)
        assert ended == expected, f"crash at point {crash_at}"
    assert crash_at > 2, "no call was ever interrupted"
