"""What was survived: one line each in the summary of the tests; `make kills` also writes it down,
for programs, in `var/proof/kills.json`."""

import json
import os
from pathlib import Path

import pytest

ALL = os.environ.get("RECOURSE_KILLS") == "all"
"""Whether everything is killed everywhere; else, a sample of it."""
WRITTEN = Path("var/proof/kills.json")


def write_kills(terminal: pytest.TerminalReporter) -> None:
    """Tell of every passed test that has a property `kills`: what was done, and how often at which
    kind of moment."""
    kills = []
    for report in terminal.getreports("passed"):
        for what, times in dict(report.user_properties).get("kills", {}).items():
            kills.append(
                {
                    "what": what,
                    "survived": sum(times.values()),
                    "times": dict(sorted(times.items())),
                    "seconds": round(report.duration),
                    "test": report.nodeid,
                }
            )
            terminal.write_line(f"survived {sum(times.values())} times: {what}")
            if ALL:
                for kind, number in sorted(times.items()):
                    terminal.write_line(f"{number:8} {kind.replace('_', ' ')}")
    if ALL and kills:
        WRITTEN.parent.mkdir(parents=True, exist_ok=True)
        WRITTEN.write_text(json.dumps(kills, indent=2) + "\n")
