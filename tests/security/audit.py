"""`make audit`: looks for secrets in files, and for yanked or vulnerable packages in the locks.

Exit status 0: none found. 1: some found, one line each. 3: known vulnerabilities were not checked,
because the package index in use serves no advisories; with `--unchecked` that is reported and
passes.
"""

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
LOCKS = ("requirements-dev.lock", "requirements-bench.lock")
"""The first also holds every package of production."""
YANKED = r"yanked version: '(\S+)' candidate \(version (\S+)"

PLUGIN = ("--plugin", str(Path(__file__).with_name("secret_patterns.py")))
HISTORIES = r"^tests/histories/"
"""Not scanned: every base64 payload looks like a secret. `test_replay` checks these files."""
NOT_SECRETS = (
    "[A-Z]+(_[A-Z]+)*",  # names of settings
    "password|smtps://….*|(change-me|example-only).*",  # words of manuals and examples
    "[Ss]ecret|hidden|p%40q|notices|ana-4711",  # from here on: values in tests
    "whsec_|whsec_other|sk_test_of_somebody_else",
    r"whsec_c2lnbmVkIGJ5IHJlY291cnNlISE\+/w==",  # pragma: allowlist secret
    "a109b7846e7e1f3b4e32a93c233b41787939de88e496b80bf0d5255de25591f4",  # a hash of a request
)
"""Values that look like secrets and are none. A line that ends in `pragma: allowlist secret` is
ignored, too."""


def secrets(folder: Path, *options: str) -> Iterator[str]:
    """Where the tracked files contain something that looks like a secret, and of which kind."""
    excluded = [part for word in NOT_SECRETS for part in ("--exclude-secrets", f"^({word})$")]
    command = ("detect_secrets", "scan", "--no-verify", *PLUGIN, "--exclude-files", HISTORIES)
    output = run(*command, *excluded, *options, folder=folder)
    if output.returncode != 0:
        raise OSError(output.stderr)
    for file, found in json.loads(output.stdout)["results"].items():
        for secret in found:
            yield f"{file}:{secret['line_number']}: {secret['type']}"


def yanked(folder: Path, lock: str) -> Iterator[str]:
    """Packages of a lock that were yanked from the index, or whose files do not match the
    hashes."""
    options = ("install", "--quiet", "--dry-run", "--ignore-installed", "--no-deps")
    output = run("pip", *options, "--require-hashes", "-r", lock, folder=folder)
    for name, version in re.findall(YANKED, output.stderr):
        yield f"{lock}: {name} {version} was yanked; run `make lock` for a newer one"
    if output.returncode != 0:
        yield f"{lock}: {last_line(output.stderr)}"


def vulnerabilities(folder: Path, lock: str, *options: str) -> tuple[list[str], list[str]]:
    """Known vulnerabilities of the packages of a lock, and the packages that were not checked."""
    fixed = ("--disable-pip", "--require-hashes", "--format", "json", "--progress-spinner", "off")
    output = run("pip_audit", *fixed, *options, "-r", lock, folder=folder)
    if not output.stdout.strip():
        return [], [last_line(output.stderr)]
    packages: list[dict[str, Any]] = json.loads(output.stdout)["dependencies"]
    faults = [
        f"{lock}: {package['name']} {package['version']} has {fault['id']}, fixed in "
        f"{', '.join(fault['fix_versions']) or 'no release yet'}"
        for package in packages
        for fault in package.get("vulns", ())
    ]
    return faults, [package["name"] for package in packages if "skip_reason" in package]


def last_line(text: str) -> str:
    """The last line of a command's output."""
    return " ".join(text.strip().rpartition("\n")[2].split())


def run(*command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a module of this Python."""
    arguments = [sys.executable, "-m", *command]
    return subprocess.run(arguments, cwd=folder, capture_output=True, text=True, check=False)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Look for secrets and vulnerable packages.")
    parser.add_argument(
        "--unchecked", action="store_true", help="pass if the index serves no advisories"
    )
    may_pass = parser.parse_args().unchecked
    found, unchecked = list(secrets(ROOT)), []
    for lock in LOCKS:
        found += yanked(ROOT, lock)
        faults, skipped = vulnerabilities(ROOT, lock)
        found += faults
        unchecked += skipped
    for line in found:
        print(line)
    if unchecked:
        count = len(set(unchecked))
        print(f"Known vulnerabilities: NOT CHECKED for {count} packages, such as {unchecked[0]}.")
    if found:
        return 1
    if unchecked and not may_pass:
        return 3
    print("No secret, no yanked package" + ("." if unchecked else ", no known vulnerability."))
    return 0


if __name__ == "__main__":
    sys.exit(main())
