"""Measures two sides in turn and compares them."""

import statistics
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple


@dataclass(frozen=True)
class Ratio:
    """Our figure divided by the other side's, for each round."""

    rounds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median of the rounds."""
        return statistics.median(self.rounds)

    def __str__(self) -> str:
        return f"{self.median:.2f} ({min(self.rounds):.2f} to {max(self.rounds):.2f})"


@dataclass(frozen=True)
class Finding:
    """A row of the table: what was measured, against what, the target and the result. `better` says
    whether "more" or "less" of the ratio is better."""

    measure: str
    against: str
    target: float
    better: str
    ratio: Ratio
    ours: str
    theirs: str

    @property
    def met(self) -> bool:
        """Whether the median meets the target."""
        return (
            self.ratio.median >= self.target
            if self.better == "more"
            else self.ratio.median <= self.target
        )

    def row(self) -> dict[str, Any]:
        """The finding as JSON."""
        return asdict(self) | {"median": self.ratio.median, "met": self.met}


class Pair(NamedTuple):
    """One figure of both sides: the ratio of each round, and the medians."""

    ratio: Ratio
    ours: float
    theirs: float

    @classmethod
    def of(cls, rounds: Sequence[tuple[float, float]]) -> "Pair":
        """The pair from our and the other side's figure of each round."""
        ours, theirs = (statistics.median(side) for side in zip(*rounds, strict=True))
        return cls(Ratio(tuple(mine / other for mine, other in rounds)), ours, theirs)

    def finding(
        self, measure: str, against: str, target: float, unit: str, *, better: str = "less"
    ) -> Finding:
        """The pair as a row of the table."""
        medians = (f"{figure:.1f} {unit}" for figure in (self.ours, self.theirs))
        return Finding(measure, against, target, better, self.ratio, *medians)


Sample = Callable[[], Awaitable[dict[str, float]]]
"""Measures one side once; returns its figures by name."""


async def in_turn(
    ours: Sample, theirs: Sample, rounds: int, *, warm_up: bool = True
) -> dict[str, Pair]:
    """Measure both sides once per round, each first in every second round; returns pairs by the
    name of the figure. With `warm_up`, an unmeasured round comes first."""
    if warm_up:
        await ours()
        await theirs()
    pairs: list[tuple[dict[str, float], dict[str, float]]] = []
    for number in range(rounds):
        if number % 2:
            other, mine = await theirs(), await ours()
        else:
            mine, other = await ours(), await theirs()
        pairs.append((mine, other))
    return {
        name: Pair.of([(mine[name], other[name]) for mine, other in pairs]) for name in pairs[0][0]
    }
