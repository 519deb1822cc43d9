"""Recorded purchases replay in other surroundings: with the code of another release, with the
releases of libraries before and after the pinned ones, and on every Python of this machine."""

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.histories.replay import HISTORIES

ROOT = Path(__file__).parents[2]
SCRIPT = "tests/histories/replay.py"
LIBRARIES = ("pydantic", "holidays", "tzdata", "iso4217")
OLDEST_MINOR = 11


def replay(*path: Path, python: str | Path = sys.executable, first: str = "sys") -> None:
    """Replay every recorded history in a process with this Python and this path for modules, which
    imports the module `first` before all others."""
    run = subprocess.run(
        [python, "-c", f"import {first}, runpy; runpy.run_path({SCRIPT!r}, run_name='__main__')"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, [*path, ROOT]))},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert f"{len(HISTORIES)} histories replay" in run.stdout, run.stderr[-3000:]


def install(folder: Path, requirement: str) -> bool:
    """Install a library under `folder`; False if it has no such release."""
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    run = subprocess.run(
        [*pip, "--upgrade", "--target", str(folder), requirement], capture_output=True, text=True
    )
    missing = "No matching distribution" in run.stderr
    assert missing or run.returncode == 0, run.stderr
    return not missing


def test_other_defaults_and_limits_change_no_recorded_purchase() -> None:
    """R-01: what was accepted stays, even if a new purchase could not have it: windows, names,
    currency and its decimals."""
    replay(ROOT / "tests", first="other_release")


@pytest.mark.releases
@pytest.mark.parametrize("other", ["<", ">"], ids=["previous", "next"])
def test_other_releases_of_libraries_change_no_recorded_purchase(
    other: str, tmp_path: Path
) -> None:
    """Of the libraries that parse, and that know zones, holidays or currencies."""
    found = [name for name in LIBRARIES if install(tmp_path, f"{name}{other}{version(name)}")]
    if not found:
        pytest.skip("the pinned releases are the newest")
    replay(tmp_path)


def pythons() -> dict[str, Path]:
    """The other Pythons of this machine that Recourse supports, by version."""
    folders = [Path(each) for each in os.environ["PATH"].split(os.pathsep)]
    folders += Path.home().glob(".pyenv/versions/*/bin")
    found = {}
    for path in (each for folder in folders for each in folder.glob("python3.*[0-9]")):
        name = path.name.removeprefix("python")
        minor = int(name.partition(".")[2])
        if minor >= OLDEST_MINOR and (3, minor) != sys.version_info[:2] and works(path):
            found[name] = path
    return found


def works(python: Path) -> bool:
    """Whether it runs; a version manager may have a command for a Python that is not chosen."""
    return subprocess.run([python, "--version"], capture_output=True).returncode == 0


@pytest.fixture(scope="module", params=sorted(PYTHONS := pythons()))
def other_python(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another Python, with the pinned releases of libraries."""
    folder = tmp_path_factory.mktemp("python")
    subprocess.run([PYTHONS[request.param], "-m", "venv", folder], check=True)
    # A replay imports few of the modules: compiling all takes longer than installing them.
    pip = (folder / "bin" / "pip", "install", "--quiet", "--no-compile", "--require-hashes")
    subprocess.run([*pip, "-r", ROOT / "requirements.lock"], check=True, capture_output=True)
    return folder / "bin" / "python"


@pytest.mark.releases
def test_another_python_changes_no_recorded_purchase(other_python: Path) -> None:
    """Python has tables of its own, for example of Unicode."""
    replay(python=other_python)


@pytest.mark.releases
def test_another_python_plays_every_scenario_without_a_warning(
    other_python: Path, tmp_path: Path
) -> None:
    """Server, worker, ledger and mail, in development mode and with warnings as errors."""
    run = subprocess.run(
        [other_python, *("-X", "dev", "-W", "error", "-m", "starter", "demo", "--exit", "--json")],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    assert "Exception ignored" not in run.stderr, run.stderr[-3000:]
    answer = json.loads(run.stdout.splitlines()[-1])  # the server has written to stdout, too
    assert {played["as_expected"] for played in answer["purchases"]} == {True}
