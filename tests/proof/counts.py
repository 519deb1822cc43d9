"""Counts what the proofs of a test run have proved.

A test records its counts with `record_property("proof", counted(...))`. Each proof becomes a line
in the summary of the run and an entry in `var/proof/counts.json`, from which `docs/reliability.md`
is generated.
"""

import json
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from demo.scenarios import SCENARIOS

UNCACHED = bool(os.environ.get("RECOURSE_UNCACHED"))
"""Whether workers cache no workflows, so that every task replays (tests/__init__.py)."""
ALL = os.environ.get("RECOURSE_KILLS") == "all"
"""Whether every crash point of every scenario is tested (`make kills`), or a sample."""
TIME_LIMIT = 3_600 if ALL else 300
"""Seconds after which one of these tests fails; allows for slow cores."""
SAMPLE = ("claim_accepted", "freelancer_cancels_too_late", "platform_cancels")
SELECTED = [scenario for scenario in SCENARIOS if ALL or scenario.name in SAMPLE]
"""The scenarios that run while something other than their worker fails."""
COUNTS_FILE = Path(os.environ.get("RECOURSE_COUNTS", "var/proof/counts.json"))

Proof = dict[str, Any]


def counted(title: str, counts: Mapping[str, int], *, sample: bool = False) -> Proof:
    """The counts of one proof. A `sample` is a short form of a longer run: it is not written to
    the file, so that it does not replace the counts of the longer run."""
    return {"title": title, "counts": dict(counts), "sample": sample}


def report_counts(terminal: pytest.TerminalReporter) -> None:
    """Print and save the counts of all passed tests; tests with the same title are added up."""
    if UNCACHED:
        report_uncached(terminal)
        return
    proofs: dict[str, Proof] = {}
    for report in terminal.getreports("passed"):
        proof = dict(report.user_properties).get("proof")
        if proof:
            known = proofs.setdefault(proof["title"], {"counts": Counter(), "seconds": 0.0})
            known["counts"].update(proof["counts"])
            known["seconds"] += report.duration
            known |= {"sample": proof["sample"], "test": report.nodeid.partition("[")[0]}
    for title, proof in proofs.items():
        terminal.write_line(f"{title}: {_line(proof['counts'])}")
    if complete := {title: proof for title, proof in proofs.items() if not proof["sample"]}:
        write(complete)


def report_uncached(terminal: pytest.TerminalReporter) -> None:
    """Print and save the number of tests that passed without a cache, if none failed."""
    if terminal.stats.get("failed") or terminal.stats.get("error"):
        return
    passed = [report for report in terminal.getreports("passed") if report.when == "call"]
    title, counts = "workers without a cache", {"tests passed": len(passed)}
    terminal.write_line(f"{title}: {_line(Counter(counts))}")
    seconds = sum(report.duration for report in passed)
    write({title: counted(title, counts) | {"seconds": seconds, "test": "tests/__init__.py"}})


def _line(counts: Counter[str]) -> str:
    few = len(counts) <= 3
    return ", ".join(f"{n} {what}" for what, n in counts.items()) if few else f"{counts.total()}"


def write(proofs: dict[str, Proof]) -> None:
    """Add counts to the file. Counts of earlier runs with other titles stay."""
    earlier = json.loads(COUNTS_FILE.read_text()) if COUNTS_FILE.exists() else {}
    COUNTS_FILE.parent.mkdir(parents=True, exist_ok=True)
    COUNTS_FILE.write_text(json.dumps(earlier | proofs, indent=2, sort_keys=True) + "\n")
