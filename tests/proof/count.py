"""What the proofs of a run counted: a line each in the summary of the tests, and for the page
`docs/reliability.md` in `var/proof/counts.json`.

A test counts by `record_property("proof", counted(...))`.
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
"""Whether workers forget a purchase after each of its tasks (tests/__init__.py)."""
ALL = os.environ.get("RECOURSE_KILLS") == "all"
"""Whether everything is killed everywhere; else, a sample of it."""
TIME_LIMIT = 3_600 if ALL else 300
"""Seconds that one of these tests may take on slow cores."""
SAMPLE = ("claim_accepted", "freelancer_cancels_too_late", "platform_cancels")
PLAYED = [scenario for scenario in SCENARIOS if ALL or scenario.name in SAMPLE]
"""What is played while something other than the worker dies."""
WRITTEN = Path("var/proof/counts.json")

Proof = dict[str, Any]


def counted(title: str, counts: Mapping[str, int], *, sample: bool = False) -> Proof:
    """What a test has proved, how often. A `sample` stands for a longer run of the same, and is not
    written down."""
    return {"title": title, "counts": dict(counts), "sample": sample}


def tell(terminal: pytest.TerminalReporter) -> None:
    """The counts of all tests that passed, those of one title together."""
    if UNCACHED:
        tell_uncached(terminal)
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
    if kept := {title: proof for title, proof in proofs.items() if not proof["sample"]}:
        write(kept)


def tell_uncached(terminal: pytest.TerminalReporter) -> None:
    """That all of them passed with workers that remember nothing, if they did."""
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
    """Beside what earlier runs counted."""
    earlier = json.loads(WRITTEN.read_text()) if WRITTEN.exists() else {}
    WRITTEN.parent.mkdir(parents=True, exist_ok=True)
    WRITTEN.write_text(json.dumps(earlier | proofs, indent=2, sort_keys=True) + "\n")
