"""The tests are tested: `make mutants` changes the lifecycle and the ledger in small ways, one at a
time, and each change has to fail a test.

A mutant that survives is explained in `mutants.toml`, because nobody could tell it from the code:
by its function and its change; what is alike has one explanation. Fails for one that survives
unexplained, for an explanation that is no longer needed, and below the score. The score is the part
of all mutants that were killed; those that are explained count as not killed.
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

from tests.proof.count import WRITTEN, counted, write

EXPLAINED = Path("tests/proof/mutants.toml")
RESULTS = Path("mutants")
SCORE = 0.95
KILLED = {1, 3}
"""What pytest ends with: a test failed, or the code could not even be read."""

Change = tuple[str, str]
"""The function, and the lines taken out and put in."""


def mutmut(*arguments: str) -> str:
    """What the tool prints."""
    command = [sys.executable, "-m", "mutmut", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def verdicts() -> dict[str, int | None]:
    """The mutants, and how the tests ended with each."""
    found: dict[str, int | None] = {}
    for meta in sorted(RESULTS.rglob("*.meta")):
        found |= json.loads(meta.read_text())["exit_code_by_key"]
    return found


def change_of(mutant: str) -> Change:
    """Stays the same when other lines of the function change."""
    function = mutant.partition("__mutmut_")[0].replace("x_", "", 1).replace("xǁ", "")
    lines = mutmut("show", mutant).splitlines()
    changed = [
        f"{line[0]} {line[1:].strip()}"
        for line in lines
        if line[:1] in {"+", "-"} and line[:3] not in {"+++", "---"}
    ]
    return function.replace("ǁ", "."), "\n".join(changed)


def explained() -> dict[Change, str]:
    """Why each of them cannot be told from the code."""
    kept = tomllib.loads(EXPLAINED.read_text(encoding="utf-8"))
    return {
        (one["function"], change.strip()): one["why"]
        for one in kept["mutant"]
        for change in one["changes"]
    }


def told(change: Change) -> str:
    """As an entry of the file."""
    function, lines = change
    return f'[[mutant]]\nfunction = "{function}"\nwhy = ""\nchanges = [\n"""\n{lines}\n""",\n]\n'


def main() -> int:
    """Run the tool, judge what it found, and write the counts down."""
    began = time.monotonic()
    shutil.rmtree(RESULTS, ignore_errors=True)  # a run that was cut off would be believed
    children = os.environ.get("MUTANTS_AT_ONCE", str(os.cpu_count() or 1))
    subprocess.run([sys.executable, "-m", "mutmut", "run", "--max-children", children], check=False)
    found = verdicts()
    alive = {change_of(name): name for name, code in found.items() if code not in KILLED}
    reasons = explained()
    unexplained = alive.keys() - reasons.keys()
    needless = reasons.keys() - alive.keys()
    for change in sorted(unexplained):
        print(f"Nobody noticed {alive[change]}:\n{told(change)}")
    for change in sorted(needless):
        print(f"Explained, but noticed or gone:\n{told(change)}")
    killed = sum(code in KILLED for code in found.values())
    score = killed / len(found) if found else 0.0
    print(f"{killed} of {len(found)} mutants killed: {score:.1%}; {len(alive)} alive")
    if unexplained or needless or score < SCORE:
        return 1
    counts = {"killed": killed, "explained": len(found) - killed}
    proof: dict[str, Any] = counted("mutants of the lifecycle and the ledger", counts)
    write({proof["title"]: proof | {"seconds": time.monotonic() - began, "test": str(EXPLAINED)}})
    print(f"Written to {WRITTEN}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
