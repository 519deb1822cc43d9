"""The pages: what a party and staff see and send, without JavaScript, on a real server."""

import asyncio

import pytest
import requests
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.testing import WorkflowEnvironment

from activities.payments.sandbox import SandboxProvider
from activities.payments.sandbox_events import SandboxEvent
from activities.services import Services
from demo.runner import Handle, happen, send, skip, status, until
from demo.scenarios import Happens
from temporal.purchases import Purchase
from tests.purchases import adopted, held, purchase_of
from tests.workroom.visitor import Visitor, signed_in
from workflows.messages import Role, Status


async def shown(handle: Handle, stage: str) -> Status:
    """The status, once the purchase is in this stage."""
    return await until(handle, lambda found: found.stage == stage)


async def test_the_four_steps_of_the_article_and_the_refund(
    server: WorkflowEnvironment, url: str
) -> None:
    """Find the contract under Jobs, Cancel Contract, the reason, Send escrow refund request; then
    the freelancer approves."""
    handle = await held(server)
    ana = await signed_in(url, "client", "ana", handle)
    await ana.open("/")
    assert f"/purchases/{purchase_of(handle)}" in ana.html.links
    await ana.open(f"/purchases/{purchase_of(handle)}")
    assert f"/purchases/{purchase_of(handle)}/cancel" in ana.html.links
    await ana.open(f"/purchases/{purchase_of(handle)}/cancel")
    assert "A refund is not guaranteed" in ana.text
    await ana.send(reason="My plans have changed.")
    assert "Check before sending" in ana.text
    assert "My plans have changed." in ana.text
    assert (await status(handle)).stage == "awaiting_requirements", "nothing is sent before"
    await ana.send()
    assert ana.page.status_code == 200
    assert "Your refund request was sent to Bo. Bo can answer until" in ana.text
    assert "Bo's turn." in ana.text
    assert (await status(handle)).stage == "refund_requested"

    bo = await signed_in(url, "freelancer", "bo", handle, "approve_refund")
    await bo.send(note="Good luck.")
    assert "All of the money, $250.00, goes back to Ana." in bo.text
    await bo.send()
    assert "Decided, and the money is on its way" in bo.text or "Closed" in bo.text
    assert (await status(handle)).escrow.released == 0


async def test_a_decline_shows_who_gets_what_in_both_ways_before_it_is_sent(
    server: WorkflowEnvironment, url: str
) -> None:
    """And each side reads it in their own words and format."""
    handle = await held(server)
    await send(handle, Role.CLIENT, "cancel")
    bo = await signed_in(url, "freelancer", "bo", handle, "decline_refund")
    await bo.send(claim="1e2")
    assert bo.page.status_code == 422
    assert "Enter an amount, such as 100.00" in bo.text
    assert bo.html.forms[-1].fields["claim"] == "1e2", "what was typed is kept"
    await bo.send(claim="250.01")
    assert "The most you can claim is $250.00" in bo.text
    await bo.send(claim="100.00", note="Half is done.")
    assert "If Ana accepts: $150.00 goes back to Ana and $100.00 goes to you." in bo.text
    await bo.send()
    assert (await shown(handle, "contested")).claim == 10_000

    ana = await signed_in(url, "client", "ana", handle, "accept_claim")
    await ana.send()
    division = ana.text.split("Accept the claim")[2]
    assert "US$150.00" in division, "Ana reads British amounts"
    assert "goes back to you" in division
    await ana.send()
    found = await until(handle, lambda found: found.escrow.released == 10_000)
    assert found.escrow.in_transit + found.escrow.refunded == 15_000


async def test_a_split_is_offered_and_accepted_as_it_was_shown(
    server: WorkflowEnvironment, url: str
) -> None:
    """A newer offer than the shown one is not accepted by mistake."""
    handle = await held(server)
    bo = await signed_in(url, "freelancer", "bo", handle, "propose_split")
    await bo.send(refund="150.00")
    await bo.send()
    ana = await signed_in(url, "client", "ana", handle, "accept_split")
    await send(handle, Role.FREELANCER, "propose_split", refund=5_000)
    await ana.send()
    await ana.send()
    assert ana.page.status_code == 409
    assert (await status(handle)).stage == "awaiting_requirements"
    await ana.open(f"/purchases/{purchase_of(handle)}/accept_split")
    await ana.send()
    await ana.send()
    await until(handle, lambda found: found.escrow.released == 20_000)


async def test_a_dispute_is_opened_and_a_mediator_decides(
    server: WorkflowEnvironment, url: str
) -> None:
    """The mediator finds it in the queue of staff."""
    handle = await held(server)
    await send(handle, Role.CLIENT, "cancel")
    await send(handle, Role.FREELANCER, "decide_refund", decision="decline", claim=10_000)
    ana = await signed_in(url, "client", "ana", handle, "open_dispute")
    await ana.send()
    assert "Say what happened" in ana.text
    await ana.send(reason="Nothing was done.")
    await ana.send()
    await shown(handle, "disputed")
    mediator = await signed_in(url, "mediator", "mediator-1")
    page = f"/purchases/{purchase_of(handle)}"
    await listed(mediator, "/staff", page)
    await mediator.open(f"{page}/resolve_dispute")
    await mediator.send(refund="200", note="A fifth was done.")
    assert "$200.00 goes back to Ana and $50.00 goes to Bo." in mediator.text
    await mediator.send()
    await until(handle, lambda found: found.escrow.released == 5_000)


async def test_a_frozen_purchase_says_so_and_offers_nothing_that_pays(
    server: WorkflowEnvironment, services: Services, url: str
) -> None:
    """The client's bank has the money: the page says so, and that deadlines are suspended."""
    handle = await held(server)
    assert isinstance(services.provider, SandboxProvider)
    event = Happens(SandboxEvent.DISPUTE_OPENED)
    await happen(server.client, services.provider, purchase_of(handle), event)
    bo = await signed_in(url, "freelancer", "bo", handle)
    assert "$250.00 taken back by Ana's bank" in bo.text
    assert "nothing is paid until the bank has decided" in bo.text
    page = f"/purchases/{purchase_of(handle)}"
    assert {f"{page}/propose_split", f"{page}/give_refund"} - set(bo.html.links) == {
        f"{page}/give_refund"
    }
    await handle.terminate("seen")


async def test_a_form_that_is_sent_twice_counts_once(server: WorkflowEnvironment, url: str) -> None:
    """A double click, and the back button."""
    handle = await held(server)
    before = len((await status(handle)).timeline)
    ana = await signed_in(url, "client", "ana", handle, "send_message")
    form = ana.html.forms[-1]
    typed = {**form.fields, "text": "Hello Bo"}
    twins = [Visitor(url, ana.browser), Visitor(url, ana.browser)]
    # They follow no redirect: sdk-core may lose the task of an update that meets a query.
    await asyncio.gather(*(each.post(form.action, typed, follow=False) for each in twins))
    assert {each.page.status_code for each in twins} == {303}
    await ana.post(form.action, typed)
    assert ana.page.status_code == 200
    assert len((await status(handle)).timeline) == before + 1
    await ana.post(form.action, {**typed, "text": "Hello again"})
    assert ana.page.status_code == 409
    assert "This form was sent before." in ana.text
    await ana.send()
    assert len((await status(handle)).timeline) == before + 2, "now it was meant"


async def test_what_the_rules_reject_is_said_where_it_was_typed(
    server: WorkflowEnvironment, url: str
) -> None:
    """The form stays open with what was typed; a button that is not possible says why."""
    handle = await held(server)
    ana = await signed_in(url, "client", "ana", handle, "cancel")
    await ana.send(reason="Plans")
    await send(handle, Role.FREELANCER, "give_refund")
    await ana.send()
    assert ana.page.status_code == 409
    assert "There is a problem" in ana.text
    assert "It is already decided who gets the money." in ana.text
    assert ana.html.forms[-1].fields["reason"] == "Plans"
    await ana.open(f"/purchases/{purchase_of(handle)}/accept_delivery")
    assert ana.page.url.startswith(f"{url}/purchases/{purchase_of(handle)}?")
    assert "Not possible now: Accept the delivery. It is already decided" in ana.text


async def test_parties_read_no_names_of_messages(server: WorkflowEnvironment, url: str) -> None:
    """They know buttons; staff read the exact answer of the rules."""
    handle = await held(server)
    await send(handle, Role.CLIENT, "cancel")
    ana = await signed_in(url, "client", "ana", handle)
    assert "Your cancellation has to be answered or taken back first." in ana.text
    assert "has to wait" not in ana.text
    assert "can now send" not in ana.text
    staff = await signed_in(url, "mediator", "m-1", handle)
    assert "resolve_dispute is not possible" in staff.text


async def test_a_message_that_was_sent_again_is_shown_once(
    server: WorkflowEnvironment, url: str
) -> None:
    handle = await held(server)
    for text, message_id in (("Hello", "m-1"), ("Hello", "m-1"), ("Hello", "m-2")):
        await send(handle, Role.CLIENT, "send_message", text=text, message_id=message_id)
    bo = await signed_in(url, "freelancer", "bo", handle)
    await bo.open(f"/purchases/{purchase_of(handle)}/messages")
    assert bo.text.count("Hello") == 2


async def test_requirements_work_and_changes_are_sent_from_pages(
    server: WorkflowEnvironment, url: str
) -> None:
    handle = await held(server)
    ana = await signed_in(url, "client", "ana", handle, "submit_requirements")
    await ana.send(requirements="A lighthouse.\r\nBlue.")
    assert (await shown(handle, "freelancer_review")).requirements == "A lighthouse.\nBlue."
    bo = await signed_in(url, "freelancer", "bo", handle, "deliver")
    await bo.send(note="Here it is.")
    await shown(handle, "delivered")
    await ana.open(f"/purchases/{purchase_of(handle)}/request_changes")
    await ana.send(note="Bluer.")
    await shown(handle, "in_progress")
    await bo.open(f"/purchases/{purchase_of(handle)}/deliver")
    await bo.send()
    await ana.open(f"/purchases/{purchase_of(handle)}/accept_delivery")
    await ana.send()
    assert "goes to Bo" in ana.text
    await ana.send()
    await until(handle, lambda found: found.escrow.released == 25_000)


async def test_jobs_show_what_the_links_cover_in_the_readers_words(
    server: WorkflowEnvironment, url: str
) -> None:
    """Two links of one person add up; a link to all shows all; closed ones are apart."""
    first, second, third = [await held(server, title=f"Logo {number}") for number in range(3)]
    ana = await signed_in(url, "client", "ana", first)
    await ana.sign_in("client", "ana", second)
    pages = [f"/purchases/{purchase_of(each)}" for each in (first, second, third)]
    await listed(ana, "/", pages[1])
    assert [each for each in pages if each in ana.html.links] == pages[:2]
    assert "Waiting for requirements" in ana.text
    await ana.sign_in("client", "ana", None)
    await listed(ana, "/", pages[2])
    await send(third, Role.FREELANCER, "give_refund")
    await skip(server, third)
    await listed(ana, "/?closed=yes", pages[2])
    assert pages[0] not in ana.html.links
    for page in ("Zm9yZ2Vk", "!"):
        assert (await ana.open(f"/?page={page}")).page.status_code == 404


async def test_a_mistyped_address_shows_a_page_in_the_language_of_the_browser(url: str) -> None:
    headers = {"Accept": "text/html,*/*;q=0.8", "Accept-Language": "de-AT,de;q=0.9"}
    for path in ("/job", "/purchases", "/purchases/p/cancel/now"):
        answer = await asyncio.to_thread(requests.get, f"{url}{path}", headers=headers)
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert "<h1>Nicht gefunden</h1>" in answer.text
        assert '<html lang="de">' in answer.text
    program = await asyncio.to_thread(requests.get, f"{url}/job")
    assert program.headers["content-type"] == "application/problem+json"


async def listed(visitor: Visitor, path: str, link: str) -> None:
    """Open a list until it has the link: the server lists a purchase soon after it began."""
    while link not in (await visitor.open(path)).html.links:  # noqa: ASYNC110
        await asyncio.sleep(0.1)


async def test_an_operator_asks_for_a_look_at_the_payment(
    server: WorkflowEnvironment, url: str
) -> None:
    """R-80: the form has no questions, so that there is nothing to check before it is sent."""
    handle = await held(server)
    operator = await signed_in(url, "operator", "operator-1")
    page = f"/purchases/{purchase_of(handle)}"
    await operator.open(page)
    assert f"{page}/check_payment" in operator.html.links
    await operator.open(f"{page}/check_payment")
    await operator.send()
    assert "Our system asks the payment provider about the payment." in operator.text
    ana = await signed_in(url, "client", "ana", handle)
    assert f"{page}/check_payment" not in ana.html.links


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.MEDIATOR])
async def test_staff_sign_in_to_their_queue(url: str, role: Role) -> None:
    """A party sees no queue, and a member of staff only with a link to all."""
    staff = await signed_in(url, role.value, "somebody")
    assert staff.page.url.endswith("/staff")
    assert "Late and failed refunds" in staff.text
    ana = await signed_in(url, "client", "ana")
    assert (await ana.open("/staff")).page.status_code == 403


async def test_messages_reasons_and_notes_are_read_in_full(
    server: WorkflowEnvironment, url: str
) -> None:
    """By both sides and by staff; what a stranger signals is nobody's text."""
    handle = await held(server)
    await send(handle, Role.CLIENT, "send_message", text="Hello <b>Bo</b>!\nHow are you?")
    await send(handle, Role.CLIENT, "cancel", reason="Plans have changed.")
    await send(handle, Role.FREELANCER, "decide_refund", decision="decline", note="Half is done.")
    await handle.signal("send_message", {"by": {"role": "client", "id": "eve"}, "text": "Forged"})
    await handle.signal("send_message", "nothing of the kind")
    for role, person in (("client", "ana"), ("freelancer", "bo"), ("mediator", "m-1")):
        reader = await signed_in(url, role, person, handle)
        await reader.open(f"/purchases/{purchase_of(handle)}/messages")
        for text in ("Hello <b>Bo</b>! How are you?", "Plans have changed.", "Half is done."):
            assert text in reader.text
        assert "reply to the request" in reader.text
        assert "Forged" not in reader.text


async def test_texts_of_earlier_runs_are_read_while_the_server_has_them(
    server: WorkflowEnvironment, url: str
) -> None:
    """A purchase with many signals continues as new; then the server deletes the first run."""
    handle = await held(server)
    newest = Purchase(server.client, purchase_of(handle))
    first = await newest.newest()
    assert first
    await send(handle, Role.CLIENT, "send_message", text="The very first")
    ana = {"role": "client", "id": "ana"}
    while (run := await newest.newest()) and run.run_id == first.run_id:
        await handle.signal("send_message", {"by": ana, "text": "In between"})
    await send(handle, Role.CLIENT, "send_message", text="The last")
    bo = await signed_in(url, "freelancer", "bo", handle)
    path = f"/purchases/{purchase_of(handle)}/messages"
    await bo.open(path)
    assert bo.text.index("The last") < bo.text.index("The very first")
    await server.client.workflow_service.delete_workflow_execution(
        DeleteWorkflowExecutionRequest(
            namespace=server.client.namespace,
            workflow_execution=WorkflowExecution(workflow_id=first.id, run_id=first.run_id),
        )
    )
    while "The very first" in (await bo.open(path)).text:  # noqa: ASYNC110
        await asyncio.sleep(0.1)
    assert bo.page.status_code == 200
    assert "The last" in bo.text


async def test_an_ended_purchase_gives_the_command_to_staff_only_and_keeps_its_messages(
    server: WorkflowEnvironment, services: Services, url: str
) -> None:
    """An operator terminates a purchase by mistake, and it is adopted."""
    handle = await held(server)
    await send(handle, Role.CLIENT, "send_message", text="Written before")
    await handle.terminate("by mistake")
    command = f"recourse adopt {purchase_of(handle)}"
    ana = await signed_in(url, "client", "ana", handle)
    assert "Our staff is looking into it." in ana.text
    assert command not in ana.text
    assert command in (await signed_in(url, "operator", "o-1", handle)).text

    handle = await adopted(server, services, purchase_of(handle))
    await send(handle, Role.CLIENT, "send_message", text="Written after")
    await ana.open(f"/purchases/{purchase_of(handle)}/messages")
    assert ana.text.index("Written after") < ana.text.index("Written before")
