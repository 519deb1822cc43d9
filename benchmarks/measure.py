"""Comparing two sides in turn, and saying how much they differ."""

import statistics
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple


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


class Pair(NamedTuple):
    """One figure of both sides: the ratio, and the medians."""

    ratio: Ratio
    ours: float
    theirs: float

    @classmethod
    def of(cls, rounds: Sequence[tuple[float, float]]) -> "Pair":
        """Ours and theirs, round by round."""
        ours, theirs = (statistics.median(side) for side in zip(*rounds, strict=True))
        return cls(Ratio(tuple(mine / other for mine, other in rounds)), ours, theirs)

    def finding(
        self, measure: str, against: str, reach: float, unit: str, *, better: str = "less"
    ) -> Finding:
        """As a row of the table."""
        said = (f"{figure:.1f} {unit}" for figure in (self.ours, self.theirs))
        return Finding(measure, against, reach, better, self.ratio, *said)


Sample = Callable[[], Awaitable[dict[str, float]]]
"""Measures one side once: figures by their names."""


async def in_turn(
    ours: Sample, theirs: Sample, rounds: int, *, warm_up: bool = True
) -> dict[str, Pair]:
    """Measure both so often, one after the other, each first in every second round; an unmeasured
    round comes before. By the names of the figures."""
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
