"""What the files under deploy/ say, read once for all tests; and the tools that check them."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
IMAGE = ("recourse", "recourse:local")
"""What our image is called in the manifests and in the compose file."""


@cache
def compose() -> dict[str, Any]:
    """The services of the compose file, by name."""
    read = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
    services: dict[str, Any] = read["services"]
    return services


@cache
def manifests() -> list[dict[str, Any]]:
    """Every object for Kubernetes, the examples of secrets and what needs KEDA included."""
    paths = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
    every = (yaml.safe_load_all(path.read_text(encoding="utf-8")) for path in paths)
    return [document for documents in every for document in documents]


def of_kind(*kinds: str) -> list[dict[str, Any]]:
    """The objects of some kinds."""
    return [found for found in manifests() if found["kind"] in kinds]


def pods() -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Each workload with the pod it makes."""
    for workload in of_kind("Deployment", "Job"):
        yield workload, workload["spec"]["template"]


@cache
def alerts() -> dict[str, dict[str, Any]]:
    """The alerts by name."""
    read = yaml.safe_load((DEPLOY / "prometheus/alerts.yaml").read_text(encoding="utf-8"))
    return {rule["alert"]: rule for group in read["groups"] for rule in group["rules"]}


def passes(tool: str, *arguments: str | Path, cwd: Path = DEPLOY) -> str:
    """What a tool of this environment, or of the system, answers. Fails if it finds fault."""
    beside = Path(sys.executable).parent / tool
    found = beside if beside.exists() else shutil.which(tool)
    assert found, f"{tool} is missing"
    ran = subprocess.run([found, *arguments], cwd=cwd, capture_output=True, text=True)
    assert ran.returncode == 0, f"{ran.stdout}\n{ran.stderr}"
    return ran.stdout


def mentioned(pattern: str, *paths: Path) -> set[str]:
    """All that a pattern finds in these files, and in those under these folders."""
    files = [
        file
        for path in paths
        for file in ([path] if path.is_file() else path.rglob("*"))
        if file.suffix in {".py", ".md", ".json", ".yaml", ".env", ".sh"}
    ]
    return {found for file in files for found in re.findall(pattern, file.read_text("utf-8"))}
