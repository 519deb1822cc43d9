"""Jobs and the queues of staff: found by search attributes, and live where there is JavaScript."""

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
import requests
from structlog.testing import capture_logs
from temporalio.client import Client, WorkflowFailureError
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import WorkflowEnvironment

from activities.payments.sandbox import SandboxProvider
from activities.payments.sandbox_events import SandboxEvent
from activities.requests import TASK_QUEUE, AuditReport, Difference
from activities.services import Services
from demo.live import REFUND_FAILS, open_purchase
from demo.runner import happen, send, skip, until
from demo.scenarios import Happens
from tests.purchases import held, purchase, purchase_of
from tests.workroom.test_pages import listed
from tests.workroom.visitor import Visitor, signed_in
from workflows.messages import Role
from workroom import audits, lists, live
from workroom.audits import LastAudit


async def staff_at(url: str) -> Visitor:
    """An operator at the staff page."""
    return await signed_in(url, "operator", "op-1")


async def test_jobs_are_searched_by_id_by_person_and_by_stage(
    server: WorkflowEnvironment, url: str
) -> None:
    """A purchase is found by the beginning of its id; other people do not find it."""
    first, second = await held(server), await held(server)
    await send(second, Role.CLIENT, "submit_requirements", requirements="A lighthouse.")
    pages = [f"/purchases/{purchase_of(each)}" for each in (first, second)]
    ana = await signed_in(url, "client", "ana")
    await listed(ana, f"/?search={purchase_of(first)}", pages[0])
    assert pages[1] not in ana.html.links
    await listed(ana, "/?search=bo&stage=freelancer_review", pages[1])
    assert pages[0] not in ana.html.links
    for search in ("nobody", "'", '"', "' OR PurchaseClient = 'x", "\\", "%", "x" * 999):
        await ana.open(f"/?search={quote(search)}")
        assert "No purchase matches the search." in ana.text
    eve = await signed_in(url, "client", "eve")
    await eve.open(f"/?search={purchase_of(first)}")
    assert pages[0] not in eve.html.links


async def test_staff_search_jobs_by_name_and_mail_address(
    server: WorkflowEnvironment, url: str
) -> None:
    """A party who types a name finds nothing by it, not even their own purchase."""
    client = {"id": "ana", "name": "Zoë Quint", "email": "zoe@example.org"}
    page = f"/purchases/{purchase_of(await held(server, client=client))}"
    for role in ("operator", "mediator"):
        staff = Visitor(url)
        await staff.sign_in(role, "op-1", None)
        for text in ("zoe@example.org", "quint", "Zoë Quint", "zoe"):
            await listed(staff, f"/?search={quote(text)}", page)
    await staff.open("/?search=quint&closed=yes")
    assert page not in staff.html.links
    ana = Visitor(url)
    await ana.sign_in("client", "ana", None)
    await listed(ana, "/?search=ana", page)
    for text in ("zoe@example.org", "quint", "Zoë Quint"):
        await ana.open(f"/?search={quote(text)}")
        assert "No purchase matches the search." in ana.text


async def test_a_start_with_an_invalid_input_is_listed_as_never_started(
    server: WorkflowEnvironment, url: str
) -> None:
    """Staff see that nothing is on its way; the page says what was wrong with the input."""
    wrong = purchase().model_dump(mode="json") | {"title": ""}
    workflow_id = f"purchase-{wrong['purchase_id']}"
    handle = await server.client.start_workflow(
        "ProjectPurchase", wrong, id=workflow_id, task_queue=TASK_QUEUE
    )
    with pytest.raises(WorkflowFailureError):
        await handle.result()
    staff = await staff_at(url)
    search, page = f"/?search={wrong['purchase_id']}", f"/purchases/{wrong['purchase_id']}"
    await listed(staff, search, page)
    while "Starting" in staff.text:  # the server lists its end soon after it
        await staff.open(search)
    assert "Never started" in staff.text
    await staff.open(page)
    assert "no money moved: title" in staff.text
    await listed(staff, "/staff/unstarted", page)
    assert "no money moved: title" in staff.text
    assert page in (await staff.open("/staff")).html.links


async def test_lists_ask_no_purchase(
    server: WorkflowEnvironment, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not one query goes to a worker; the formats of the reader come from one purchase's start."""
    handles = [await held(server) for _ in range(3)]
    ana = await signed_in(url, "client", "ana")
    for handle in handles:
        await listed(ana, "/", f"/purchases/{purchase_of(handle)}")
    asked = []

    async def query(*_: Any, **__: Any) -> None:
        asked.append("a query")

    monkeypatch.setattr("temporalio.client._impl._ClientImpl.query_workflow", query)
    await ana.open("/")
    staff = await staff_at(url)
    assert (ana.page.status_code, staff.page.status_code) == (200, 200)
    assert asked == []
    assert "Deadline (Lisbon)" in ana.text


async def test_deadlines_are_in_the_readers_zone(server: WorkflowEnvironment, url: str) -> None:
    handle = await held(server)
    ana, bo = Visitor(url), Visitor(url)
    await ana.sign_in("client", "ana", None)
    await bo.sign_in("freelancer", "bo", None)
    for each, zone in ((ana, "Lisbon"), (bo, "UTC")):
        await listed(each, "/", f"/purchases/{purchase_of(handle)}")
        assert f"Deadline ({zone})" in each.text


@pytest.mark.parametrize(
    ("choice", "messages", "then"),
    [
        ({}, [], "the project is cancelled and all of the money goes back to you"),
        ({}, ["submit_requirements"], "Bo can no longer cancel, only give the money"),
        ({}, ["cancel"], "the project is cancelled and all of the money goes back to you"),
        (
            {},
            ["submit_requirements", "cancel"],
            "If nobody acts by then: all of the money goes back to you.",
        ),
        (
            {"refund_decision_silence": "resume"},
            ["submit_requirements", "cancel"],
            "the request lapses and the project goes on",
        ),
        ({}, ["submit_requirements", "cancel", "decline"], "the claim is paid"),
        ({}, ["give_refund"], "the refund counts as arrived, or our staff looks into it"),
    ],
)
async def test_a_list_says_what_happens_at_the_deadline_of_the_stage(
    server: WorkflowEnvironment,
    url: str,
    choice: dict[str, str],
    messages: list[str],
    then: str,
) -> None:
    """By the choices of that purchase (R-11, R-12, R-35, R-36,
    R-38, R-64)."""
    handle = await held(server, policy=choice)
    for message in messages:
        match message:
            case "submit_requirements":
                await send(handle, Role.CLIENT, message, requirements="A lighthouse.")
            case "cancel":
                await send(handle, Role.CLIENT, message)
            case "decline":
                await send(handle, Role.FREELANCER, "decide_refund", decision="decline")
            case _:
                await send(handle, Role.FREELANCER, message)
    ana, page = Visitor(url), f"/purchases/{purchase_of(handle)}"
    await ana.sign_in("client", "ana", None)
    search = f"/?search={purchase_of(handle)}"
    await listed(ana, search, page)
    while then not in ana.text:  # the server lists a change soon after it
        await ana.open(search)


async def test_staff_see_what_waits_for_them_by_kind(
    server: WorkflowEnvironment, url: str, services: Services
) -> None:
    """A dispute, a refund that failed, and a bank dispute, each in its own queue."""
    assert isinstance(services.provider, SandboxProvider)
    disputed = await held(server)
    await send(disputed, Role.CLIENT, "cancel")
    await send(disputed, Role.FREELANCER, "decide_refund", decision="decline")
    await send(disputed, Role.CLIENT, "open_dispute", reason="Nothing came.")
    frozen = await held(server)
    bank = Happens(SandboxEvent.DISPUTE_OPENED)
    await happen(server.client, services.provider, purchase_of(frozen), bank)
    failed = await open_purchase(server, "t-refund-fails", "Voice-over", fails=True)
    await send(failed, Role.FREELANCER, "give_refund")
    await skip(server, failed, REFUND_FAILS)
    await until(failed, lambda found: bool(found.attention))
    staff = await staff_at(url)
    for handle, queue in ((disputed, "disputes"), (frozen, "bank"), (failed, "refunds")):
        page = f"/purchases/{purchase_of(handle)}"
        await listed(staff, f"/staff/{queue}", page)
        for other in {"disputes", "bank", "refunds", "others", "closed", "unstarted"} - {queue}:
            assert page not in (await staff.open(f"/staff/{other}")).html.links
        assert page in (await staff.open("/staff")).html.links
    assert (await staff.open("/staff/nothing")).page.status_code == 404


async def test_staff_see_what_the_last_audit_has_found(
    server: WorkflowEnvironment, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await server.client.execute_workflow(
        "LedgerAudit", id="audit-of-the-page", task_queue=TASK_QUEUE, result_type=AuditReport
    )
    staff = await staff_at(url)
    while "it compared" not in (await staff.open("/staff")).text:  # noqa: ASYNC110
        await asyncio.sleep(0.1)
    found = Difference(purchase_id="p-1", what="<b>Escrow is short.</b>", what_to_do="Look.")
    report = AuditReport(purchases=2, totals=(), differences=(found,), more=3)

    async def last(_: audits.Audits) -> LastAudit:
        known = await audits_last(server.client)
        return LastAudit(known.at, report)

    monkeypatch.setattr(audits.Audits, "last", last)
    await staff.open("/staff")
    assert "compared 2 purchases" in staff.text
    assert "found 4 differences" in staff.text
    assert "<b>Escrow is short.</b> Look." in staff.text
    assert "/purchases/p-1" in staff.html.links


async def audits_last(client: Client) -> LastAudit:
    """The last audit that the server has."""
    found = await REAL_LAST(audits.Audits(client))
    assert found
    return found


REAL_LAST = audits.Audits.last


async def test_an_open_page_learns_of_what_happens(server: WorkflowEnvironment, url: str) -> None:
    """The stream names the newest event, and again when there is another; only to a party."""
    handle = await held(server)
    ana = await signed_in(url, "client", "ana", handle)
    path = f"{url}/purchases/{purchase_of(handle)}/live"
    with contextlib.closing(ana.browser.get(path, stream=True, timeout=30)) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        events = ids(stream)
        first = await asyncio.to_thread(next, events)
        await send(handle, Role.FREELANCER, "send_message", text="Hello!")
        assert await asyncio.to_thread(next, events) > first
    again = {"Last-Event-ID": first}
    with contextlib.closing(
        ana.browser.get(path, stream=True, timeout=30, headers=again)
    ) as stream:
        assert await asyncio.to_thread(next, ids(stream)) > first
    assert (await Visitor(url).open(path)).page.status_code == 401
    eve = await signed_in(url, "client", "eve")
    assert (await eve.open(path)).page.status_code == 403


async def test_event_streams_are_limited(
    server: WorkflowEnvironment, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A further one gets 204, and the browser does not retry; each stream ends by itself."""
    handle = await held(server)
    ana = await signed_in(url, "client", "ana", handle)
    monkeypatch.setattr(live, "MOST_STREAMS", 1)
    path = f"/purchases/{purchase_of(handle)}/live"
    with contextlib.closing(ana.browser.get(url + path, stream=True, timeout=30)) as stream:
        events = ids(stream)
        await asyncio.to_thread(next, events)
        assert (await ana.open(path)).page.status_code == 204
    monkeypatch.setattr(live, "STREAM_LASTS", 0.0)
    monkeypatch.setattr(live, "MOST_STREAMS", 50)
    assert (await ana.open(path)).page.status_code == 200


def ids(stream: requests.Response) -> Iterator[str]:
    """The ids of the events in a stream."""
    for line in stream.iter_lines():
        if line.startswith(b"id: "):
            yield line.decode().removeprefix("id: ")


async def test_the_log_says_why_a_page_was_not_answered(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page does not: it is for people who cannot change that."""

    async def limited(*_: object) -> None:
        raise RPCError("namespace rate limit exceeded", RPCStatusCode.RESOURCE_EXHAUSTED, b"")

    monkeypatch.setattr(lists, "find_page", limited)
    with capture_logs() as logged:
        staff = await staff_at(url)
        assert (await staff.open("/staff")).page.status_code == 503
    assert "rate limit" not in staff.text
    entries = [each for each in logged if each["event"] == "page_not_answered"]
    assert {each["code"] for each in entries} == {"SERVER_UNREACHABLE"}
    assert all("namespace rate limit exceeded" in each["why"] for each in entries)
