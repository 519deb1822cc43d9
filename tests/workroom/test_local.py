"""`make run` and `make demo` serve the workroom themselves, and notices link to it."""

import asyncio
import json
import re
from email import message_from_bytes
from email.policy import default
from pathlib import Path

from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from activities.payments.sandbox import SandboxProvider
from activities.services import Services
from demo.live import LIVE, invitations, open_purchases
from temporal.converter import DATA_CONVERTER
from tests.starter.conftest import held
from tests.stripe.serving import serving
from tests.test_worker import environment, run
from tests.workroom.visitor import Visitor
from workroom.local import with_workroom
from workroom.server import workroom
from workroom.settings import WorkroomSettings


async def test_the_workroom_runs_with_the_worker_and_notices_link_to_it(tmp_path: Path) -> None:
    """With a key of this run; only its port is configured."""
    process = await run(
        environment(tmp_path), "--dev", "--port", "0", "--ui-port", "0", folder=tmp_path
    )
    assert process.stderr is not None
    lines: dict[str, dict[str, str]] = {}
    others: list[bytes] = []
    try:
        while "worker_started" not in lines:
            written = await process.stderr.readline()
            assert written, others
            if not written.startswith(b"{"):  # a line of the server
                others.append(written)
                continue
            line = json.loads(written)
            lines[line["event"]] = line
        address = lines["worker_started"]["server"]
        await held(await Client.connect(address, data_converter=DATA_CONVERTER))
        base = lines["workroom"]["address"]
        link = await link_in(tmp_path / "mail", base, "ana@")
        assert "Send the requirements" in (await Visitor(base).open(link)).text
        staff = await Visitor(base).open(lines["workroom"]["staff"])
        assert "Late and failed refunds" in staff.text
    finally:
        process.terminate()
        await process.communicate()
    assert process.returncode == 0


async def link_in(maildir: Path, base: str, reader: str) -> str:
    """The first link to `base` in the first notice to this reader."""
    while True:
        for file in (maildir / "new").glob("*"):
            notice = message_from_bytes(file.read_bytes(), policy=default)
            body = notice.get_body(("plain",))
            if reader in str(notice["To"]) and body:
                found = re.search(rf"{base}/open/\S+", body.get_content())
                assert found
                return found[0]
        await asyncio.sleep(0.05)


async def test_the_demo_leaves_a_purchase_open_in_each_stage_with_a_link_to_its_form(
    server: WorkflowEnvironment, worker: Worker, services: Services
) -> None:
    """Each link opens the very form, and its person sees their other purchases too."""
    assert isinstance(services.provider, SandboxProvider)
    await open_purchases(server, services.provider)
    settings = WorkroomSettings.from_environment(with_workroom({}))
    with serving(workroom(server.client, settings)) as url:
        pages = {}
        for who, _, link in invitations(settings):
            visitor = Visitor(url)
            opened = await visitor.open(link.replace(settings.base_url, url))
            assert opened.page.status_code == 200
            assert opened.html.forms
            home = await visitor.open("/staff" if who in ("mediator", "staff") else "/")
            pages[who] = home.text
    assert all(live.title in pages["Ana"] for live in LIVE)
    assert "Illustrations" in pages["mediator"]
    assert "Voice-over" in pages["staff"]


def test_settings_of_the_environment_come_before_those_of_the_run() -> None:
    given = {"RECOURSE_WORKROOM": "127.0.0.1:9", "RECOURSE_LINK_KEYS": "k:" + "x" * 32}
    found = with_workroom(given)
    assert found["RECOURSE_BASE_URL"] == "http://127.0.0.1:9"
    assert found["RECOURSE_LINK_KEYS"] == given["RECOURSE_LINK_KEYS"]
