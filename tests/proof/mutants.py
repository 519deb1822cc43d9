"""Mutation testing of the lifecycle and the ledger (`make mutants`): each small change to the code
must make a test fail.

A surviving mutant that behaves exactly as the code does is explained in `mutants.toml`, by its
function and its change; similar ones share an explanation. Exit status 1: a mutant survived without
an explanation, an explanation is outdated, or the score is too low. The score is the share of all
mutants that were killed; explained mutants count as not killed.
"""

import json
import os
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

from tests.proof.counts import COUNTS_FILE, counted, write

EXPLAINED = Path("tests/proof/mutants.toml")
RESULTS = Path("mutants")
MIN_SCORE = 0.98
KILLED = {1, 3}
"""Exit codes of pytest for a killed mutant: a test failed, or the code could not be imported."""

Change = tuple[str, str]
"""A function, and the lines that a mutant removes and adds."""


def mutmut(*arguments: str) -> str:
    """Run mutmut; its output."""
    command = [sys.executable, "-m", "mutmut", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def exit_codes() -> dict[str, int | None]:
    """Per mutant, the exit code of its test run."""
    found: dict[str, int | None] = {}
    for meta in sorted(RESULTS.rglob("*.meta")):
        found |= json.loads(meta.read_text())["exit_code_by_key"]
    return found


def change_of(mutant: str) -> Change:
    """A mutant's change. It does not depend on the other lines of the function, so an explanation
    stays valid when those change."""
    function = mutant.partition("__mutmut_")[0].replace("x_", "", 1).replace("xǁ", "")
    lines = mutmut("show", mutant).splitlines()
    changed = [
        f"{line[0]} {line[1:].strip()}"
        for line in lines
        if line[:1] in {"+", "-"} and line[:3] not in {"+++", "---"}
    ]
    return function.replace("ǁ", "."), "\n".join(changed)


def explained() -> dict[Change, str]:
    """The explained changes, each with the reason why it cannot be detected."""
    kept = tomllib.loads(EXPLAINED.read_text(encoding="utf-8"))
    return {
        (one["function"], change.strip()): one["why"]
        for one in kept["mutant"]
        for change in one["changes"]
    }


def toml_entry(change: Change) -> str:
    """A change as an entry for `mutants.toml`, without its reason."""
    function, lines = change
    return f'[[mutant]]\nfunction = "{function}"\nwhy = ""\nchanges = [\n"""\n{lines}\n""",\n]\n'


def main() -> int:
    """Run mutmut, check its results and save the counts; the exit status."""
    began = time.monotonic()
    shutil.rmtree(RESULTS, ignore_errors=True)  # or mutmut reuses results of an interrupted run
    children = os.environ.get("MUTANTS_AT_ONCE", str(os.cpu_count() or 1))
    subprocess.run([sys.executable, "-m", "mutmut", "run", "--max-children", children], check=False)
    found = exit_codes()
    alive = {change_of(name): name for name, code in found.items() if code not in KILLED}
    explanations = explained()
    unexplained = alive.keys() - explanations.keys()
    outdated = explanations.keys() - alive.keys()
    for change in sorted(unexplained):
        print(
            f"No test fails for {alive[change]}. Write a test that does; if its behaviour is the "
            f"same, add this to {EXPLAINED} with the reason:\n{toml_entry(change)}"
        )
    for change in sorted(outdated):
        print(f"This mutant is killed or gone. Delete it from {EXPLAINED}:\n{toml_entry(change)}")
    killed = sum(code in KILLED for code in found.values())
    score = killed / len(found) if found else 0.0
    print(f"{killed} of {len(found)} mutants killed: {score:.1%}; {len(alive)} alive")
    if unexplained or outdated or score < MIN_SCORE:
        return 1
    counts = {"killed": killed, "explained": len(found) - killed}
    proof: dict[str, Any] = counted("mutants of the lifecycle and the ledger", counts)
    write({proof["title"]: proof | {"seconds": time.monotonic() - began, "test": str(EXPLAINED)}})
    print(f"Written to {COUNTS_FILE}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
