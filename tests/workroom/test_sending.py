"""Sending from the pages: what was sent is said, and sent once; what was typed is kept."""

import re
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from temporalio.testing import WorkflowEnvironment

from activities.payments.sandbox import SandboxProvider
from activities.payments.sandbox_events import SandboxEvent
from activities.services import Services
from demo.runner import Handle, happen, send, start, status, until
from demo.scenarios import Happens
from tests.purchases import held, purchase, purchase_of
from tests.stripe.serving import serving
from tests.workroom.callers import SECRET
from tests.workroom.visitor import Visitor, signed_in
from workflows.messages import Role
from workroom.server import workroom
from workroom.settings import WorkroomSettings

ANA = {"id": "ana", "name": "Ana", "email": "ana@example.com"}
BO = {"id": "bo", "name": "Bo", "email": "bo@example.com"}
EURO = {"amount": 25_000, "currency": "EUR"}
DONE = 'role="status"'
LATER = r"\S.+ \([^)]+\)"
"""An instant, with its zone."""


async def german(server: WorkflowEnvironment, locale: str = "de_DE") -> Handle:
    """A purchase for 250.00 EUR of two people in a locale."""
    people = {"client": ANA | {"locale": locale}, "freelancer": BO | {"locale": locale}}
    return await held(server, price=EURO, **people)


# --- what was sent


async def test_nothing_is_said_to_be_sent_that_was_not(
    server: WorkflowEnvironment, url: str
) -> None:
    """An address alone proves nothing, not even that of somebody who has sent it."""
    handle = await held(server)
    ana = await signed_in(url, "client", "ana", handle)
    page = ana.page.url
    for sent in ("open_dispute", "send_message", "x", ""):
        await ana.open(f"{page}?sent={sent}")
        assert DONE not in ana.page.text
    await ana.open(f"{page}/send_message")
    await ana.send(text="Hello")
    assert "Your message was sent to Bo." in ana.text
    address = ana.page.url
    for other in (
        await signed_in(url, "client", "ana", handle),
        await signed_in(url, "freelancer", "bo", handle),
    ):
        await other.open(address)
        assert DONE not in other.page.text
    ana.browser.cookies.set("recourse-sent", "forged")
    await ana.open(address)
    assert DONE not in ana.page.text


async def test_what_was_sent_to_one_purchase_is_not_said_on_another(
    server: WorkflowEnvironment, url: str
) -> None:
    first, second = await held(server), await held(server)
    ana = await signed_in(url, "client", "ana", first)
    await ana.sign_in("client", "ana", second, "send_message")
    await ana.send(text="Hello")
    assert DONE in ana.page.text
    query = urlsplit(ana.page.url).query
    await ana.open(f"/purchases/{purchase_of(first)}?{query}")
    assert ana.page.status_code == 200
    assert DONE not in ana.page.text


@pytest.mark.parametrize(
    ("locale", "words"),
    [
        (
            "en_GB",
            "Your refund request was sent to Bo. Bo can answer until LATER. Without an answer: "
            "all of the money goes back to you.",
        ),
        (
            "de_DE",
            "Ihr Erstattungsantrag ist abgeschickt an Bo. Bo kann bis LATER antworten. Ohne "
            "Antwort: Das ganze Geld geht zurück an Sie.",
        ),
        (
            "pt_PT",
            "O seu pedido de reembolso foi enviado a Bo. Bo pode responder até LATER. Sem "
            "resposta: todo o dinheiro volta para a sua conta.",
        ),
    ],
)
async def test_a_sent_request_says_who_must_answer_until_when_and_what_happens_otherwise(
    server: WorkflowEnvironment, url: str, locale: str, words: str
) -> None:
    handle = await german(server, locale)
    await send(handle, Role.CLIENT, "submit_requirements", requirements="A lighthouse.")
    ana = await signed_in(url, "client", "ana", handle, "cancel")
    await ana.send()
    await ana.send()
    pattern = re.escape(words).replace("LATER", LATER)
    assert re.search(pattern, ana.text), ana.text


async def test_a_request_without_requirements_names_the_earlier_deadline_of_both(
    server: WorkflowEnvironment, url: str
) -> None:
    """R-11 refunds everything in two days, also while the freelancer has seven."""
    handle = await held(server)
    (due,) = [each.at for each in (await status(handle)).deadlines if each.name == "requirements"]
    ana = await signed_in(url, "client", "ana", handle, "cancel")
    await ana.send()
    assert "then has" not in ana.text
    before = re.search(r"Bo can answer until (.*?)\. Without an answer: (.*?)\.", ana.text)
    await ana.send()
    after = re.search(r"Bo can answer until (.*?)\. Without an answer: (.*?)\.", ana.text)
    assert before
    assert after
    assert before.groups() == after.groups()
    assert f"{due.day} {due:%b} {due.year}" in after[1]
    assert after[2] == "the project is cancelled and all of the money goes back to you"


async def test_a_request_before_the_payment_does_not_take_its_deadline_for_an_answers(
    server: WorkflowEnvironment, url: str
) -> None:
    """The payment is due first: what happens then does not depend on the freelancer's answer."""
    handle = await start(server.client, purchase("pm_sandbox_needs_client"))
    await until(handle, lambda found: found.timeline[-1].transition == "payment_needs_client")
    ana = await signed_in(url, "client", "ana", handle, "cancel")
    await ana.send()
    await ana.send()
    assert "Your refund request was sent to Bo. If nobody acts by" in ana.text
    assert "Bo can answer until" not in ana.text


async def test_after_a_settlement_nobody_has_to_act(server: WorkflowEnvironment, url: str) -> None:
    """The money is on its way, and staff look after it."""
    handle = await held(server)
    await send(handle, Role.CLIENT, "cancel")
    bo = await signed_in(url, "freelancer", "bo", handle, "approve_refund")
    await bo.send()
    await bo.send()
    assert "You have approved the refund." in bo.text
    done = bo.text.split("You have approved the refund.")[1][:300]
    assert "can answer" not in done
    found = await until(handle, lambda found: found.stage == "settling" and bool(found.deadlines))
    bo.browser.headers["Accept"] = "text/html"
    await bo.open(bo.page.url)
    assert found.deadlines[0].name == "settlement"
    assert "The refund should arrive by" in bo.text
    assert f"If nothing is reported by then: {found.deadlines[0].then}." in bo.text


# --- sent once


async def test_the_page_that_asks_to_check_is_shown_again_by_its_address(
    server: WorkflowEnvironment, url: str
) -> None:
    """So that the back button sends nothing, and finds what was sent."""
    handle = await held(server)
    ana = await signed_in(url, "client", "ana", handle, "cancel")
    await ana.send(reason="My plans.")
    check = ana.page.url
    assert urlsplit(check).path.endswith("/cancel/check")
    assert [each.status_code for each in ana.page.history] == [303]
    assert "plans" not in check, "nobody reads it in a log"
    form = ana.html.forms[-1]
    await ana.send()
    before = (await status(handle)).timeline
    await ana.open(check)
    assert "You sent this a moment ago." in ana.text
    assert form.action not in {each.action for each in ana.html.forms}
    await ana.post(form.action, form.fields)
    assert "Your refund request was sent" in ana.text
    assert (await status(handle)).timeline == before


async def test_the_same_message_is_not_sent_twice_by_mistake(
    server: WorkflowEnvironment, url: str
) -> None:
    """Back, and Send: the page asks first. Another text is another message."""
    handle = await held(server)
    before = len((await status(handle)).timeline)
    ana = await signed_in(url, "client", "ana", handle, "send_message")
    form = ana.page.url
    await ana.send(text="Hello Bo")
    await ana.open(form)
    await ana.send(text="Hello Bo")
    assert "You sent this a moment ago." in ana.text
    assert len((await status(handle)).timeline) == before + 1
    await ana.send()
    assert "Your message was sent to Bo." in ana.text
    await ana.open(form)
    await ana.send(text="Are you there?")
    assert len((await status(handle)).timeline) == before + 3, "twice on purpose, and another"


async def test_a_draft_can_be_changed_and_survives_a_restart_and_another_session(
    server: WorkflowEnvironment, worker: object
) -> None:
    """It is in the address, and opens for its person, purchase and form only."""
    handle, other = await held(server), await held(server)
    settings = WorkroomSettings.from_environment({"RECOURSE_LINK_KEYS": f"k2:{SECRET}-2"})
    with serving(workroom(server.client, settings)) as url:
        ana = await signed_in(url, "client", "ana", handle, "propose_split")
        await ana.send(refund="100.00", note="Fair?")
        check = urlsplit(ana.page.url)
    rotated = f"k3:{SECRET}-3,k2:{SECRET}-2,k1:{SECRET}"
    settings = WorkroomSettings.from_environment({"RECOURSE_LINK_KEYS": rotated})
    with serving(workroom(server.client, settings)) as url:
        ana = await signed_in(url, "client", "ana", handle)
        await ana.open(f"{check.path}?{check.query}")
        assert "US$100.00 goes back to you" in ana.text
        (change,) = [each for each in ana.html.links if "draft=" in each]
        await ana.open(change)
        assert ana.html.forms[-1].fields["note"] == "Fair?"
        assert ana.html.forms[-1].fields["refund"] == "100.00"

        base = f"/purchases/{purchase_of(handle)}"
        bo = await signed_in(url, "freelancer", "bo", handle)
        await bo.open(f"{base}/propose_split/check?{check.query}")
        assert bo.page.url == f"{url}{base}/propose_split", "an empty form"
        assert "Fair?" not in bo.page.text
        await ana.open(f"{base}/cancel/check?{check.query}")
        assert ana.page.url == f"{url}{base}/cancel"
        await ana.sign_in("client", "ana", other)
        await ana.open(f"/purchases/{purchase_of(other)}/propose_split?{check.query}")
        assert "Fair?" not in ana.page.text
        sealed = parse_qs(check.query)["draft"][0]
        for draft in ("x", "", sealed[:-9], "A" + sealed[1:], "A" * 7_000, "%F0%9F%98%80"):
            await ana.open(f"{base}/propose_split/check?draft={draft}")
            assert ana.page.url == f"{url}{base}/propose_split", draft[:20]


async def test_a_text_that_fits_in_no_address_is_checked_and_sent_as_well(
    server: WorkflowEnvironment, url: str
) -> None:
    """The longest text that a message may have, of letters that compress badly."""
    handle = await held(server)
    text = "".join(chr(0x4E00 + number * 7919 % 20_000) for number in range(4_000))
    ana = await signed_in(url, "client", "ana", handle, "cancel")
    await ana.send(reason=text)
    assert ana.page.status_code == 200
    assert "Check before sending" in ana.text
    await ana.send()
    assert (await status(handle)).stage == "refund_requested"


# --- amounts


async def test_the_check_shows_amounts_as_they_were_understood(
    server: WorkflowEnvironment, url: str
) -> None:
    handle = await german(server)
    await send(handle, Role.CLIENT, "cancel")
    bo = await signed_in(url, "freelancer", "bo", handle, "decline_refund")
    await bo.send(claim="EUR 100,5")
    assert "Wie viel fordern Sie?100,50\xa0€" in bo.text.replace(" €", "\xa0€")
    await bo.open(f"/purchases/{purchase_of(handle)}/decline_refund")
    await bo.send(claim="")
    assert "Schreiben Sie, wie viel Sie fordern" in bo.text
    await bo.send(claim="0")
    assert bo.page.status_code == 422
    assert "Wenn Sie nichts fordern, bewilligen Sie die Erstattung" in bo.text
    await bo.send(claim="250,01 €")
    assert "Sie können höchstens 250,00 € fordern" in bo.text


async def test_money_that_a_bank_has_is_promised_to_nobody(
    server: WorkflowEnvironment, services: Services, url: str
) -> None:
    """Form and check say where it is."""
    handle = await held(server)
    assert isinstance(services.provider, SandboxProvider)
    event = Happens(SandboxEvent.DISPUTE_OPENED)
    await happen(server.client, services.provider, purchase_of(handle), event)
    await until(handle, lambda found: found.frozen is not None)
    for role, person, whose in (("client", "ana", "Your"), ("freelancer", "bo", "Ana's")):
        visitor = await signed_in(url, role, person, handle, "propose_split")
        counts = f"{whose} bank has this money now. This counts only if the bank gives it back."
        assert counts in visitor.text
        await visitor.send(refund="100.00")
        assert "/check" in visitor.page.url
        assert counts in visitor.text
        assert "$150.00" in visitor.text, "the rest of what will be divided"
    await handle.terminate("seen")


# --- what a form says


async def test_the_check_of_a_cancellation_says_what_happens_then(
    server: WorkflowEnvironment, url: str
) -> None:
    """By the purchase's own policy."""
    for silence, otherwise in (
        ("refund", "all of the money goes back to you"),
        ("resume", "the request lapses and the project goes on"),
    ):
        policy = {
            "refund_decision_window": timedelta(days=3),
            "refund_decision_silence": silence,
        }
        handle = await held(server, policy=policy)
        await send(handle, Role.CLIENT, "submit_requirements", requirements="A lighthouse.")
        ana = await signed_in(url, "client", "ana", handle, "cancel")
        assert f"/purchases/{purchase_of(handle)}/send_message" in ana.html.links
        await ana.send()
        assert "<h1>Cancel Contract</h1>" in ana.page.text
        assert "A refund is not guaranteed" in ana.text
        assert f"Bo then has 3 days to answer. Without an answer: {otherwise}." in ana.text


async def test_the_check_of_a_claim_says_how_long_the_client_has(
    server: WorkflowEnvironment, url: str
) -> None:
    handle = await held(server)
    await send(handle, Role.CLIENT, "submit_requirements", requirements="A lighthouse.")
    await send(handle, Role.CLIENT, "cancel")
    bo = await signed_in(url, "freelancer", "bo", handle, "decline_refund")
    await bo.send(claim="100")
    assert (
        "Ana then has five business days to answer. Without an answer: the claim is paid: $150.00 "
        "goes back to Ana and $100.00 goes to you." in bo.text
    )
    await bo.send()
    ana = await signed_in(url, "client", "ana", handle, "withdraw_cancellation")
    await ana.send()
    assert "The work goes on where it was." in ana.text
    await ana.open(f"/purchases/{purchase_of(handle)}/accept_claim")
    assert "US$150.00 goes back to you and US$100.00 goes to Bo." in ana.text
    await ana.open(f"/purchases/{purchase_of(handle)}/open_dispute")
    await ana.send(reason="Nothing came.")
    assert "The mediator then has 30 days to answer." in ana.text


async def test_the_check_of_a_withdrawal_counts_on_where_the_deadline_was(
    server: WorkflowEnvironment, url: str
) -> None:
    """The purchase itself knows what it goes back to, and how much of the 14 days is left."""
    handle = await held(server)
    await send(handle, Role.CLIENT, "submit_requirements", requirements="A lighthouse.")
    await send(handle, Role.FREELANCER, "deliver")
    await send(handle, Role.CLIENT, "cancel")
    ana = await signed_in(url, "client", "ana", handle, "withdraw_cancellation")
    await ana.send()
    until = r"You can answer until \S*\d.* Without an answer: the delivery counts as accepted"
    assert re.search(until, ana.text)
    assert "14 days" not in ana.text


# --- what went wrong


async def test_a_text_is_not_lost_when_the_session_ends(
    server: WorkflowEnvironment, url: str
) -> None:
    """Only one that was written into a page of ours: nobody else makes this page say something."""
    handle = await held(server)
    ana = await signed_in(url, "client", "ana", handle, "send_message")
    form = ana.html.forms[-1]
    typed = {**form.fields, "text": "A long letter\nto Bo"}
    late = await Visitor(url).post(form.action, typed)
    assert late.page.status_code == 401
    assert "A long letter\nto Bo" in late.page.text.replace("\u2068", "").replace("\u2069", "")
    anew = await signed_in(url, "client", "ana", handle)
    await anew.post(form.action, typed)
    assert anew.page.status_code == 403
    assert "A long letter to Bo" in anew.text
    for forged in ({"text": "Pay here"}, {"token": "x", "text": "Pay here"}):
        thief = await Visitor(url).post(form.action, forged)
        assert "Pay here" not in thief.page.text
    other = await Visitor(url).post("/purchases/other/send_message", typed)
    assert "letter" not in other.page.text


async def test_an_unknown_address_keeps_the_navigation(
    server: WorkflowEnvironment, url: str
) -> None:
    handle = await german(server)
    ana = await signed_in(url, "client", "ana", handle)
    ana.browser.headers["Accept"] = "text/html"
    await ana.open("/purchases/x/y/z/nothing")
    assert ana.page.status_code == 404
    assert "Nicht gefunden" in ana.text
    assert "/" in ana.html.links


async def test_an_old_link_to_a_form_leads_to_the_purchase_and_says_why(
    server: WorkflowEnvironment, url: str
) -> None:
    handle = await german(server, "pt_PT")
    ana = await signed_in(url, "client", "ana", handle, "accept_claim")
    assert urlsplit(ana.page.url).path == f"/purchases/{purchase_of(handle)}"
    assert "Não é possível agora: Aceitar o pedido de pagamento. Isto não" in ana.text
    await ana.open(f"/purchases/{purchase_of(handle)}?not=cancel")
    assert "Não é possível agora" not in ana.text, "it is possible"
