"""`make audit`: does a file hold a secret, is a package withdrawn or known to be at fault?

Exit status 0: none. 1: found, one line each. 3: nobody could be asked about known faults, since the
package index in use keeps no advisories; `--unasked` says so and lets it pass.
"""

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HOUSE = Path(__file__).parents[2]
LOCKS = ("requirements-dev.lock", "requirements-bench.lock")
"""What we run is in the first, too."""
WITHDRAWN = r"yanked version: '(\S+)' candidate \(version (\S+)"

OURS = ("--plugin", str(Path(__file__).with_name("our_secrets.py")))
RECORDED = r"^tests/histories/"
"""Payloads in base64 look like nothing but secrets; another test looks into them."""
NO_SECRETS = (
    "[A-Z]+(_[A-Z]+)*",  # names of settings
    "password|smtps://….*|(change-me|example-only).*",  # words of manuals and examples
    "[Ss]ecret|hidden|p%40q|notices|ana-4711",  # the tests' words, from here on
    "whsec_|whsec_other|sk_test_of_somebody_else",
    r"whsec_c2lnbmVkIGJ5IHJlY291cnNlISE\+/w==",  # pragma: allowlist secret
    "a109b7846e7e1f3b4e32a93c233b41787939de88e496b80bf0d5255de25591f4",  # a hash of a request
)
"""What looks like a secret and is none. A line may also end in `pragma: allowlist secret`."""


def secrets(folder: Path, *options: str) -> Iterator[str]:
    """Where something that looks like a secret is, in the files that git knows."""
    left_out = [part for word in NO_SECRETS for part in ("--exclude-secrets", f"^({word})$")]
    command = ("detect_secrets", "scan", "--no-verify", *OURS, "--exclude-files", RECORDED)
    told = run(*command, *left_out, *options, folder=folder)
    if told.returncode != 0:
        raise OSError(told.stderr)
    for file, found in json.loads(told.stdout)["results"].items():
        for secret in found:
            yield f"{file}:{secret['line_number']}: {secret['type']}"


def withdrawn(folder: Path, lock: str) -> Iterator[str]:
    """Packages of a lock that their makers have taken back, or that are not what was locked."""
    asked = ("install", "--quiet", "--dry-run", "--ignore-installed", "--no-deps")
    told = run("pip", *asked, "--require-hashes", "-r", lock, folder=folder)
    for name, version in re.findall(WITHDRAWN, told.stderr):
        yield f"{lock}: {name} {version} has been withdrawn"
    if told.returncode != 0:
        yield f"{lock}: {last_line(told.stderr)}"


def at_fault(folder: Path, lock: str, *options: str) -> tuple[list[str], list[str]]:
    """Known faults in the packages of a lock, and the packages that nobody could be asked about."""
    asked = ("--disable-pip", "--require-hashes", "--format", "json", "--progress-spinner", "off")
    told = run("pip_audit", *asked, *options, "-r", lock, folder=folder)
    if not told.stdout.strip():
        return [], [last_line(told.stderr)]
    packages: list[dict[str, Any]] = json.loads(told.stdout)["dependencies"]
    faults = [
        f"{lock}: {package['name']} {package['version']} has {fault['id']}, mended in "
        f"{', '.join(fault['fix_versions']) or 'no release yet'}"
        for package in packages
        for fault in package.get("vulns", ())
    ]
    return faults, [package["name"] for package in packages if "skip_reason" in package]


def last_line(text: str) -> str:
    """What a command said in the end."""
    return " ".join(text.strip().rpartition("\n")[2].split())


def run(*command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A module of this Python."""
    whole = [sys.executable, "-m", *command]
    return subprocess.run(whole, cwd=folder, capture_output=True, text=True, check=False)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Looks for secrets and unfit packages.")
    parser.add_argument("--unasked", action="store_true", help="pass though nobody could be asked")
    may_pass = parser.parse_args().unasked
    found, unasked = list(secrets(HOUSE)), []
    for lock in LOCKS:
        found += withdrawn(HOUSE, lock)
        faults, skipped = at_fault(HOUSE, lock)
        found += faults
        unasked += skipped
    for line in found:
        print(line)
    if unasked:
        print(f"Known faults: NOT ASKED about {len(set(unasked))} packages, such as {unasked[0]}.")
    if found:
        return 1
    if unasked and not may_pass:
        return 3
    print("No secret, no package withdrawn" + ("." if unasked else ", none known to be at fault."))
    return 0


if __name__ == "__main__":
    sys.exit(main())
