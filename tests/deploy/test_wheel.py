"""The package: what is in it, and that it runs without the tree it was built from."""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.deploy import ROOT

PARTS = ("activities", "starter", "temporal", "workflows", "workroom", "worker.py")


@dataclass(frozen=True)
class Installed:
    """A wheel, and the Python of an environment that has it beside what it depends on."""

    wheel: Path
    python: Path

    def runs(self, *arguments: str, cwd: Path, leaves: int = 0) -> str:
        """What `python -m …` prints before it exits with this status."""
        return self._run([str(self.python), "-m", *arguments], cwd, leaves)

    def recourse(self, *arguments: str, cwd: Path, leaves: int = 0) -> str:
        """What `recourse …` prints before it exits with this status."""
        return self._run([str(self.python.parent / "recourse"), *arguments], cwd, leaves)

    def prints(self, program: str, cwd: Path) -> str:
        """What a program prints, with its warnings."""
        ran = subprocess.run(
            [str(self.python), "-c", program],
            cwd=cwd,
            env={**os.environ, "PYTHONSAFEPATH": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=True,
        )
        return ran.stdout

    def _run(self, command: list[str], cwd: Path, leaves: int) -> str:
        ran = subprocess.run(
            command,
            cwd=cwd,
            env={**os.environ, "PYTHONSAFEPATH": "1", "TEMPORAL_ADDRESS": "127.0.0.1:1"},
            capture_output=True,
            text=True,
        )
        assert ran.returncode == leaves, ran.stderr
        return ran.stdout + ran.stderr if leaves else ran.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Built from a copy: a build leaves its own things in the tree, and finds them the next time.

    Nothing is fetched. The dependencies are those of the environment that runs the tests.
    """
    folder = tmp_path_factory.mktemp("wheel")
    tree = folder / "tree"
    tree.mkdir()
    for name in (*PARTS, "pyproject.toml", "README.md"):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, tree)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    offline = ["--no-index", "--no-deps"]
    subprocess.run(
        [*pip, "wheel", *offline, "--no-build-isolation", "--wheel-dir", folder, tree], check=True
    )
    (wheel,) = folder.glob("*.whl")
    home = folder / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", home], check=True)
    python = home / "bin" / "python"
    site = sysconfig.get_path("purelib", "venv", {"base": str(home), "platbase": str(home)})
    beside = [path for path in sys.path if path.endswith("site-packages")]
    (Path(site) / "dependencies.pth").write_text("\n".join(beside))
    subprocess.run([*pip, "--python", python, "install", *offline, wheel], check=True)
    return Installed(wheel, python)


def test_the_wheel_has_every_file_and_no_other(installed: Installed) -> None:
    """Templates and migrations, too."""
    files = {
        file.relative_to(ROOT).as_posix()
        for part in PARTS
        for file in ([ROOT / part] if (ROOT / part).is_file() else (ROOT / part).rglob("*"))
        if file.is_file() and "__pycache__" not in file.parts
    }
    packed = set(zipfile.ZipFile(installed.wheel).namelist())
    assert {name for name in packed if ".dist-info/" not in name} == files
    assert any(name.endswith(".jinja") for name in files)
    assert any(name.endswith(".mako") for name in files)
    assert any(name.endswith(".po") for name in files)
    assert any("/migrations/versions/" in name for name in files)


def test_it_runs_where_it_is_installed(installed: Installed, tmp_path: Path) -> None:
    """Worker and command line, from a folder that has neither."""
    assert "--dev" in installed.runs("worker", "--help", cwd=tmp_path)
    assert "purchase" in installed.runs("starter", "--help", cwd=tmp_path)
    assert '"title": "Cancel"' in installed.runs("starter", "schema", "cancel", cwd=tmp_path)


def test_it_speaks_german_where_it_is_installed(installed: Installed, tmp_path: Path) -> None:
    """The catalogues came along, and a text that they lack brings no warning."""
    program = (
        "from activities.notices.formats import reader; from activities.requests import Party; "
        "ana = reader(Party(id='a', name='A', email='a@example.com', locale='de_AT')); "
        "print(ana.text('The money'), ana.text('A text of an older release.'))"
    )
    assert installed.prints(program, cwd=tmp_path) == "Das Geld A text of an older release.\n"


def test_it_makes_its_ledger_where_it_is_started(installed: Installed, tmp_path: Path) -> None:
    """By the migrations that came along, in a folder of the place where it may write. `setup` makes
    them before it looks for a server, of which there is none."""
    installed.runs("starter", "setup", cwd=tmp_path, leaves=3)
    assert (tmp_path / "var" / "recourse.db").exists()


def test_the_command_recourse_works_from_anywhere(installed: Installed, tmp_path: Path) -> None:
    """It is the same command line as `python -m starter`."""
    assert '"title": "Cancel"' in installed.recourse("schema", "cancel", cwd=tmp_path)
    installed.recourse("ledger", "nobody", cwd=tmp_path, leaves=3)


def test_the_demo_is_not_in_the_wheel_and_says_so(installed: Installed, tmp_path: Path) -> None:
    """Exit status 2, with the command that runs it."""
    said = installed.recourse("demo", "--exit", cwd=tmp_path, leaves=2)
    assert "Run `make demo` in the repository" in said
