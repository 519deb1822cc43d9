"""`make audit` finds secrets and vulnerable packages; the locks name hashes and no addresses."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.security.audit import ROOT, secrets, vulnerabilities

LOCKS = sorted(ROOT.glob("requirements*.lock"))
LIKE_SECRETS = {
    "a provider's key": "sk_" + "live_" + "4eC39HqLyjWDarjtT1zdp7dc",
    "an access key": "AKIA" + "IOSFODNN7EXAMPLE",
    "a private key": "-----BEGIN RSA " + "PRIVATE KEY-----",
    "a password": "pass" + 'word = "correct-horse-7"',  # pragma: allowlist secret
    "a webhook signature key": "whsec" + "_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "a login in an address": "smtp://notices:" + "hunter2@mail.example.com",
    "an encryption key": 'KEYS = "2026-11:' + 'Zk3mJ0Wq8Xn5Rt2Lb7Yc4Vd9Hs6Fp1Ga0Ku3Te8Nw5I="',
}


@pytest.mark.parametrize("line", LIKE_SECRETS.values(), ids=LIKE_SECRETS)
def test_a_secret_in_a_file_is_found(line: str, tmp_path: Path) -> None:
    """The report names place and kind, and does not repeat the secret."""
    (tmp_path / "settings.py").write_text(f"# nothing\n{line}\n")
    (found, *_) = secrets(tmp_path, "--all-files", ".")
    assert found.startswith("settings.py:2: ")
    assert line not in found


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: str(lock.name))
def test_a_lock_names_versions_and_hashes_but_no_addresses(lock: Path) -> None:
    """Anybody may install from any index, and gets exactly the files that were locked."""
    text = lock.read_text()
    assert "://" not in text
    for pinned in re.split(r"\n(?=\S)", text.strip()):
        first, *rest = pinned.split(" \\\n")
        assert re.match(r"[a-z0-9-]+(\[[a-z0-9,-]+\])?==\S+( ; .+)?$", first), first
        assert rest, f"{first} has no hash"
        assert all(re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}", line) for line in rest), first


FAULT = {
    "id": "PYSEC-2026-1",
    "summary": "Leaks data",
    "affected": [
        {
            "package": {"ecosystem": "PyPI", "name": "leaky"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.1"}]}],
        }
    ],
}


class VulnerabilityService(BaseHTTPRequestHandler):
    """An OSV service that knows one vulnerability of one package."""

    def do_POST(self) -> None:
        """Answer a query in OSV's format."""
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        leaky = asked["package"]["name"] == "leaky"
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"vulns": [FAULT]} if leaky else {}).encode())

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@contextmanager
def vulnerability_service() -> Iterator[str]:
    """The address of a running vulnerability service."""
    with HTTPServer(("127.0.0.1", 0), VulnerabilityService) as server:
        serving = Thread(target=server.serve_forever)
        serving.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        serving.join()


def test_a_package_with_a_known_vulnerability_is_reported(tmp_path: Path) -> None:
    """The report names the release with the fix. Without an answer the packages count as
    unchecked."""
    packages = [f"{name}==1.0 --hash=sha256:{'0' * 64}\n" for name in ("leaky", "sound")]
    (tmp_path / "some.lock").write_text("".join(packages))
    with vulnerability_service() as address:
        output = vulnerabilities(tmp_path, "some.lock", "-s", "osv", "--osv-url", address)
    assert output == (["some.lock: leaky 1.0 has PYSEC-2026-1, fixed in 1.1"], [])
    faults, unchecked = vulnerabilities(tmp_path, "some.lock", "-s", "osv", "--osv-url", address)
    assert (faults, len(unchecked)) == ([], 1)
