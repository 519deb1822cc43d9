"""The plan of a day of operation, drawn from a seed: purchases, and what goes wrong meanwhile."""

import random
from dataclasses import dataclass
from enum import StrEnum

from demo.scenarios import AT_PROVIDER, SCENARIOS, Scenario

STORIES: dict[str, Scenario] = {each.name: each for each in (*SCENARIOS, *AT_PROVIDER)}
MINUTES = 24 * 60
PURCHASES_PER_INCIDENT = 30
"""Of each kind; each kind happens once at least."""


class Incident(StrEnum):
    """What happens to the surroundings of the purchases."""

    FAILOVER = "the database's primary is killed, its standby takes over"
    SWITCHOVER = "the database's primary and standby change roles"
    RESTART = "the database restarts"
    DEPLOY = "a new build of the worker is deployed"
    ROTATION = "a new encryption key is deployed"
    MAIL = "the mail server is down"
    PROVIDER = "the payment provider is down"


@dataclass(frozen=True)
class Entry:
    """What begins at a minute of the day: an incident, or a purchase of a scenario."""

    minute: int
    what: Incident | str
    purchase_id: str = ""

    def __str__(self) -> str:
        clock = f"{self.minute // 60:02}:{self.minute % 60:02}"
        return f"{clock} {self.purchase_id or 'incident'}: {self.what}"


def plan_of(seed: int, purchases: int) -> tuple[Entry, ...]:
    """The same seed and number give the same plan. All scenarios are equally frequent."""
    chance = random.Random(seed)
    drawn: list[str] = []
    while len(drawn) < purchases:
        drawn += chance.sample(list(STORIES), len(STORIES))
    times = max(1, purchases // PURCHASES_PER_INCIDENT)
    bought = [(name, f"day-{seed}-{number}") for number, name in enumerate(drawn[:purchases])]
    incidents = [(incident, "") for incident in Incident for _ in range(times)]
    entries = (Entry(chance.randrange(MINUTES), *each) for each in [*bought, *incidents])
    return tuple(sorted(entries, key=lambda entry: entry.minute))
