"""Signing in at a real OpenID Connect provider (`oidc-provider`, for Node.js)."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import pytest
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from temporal.ports import free_port
from tests.node import installed, program
from tests.purchases import held, purchase_of
from tests.workroom.callers import SECRET
from tests.workroom.visitor import Visitor
from workroom.local import serve_workroom
from workroom.settings import WorkroomSettings

pytestmark = pytest.mark.node

SOURCE = Path(__file__).parent / "openid_provider"


@pytest.fixture(scope="module")
async def room(server: WorkflowEnvironment, worker: Worker) -> AsyncIterator[str]:
    """The address of a workroom whose people sign in at the provider."""
    url = f"http://127.0.0.1:{free_port()}"
    port = free_port()
    folder = await asyncio.to_thread(installed, SOURCE, "serve.mjs")
    provider = await asyncio.create_subprocess_exec(
        *(program("node"), "serve.mjs", str(port), url, SECRET),
        cwd=folder,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert provider.stdin
    assert provider.stdout
    await provider.stdout.readline()
    settings = WorkroomSettings.from_environment(
        {
            "RECOURSE_WORKROOM": url.removeprefix("http://"),
            "RECOURSE_LINK_KEYS": f"k1:{SECRET}",
            "RECOURSE_OIDC_ISSUER": f"http://127.0.0.1:{port}",
            "RECOURSE_OIDC_CLIENT_ID": "workroom",
            "RECOURSE_OIDC_CLIENT_SECRET": SECRET,
        }
    )
    try:
        async with serve_workroom(server.client, settings):
            yield url
    finally:
        provider.stdin.close()
        await provider.wait()


async def sign_in(visitor: Visitor, name: str) -> Visitor:
    """Follow the button of the page, and fill in the provider's two forms."""
    await visitor.open(visitor.html.links[-1])
    await visitor.send(login=name, password="any")  # pragma: allowlist secret
    return await visitor.send()


async def test_a_client_signs_in_and_is_back_at_the_page_that_was_asked_for(
    server: WorkflowEnvironment, room: str
) -> None:
    """The person's id is the claim `sub`; without a role's claim they are client and freelancer."""
    purchase_id = purchase_of(await held(server))
    ana = await Visitor(room).open(f"/purchases/{purchase_id}/cancel")
    assert ana.page.status_code == 401
    await sign_in(ana, "ana")
    assert ana.page.url == f"{room}/purchases/{purchase_id}/cancel"
    await ana.send(reason="Plans")
    await ana.send()
    assert "Your refund request was sent to" in ana.text
    await ana.press("/role", role="freelancer")
    assert "ana (freelancer)" in ana.text
    await ana.open(f"/purchases/{purchase_id}")
    assert ana.page.status_code == 403


async def test_staff_have_the_roles_of_their_claim_and_no_other(room: str) -> None:
    operator = await sign_in(await Visitor(room).open("/"), "operator-1")
    assert operator.page.url == f"{room}/staff"
    await operator.press("/role", role="client")
    assert operator.page.status_code == 403
    await operator.open("/")
    await operator.press("/role", role="mediator")
    assert "operator-1 (mediator)" in operator.text


async def test_somebody_else_sees_nothing_of_the_purchase(
    server: WorkflowEnvironment, room: str
) -> None:
    purchase_id = purchase_of(await held(server))
    eve = await Visitor(room).open(f"/purchases/{purchase_id}")
    await sign_in(eve, "eve")
    assert eve.page.status_code == 403


async def test_an_answer_counts_once_and_in_the_browser_that_has_asked(room: str) -> None:
    """Another browser's answer, a changed state, and a code that was used before sign nobody in."""
    ana, eve = Visitor(room), Visitor(room)
    await sign_in(await ana.open("/"), "ana")
    address = next(
        each.request.url for each in ana.page.history if "/signed-in?" in (each.request.url or "")
    )
    for other in (eve, ana):
        other.browser.cookies.clear()
        await other.open(str(address))
        assert other.page.status_code == 401
    await eve.open("/sign-in")
    await eve.open(f"/signed-in?code=stolen&state={'x' * 43}")
    assert "did not work" in eve.text


async def test_who_signs_out_can_sign_out_at_the_provider_too(room: str) -> None:
    ana = await sign_in(await Visitor(room).open("/"), "ana")
    await ana.press("/sign-out")
    assert "Signed out" in ana.text
    await ana.open(next(each for each in ana.html.links if "/session/end" in each))
    await ana.send(logout="yes")
    assert ana.page.url.startswith(room)
    await ana.open("/sign-in")
    assert "login" in ana.html.forms[-1].fields


@pytest.mark.parametrize(
    "to", ["https://evil.example", "//evil.example", "/\\evil.example", "/staff/../..//evil", "x"]
)
async def test_signing_in_leads_to_pages_of_ours_only(room: str, to: str) -> None:
    ana = await Visitor(room).open(f"/sign-in?to={quote(to)}")
    await ana.send(login="ana", password="any")  # pragma: allowlist secret
    await ana.send()
    assert ana.page.url == f"{room}/"


def test_the_npm_lock_names_versions_and_hashes_but_no_addresses() -> None:
    packages = json.loads((SOURCE / "package-lock.json").read_text())["packages"]
    assert all("resolved" not in package for package in packages.values())
    assert all("integrity" in package for path, package in packages.items() if path)
