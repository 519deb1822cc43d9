"""Builds the image with Debian's tools, without a container engine, and runs its processes.

`mmdebstrap` makes a base image of Debian's packages, because no registry may be reachable, and
`buildah` builds `deploy/Dockerfile` on it. Layers are kept in buildah's storage, so that the next
build repeats only what has changed.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.deploy import ROOT

BASE, STAGE, IMAGE = (f"localhost/recourse-{name}" for name in ("python", "build", "test"))
TOOLS = ("mmdebstrap", "buildah", "unshare", "setpriv", "chroot")
RELEASE = "bookworm"
"""Of Debian: its Python is the Dockerfile's."""
CERTIFICATES = "/etc/ssl/certs"

BASE_FILE = """
FROM scratch
ADD base.tar /
RUN ln -s python3 /usr/bin/python && rm /usr/lib/python3.*/EXTERNALLY-MANAGED
ENV PATH=/usr/local/bin:/usr/bin:/bin
"""
"""What the official image of Python has: the name `python`, and a pip that installs."""

CONFINED = """
set -e
root=$1 data=$2 user=$3; shift 3
mount --bind "$root" "$root"
mount --bind "$data" "$root/var/lib/recourse"
mount -t tmpfs tmpfs "$root/tmp"
mount -o remount,bind,ro "$root"
mount -t proc proc "$root/proc"
exec chroot "$root" setpriv --reuid "${user%:*}" --regid "${user#*:}" --clear-groups \
  --no-new-privs --inh-caps=-all --bounding-set=-all env -i -C /var/lib/recourse "$@"
"""
"""What the manifests ask of a container: a read-only root, the image's user, no capability."""


def missing() -> str:
    """Why no image can be built here; empty if one can."""
    tools = [name for name in TOOLS if not shutil.which(name)]
    if tools:
        return f"no {', '.join(tools)} (apt-get install mmdebstrap buildah)"
    if os.geteuid() != 0:
        return "only root may build and run an image"
    probe = subprocess.run(["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"])
    return "nothing may be mounted here" if probe.returncode else ""


@dataclass(frozen=True)
class Image:
    """The unpacked image and its configuration."""

    root: Path
    config: dict[str, Any]

    def command(self, data: Path, *arguments: str, **environment: str) -> list[str]:
        """The command that runs a process of the image in its own file system, with `data` as its
        writable directory. It shares the network with its caller."""
        given = [*self.config["Env"], *(f"{name}={value}" for name, value in environment.items())]
        confined = ("sh", "-c", CONFINED, "sh", str(self.root), str(data), self.config["User"])
        unshared = ("unshare", "--mount", "--pid", "--ipc", "--uts", "--kill-child", "--fork")
        return [*unshared, *confined, *given, *arguments]

    def entrypoint(self, data: Path, *arguments: str, **environment: str) -> list[str]:
        """The same for what the image itself runs; without arguments, its default command."""
        named = arguments or self.config["Cmd"]
        return self.command(data, *self.config["Entrypoint"], *named, **environment)

    @property
    def megabytes(self) -> int:
        """The unpacked size."""
        return int(_run("du", "-sm", self.root).split()[0])


@contextmanager
def built(folder: Path) -> Iterator[Image]:
    """Build the image, and mount it until the block ends. `folder` is for temporary files."""
    if not _run("buildah", "images", "--quiet", "--filter", f"reference={BASE}"):
        _build_base(folder)
    _build(STAGE, "--target", "build")
    _build(IMAGE, "--build-arg", f"REVISION={_run('git', 'rev-parse', 'HEAD')}")
    _run("buildah", "rmi", "--prune")  # of earlier builds
    container = _run("buildah", "from", IMAGE)
    try:
        config = json.loads(_run("buildah", "inspect", container))["Docker"]["config"]
        yield Image(Path(_run("buildah", "mount", container)), config)
    finally:
        _run("buildah", "rm", container)


def _build_base(folder: Path) -> None:
    packages = "--include=python3,python3-pip,python3-venv,ca-certificates"
    _run("mmdebstrap", "--quiet", "--variant=minbase", packages, RELEASE, folder / "base.tar")
    (folder / "Dockerfile").write_text(BASE_FILE)
    _run("buildah", "bud", "--isolation", "chroot", "--tag", BASE, folder)
    (folder / "base.tar").unlink()


def _build(tag: str, *options: str) -> None:
    base = ("--build-arg", f"PYTHON={BASE}")
    trusted = ("--volume", f"{CERTIFICATES}:{CERTIFICATES}:ro")  # a proxy's, if there is one
    how = ("--isolation", "chroot", "--format", "docker", "--layers", *trusted, *base)
    _run("buildah", "bud", *how, "--file", "deploy/Dockerfile", "--tag", tag, *options, ".")


def _run(*command: str | Path) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout.strip()
