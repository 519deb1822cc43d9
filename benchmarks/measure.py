"""Comparing two sides in turn, and saying how much they differ."""

import statistics
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Ratio:
    """One side by the other, in each of several rounds."""

    rounds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The one to speak of."""
        return statistics.median(self.rounds)

    def __str__(self) -> str:
        return f"{self.median:.2f} ({min(self.rounds):.2f} to {max(self.rounds):.2f})"


@dataclass(frozen=True)
class Finding:
    """A row of the table: what was measured, against what, how far it should reach, and what came
    out. `better` says whether more or less of the ratio is better."""

    measure: str
    against: str
    reach: float
    better: str
    ratio: Ratio
    ours: str
    theirs: str

    @property
    def reached(self) -> bool:
        """Whether it is as good as it should be."""
        return (
            self.ratio.median >= self.reach
            if self.better == "more"
            else self.ratio.median <= self.reach
        )

    def row(self) -> dict[str, Any]:
        """To be written down."""
        return asdict(self) | {"median": self.ratio.median, "reached": self.reached}


Sample = Callable[[], Awaitable[dict[str, float]]]
"""Measures one side once: figures by their names."""


async def in_turn(ours: Sample, theirs: Sample, rounds: int) -> dict[str, tuple[Any, ...]]:
    """Measure both so often, one after the other, each first in every second round; an unmeasured
    round comes before. Per figure: the ratio, and both sides' own figures."""
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
        name: (
            Ratio(tuple(mine[name] / other[name] for mine, other in pairs)),
            statistics.median(mine[name] for mine, _ in pairs),
            statistics.median(other[name] for _, other in pairs),
        )
        for name in pairs[0][0]
    }
