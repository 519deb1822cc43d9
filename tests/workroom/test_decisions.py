"""What a person sees where there is something to decide: what waits, until when, and why."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from temporalio.testing import WorkflowEnvironment

from activities.notices.formats import reader
from activities.payments.sandbox import SandboxProvider
from activities.payments.sandbox_events import SandboxEvent
from activities.requests import Party
from activities.services import Services
from demo.runner import Handle, happen, send, skip, start, until
from demo.scenarios import Happens
from tests.purchases import held, purchase, purchase_of
from tests.workroom.test_pages import listed
from tests.workroom.visitor import Visitor, signed_in
from workflows.messages import Role

ENGLISH = re.compile(r"\b(the|freelancer|client|proposed|by)\b")
BUTTON = re.compile(r'<a class="button( second| danger)?" href="/purchases/[^/"]+/(\w+)"')


async def claimed(server: WorkflowEnvironment, **changed: object) -> Handle:
    """A purchase whose client has to answer a claim, while the freelancer could still cancel."""
    handle = await held(server, **changed)
    await send(handle, Role.CLIENT, "submit_requirements", requirements="A lighthouse.")
    await send(handle, Role.CLIENT, "cancel", reason="My plans have changed.")
    note = "Half of it is done."
    await send(handle, Role.FREELANCER, "decide_refund", decision="decline", note=note)
    await until(handle, lambda found: "claim" in {each.name for each in found.deadlines})
    return handle


async def jobs_with(visitor: Visitor, handle: Handle, text: str) -> Visitor:
    """Open Jobs until the purchase's row has this: the server lists a change soon after it."""
    await listed(visitor, f"/?search={purchase_of(handle)}", f"/purchases/{purchase_of(handle)}")
    while text not in visitor.text:
        await visitor.open(f"/?search={purchase_of(handle)}")
    return visitor


@pytest.mark.parametrize(("role", "person"), [("client", "ana"), ("operator", "op-1")])
async def test_jobs_show_the_deadline_of_the_claim(
    server: WorkflowEnvironment, url: str, role: str, person: str
) -> None:
    """Not the freelancer's cancel window, which ends before. The page has it first."""
    handle = await claimed(server)
    visitor = await signed_in(url, role, person)
    await jobs_with(visitor, handle, "If nobody acts by then: the claim is paid")
    assert "can no longer cancel" not in visitor.text
    await visitor.open(f"/purchases/{purchase_of(handle)}")
    first, _, others = visitor.text.partition("If nobody acts by then: the claim is paid")
    assert "can no longer cancel" not in first
    assert re.search(r"If nobody acts by \S* ?\d.*: \S+ .*can no longer cancel, only give", others)


@pytest.mark.parametrize("locale", ["de_DE", "pt_PT"])
async def test_no_english_word_is_in_the_rows_of_others(
    server: WorkflowEnvironment, url: str, locale: str
) -> None:
    """The sentence about the deadline has the other side's name; so has the offer."""
    ana = {"id": "ana", "name": "Ana", "email": "ana@example.com", "locale": locale}
    bo = {"id": "bo", "name": "Bo", "email": "bo@example.com", "locale": locale}
    handle = await held(server, title="Logo", client=ana, freelancer=bo)
    await send(handle, Role.CLIENT, "submit_requirements", requirements="Farol")
    await send(handle, Role.FREELANCER, "propose_split", refund=10_000)
    visitor = await signed_in(url, "client", "ana", handle)
    text = {"de_DE": "Bo hat eine Aufteilung", "pt_PT": "Bo propôs uma divisão"}[locale]
    row = (await jobs_with(visitor, handle, text)).page.text.partition("<tbody>")[2]
    assert not ENGLISH.search(re.sub(r"<[^>]*>", " ", row))
    other_side = {"de_DE": "Bo kann nicht mehr stornieren", "pt_PT": "Bo já não pode cancelar"}
    assert other_side[locale] in visitor.text


async def test_a_frozen_purchase_says_so_first(
    server: WorkflowEnvironment, services: Services, url: str
) -> None:
    """In its stage line and under Jobs; the client reads that cancelling still works."""
    assert isinstance(services.provider, SandboxProvider)
    handle = await held(server)
    bank = Happens(SandboxEvent.DISPUTE_OPENED)
    await happen(server.client, services.provider, purchase_of(handle), bank)
    ana = await signed_in(url, "client", "ana", handle)
    says = "Frozen: the bank is looking into the payment"
    assert f"<strong>{says}</strong>" in ana.page.text
    possible = f"/purchases/{purchase_of(handle)}/cancel" in ana.html.links
    assert ("split offers and cancelling still work" in ana.text) is possible
    await jobs_with(ana, handle, says)
    await handle.terminate("seen")


async def test_the_reason_is_where_one_decides(server: WorkflowEnvironment, url: str) -> None:
    handle = await held(server)
    await send(handle, Role.CLIENT, "cancel", reason="My <b>plans</b> have changed.")
    bo = await signed_in(url, "freelancer", "bo", handle)
    reason, _, _ = bo.text.partition("What you can do now")
    assert "Ana wrote: My <b>plans</b> have changed." in reason
    await send(handle, Role.FREELANCER, "decide_refund", decision="decline", note="Half is done.")
    ana = await signed_in(url, "client", "ana", handle)
    reason, _, _ = ana.text.partition("What you can do now")
    assert "Bo wrote: (reply to the request) Half is done." in reason
    await send(handle, Role.CLIENT, "open_dispute", reason="Nothing is done.")
    mediator = await signed_in(url, "mediator", "mediator-1", handle)
    reason, _, _ = mediator.text.partition("What you can do now")
    written = ("My <b>plans</b> have changed.", "Half is done.", "Nothing is done.")
    assert [text for text in written if text in reason.partition("Dispute")[2]] == list(written)


async def test_requested_changes_are_shown_until_the_next_delivery(
    server: WorkflowEnvironment, url: str
) -> None:
    handle = await held(server)
    await send(handle, Role.CLIENT, "submit_requirements", requirements="A lighthouse.")
    await send(handle, Role.FREELANCER, "deliver", note="It is in the folder.")
    await send(handle, Role.CLIENT, "request_changes", note="The sea is missing.")
    bo = await signed_in(url, "freelancer", "bo", handle)
    assert "Requested changes Ana wrote: The sea is missing." in bo.text
    await send(handle, Role.FREELANCER, "deliver", note="With the sea.")
    ana = await signed_in(url, "client", "ana", handle)
    assert "Delivery Bo wrote: With the sea." in ana.text
    assert "The sea is missing." not in ana.text


async def test_two_buttons_that_do_the_same_are_one(server: WorkflowEnvironment, url: str) -> None:
    """The freelancer cancels, approves or gives the money back: all of it goes back."""
    handle = await held(server)
    path = f"/purchases/{purchase_of(handle)}"
    same = {f"{path}/{form}" for form in ("cancel", "approve_refund", "give_refund")}
    bo = await signed_in(url, "freelancer", "bo", handle)
    assert same & set(bo.html.links) == {f"{path}/cancel"}
    await bo.open(f"{path}/give_refund")
    assert "Give all of the money back" in bo.text, "a link to the other form still works"
    await send(handle, Role.CLIENT, "cancel")
    await bo.open(path)
    assert same & set(bo.html.links) == {f"{path}/approve_refund"}


async def test_staff_read_who_has_acted(server: WorkflowEnvironment, url: str) -> None:
    """By role and id; the parties read names only."""
    handle = await claimed(server)
    await send(handle, Role.CLIENT, "open_dispute", reason="Nothing is done.")
    mediator = await signed_in(url, "mediator", "mediator-7", handle, "resolve_dispute")
    await mediator.send(refund="100.00")
    await mediator.send()
    assert "(mediator mediator-7)" in mediator.text
    assert "Ana opened a dispute about the $250.00 in escrow. (client ana)" in mediator.text
    ana = await signed_in(url, "client", "ana", handle)
    assert "mediator-7" not in ana.text


async def test_a_page_names_the_city_and_not_the_zone(
    server: WorkflowEnvironment, url: str
) -> None:
    """Also in the sentence about what comes next."""
    handle = await held(server)
    ana = await signed_in(url, "client", "ana", handle, "cancel")
    await ana.send()
    await ana.send()
    assert re.search(r"Bo can answer until [^:]*:\d\d\S* \(\S*Lisbon\S*\)\.", ana.text)
    assert "Europe/" not in ana.text


async def test_nobody_can_act_while_a_refund_is_on_its_way(
    server: WorkflowEnvironment, url: str
) -> None:
    """So the page does not ask who acts; and a closed purchase waits for nobody."""
    handle = await held(server)
    await send(handle, Role.FREELANCER, "give_refund")
    await until(handle, lambda found: found.escrow.in_transit > 0 and bool(found.deadlines))
    ana = await signed_in(url, "client", "ana", handle)
    assert "$250.00 being refunded" in ana.text
    assert "If nothing is reported by then: our staff looks into it" in ana.text
    assert "If nobody acts" not in ana.text


async def test_a_declined_payment_is_reported_in_the_readers_amounts(
    server: WorkflowEnvironment, url: str
) -> None:
    """And its row under Closed has no empty columns."""
    handle = await start(server.client, purchase("pm_sandbox_declined"))
    await handle.result()
    ana = await signed_in(url, "client", "ana", handle)
    assert "declined your payment of US$250.00 (" in ana.text
    assert "Closed: payment declined The money" in ana.text
    path = f"/purchases/{purchase_of(handle)}"
    await listed(ana, f"/?closed=yes&search={purchase_of(handle)}", path)
    assert "Closed: payment declined" in ana.text
    assert "Waiting for" not in ana.text


async def test_requirements_are_shown_as_people_write_them(
    server: WorkflowEnvironment, url: str
) -> None:
    """Without the signs of JSON, and as text."""
    handle = await held(server)
    given = {"subject": "a <b>lighthouse</b>", "colours": ["blue", "white"], "copies": 3}
    await send(handle, Role.CLIENT, "submit_requirements", requirements=given)
    bo = await signed_in(url, "freelancer", "bo", handle)
    shown = re.findall("<d[td][^>]*>([^<]*)</d[td]>", bo.page.text.partition('"requirements"')[2])
    assert shown == [
        *("subject", "a &lt;b&gt;lighthouse&lt;/b&gt;"),
        *("colours", "blue\nwhite"),
        *("copies", "3"),
    ]


async def test_the_expected_button_is_the_only_primary_one(
    server: WorkflowEnvironment, url: str
) -> None:
    """Send the requirements, accept the delivery, answer request and claim: each in its stage. The
    freelancer's Cancel Contract is gone where it does what approving does."""
    handle = await held(server)
    ana = await signed_in(url, "client", "ana", handle)
    bo = await signed_in(url, "freelancer", "bo", handle)
    await expects(ana, handle, "submit_requirements")
    await send(handle, Role.CLIENT, "submit_requirements", requirements="A lighthouse.")
    await expects(bo, handle, "deliver")
    assert f"/purchases/{purchase_of(handle)}/cancel" in bo.html.links
    await expects(ana, handle, None)
    await send(handle, Role.FREELANCER, "propose_split", refund=10_000)
    await expects(ana, handle, "accept_split")
    assert "Bo proposed a split, and you can accept it." in ana.text.partition("The money")[0]
    await send(handle, Role.FREELANCER, "deliver")
    await expects(ana, handle, "accept_delivery")
    await send(handle, Role.CLIENT, "cancel")
    await expects(bo, handle, "approve_refund")
    assert f"/purchases/{purchase_of(handle)}/cancel" not in bo.html.links
    await expects(ana, handle, "accept_split")
    await send(handle, Role.FREELANCER, "decide_refund", decision="decline")
    await expects(ana, handle, "accept_claim")


async def expects(visitor: Visitor, handle: Handle, form: str | None) -> None:
    """The page's first button is this form's, and no other is primary."""
    await visitor.open(f"/purchases/{purchase_of(handle)}")
    _, _, actions = visitor.page.text.partition('id="actions"')
    buttons = BUTTON.findall(actions)
    assert [path for kind, path in buttons if not kind] == ([form] if form else [])
    assert form is None or buttons[0][1] == form


async def test_only_what_has_a_reason_is_listed_as_impossible(
    server: WorkflowEnvironment, url: str
) -> None:
    handle = await held(server)
    ana = await signed_in(url, "client", "ana", handle)
    assert "This is not possible at this point of the purchase." not in ana.text
    assert "There is no offer to accept." in ana.text


async def test_messages_say_what_they_are_and_can_be_answered(
    server: WorkflowEnvironment, url: str
) -> None:
    handle = await claimed(server)
    ana = await signed_in(url, "client", "ana", handle)
    await ana.open(f"/purchases/{purchase_of(handle)}/messages")
    assert "· reason for cancelling My plans have changed." in ana.text
    assert "· reply to the request Half of it is done." in ana.text
    await ana.open(f"/purchases/{purchase_of(handle)}/send_message")
    assert "/sign-out" in [each.action for each in ana.html.forms], "forms can be left, too"
    await ana.send(text="Hello")
    await ana.open(f"/purchases/{purchase_of(handle)}/messages")
    assert f"/purchases/{purchase_of(handle)}/send_message" in ana.html.links
    assert "· message Hello" in ana.text


async def test_a_session_of_one_link_says_that_it_shows_no_other_purchase(
    server: WorkflowEnvironment, url: str
) -> None:
    """And the person is called by name, the other side and the price are in the row."""
    handle = await held(server)
    ana = await signed_in(url, "client", "ana", handle)
    await listed(ana, "/", f"/purchases/{purchase_of(handle)}")
    assert "Only purchases whose links you have opened are shown here." in ana.text
    assert f"US$250.00 · Bo · {purchase_of(handle)}" in ana.text
    assert f"Purchase number, such as {purchase_of(handle)}" in ana.text
    assert "Ana (client)" in ana.text
    await ana.sign_in("client", "ana", None)
    await ana.open("/")
    assert "Only purchases whose links" not in ana.text


async def test_staff_read_amounts_alike_everywhere(server: WorkflowEnvironment, url: str) -> None:
    """A refund that was not sent yet is called so."""
    handle = await held(server)
    await send(handle, Role.FREELANCER, "give_refund")
    staff = await signed_in(url, "operator", "op-1", handle)
    assert "250.00 USD" not in staff.text
    assert "unsent" not in staff.text
    await skip(server, handle, timedelta(days=10))


@pytest.mark.parametrize(
    ("locale", "zone", "at", "short", "place"),
    [
        ("en_US", "America/New_York", (2026, 12, 5, 5), "Dec 4, 2026, end of the day", "New York"),
        ("de_DE", "Europe/Lisbon", (2026, 12, 5, 0), "04.12.2026, Ende des Tages", "Lissabon"),
        ("pt_PT", "Europe/Lisbon", (2026, 12, 5, 1), "05/12/2026, 01:00", "Lisboa"),
        ("en_US", "UTC", (2026, 12, 5, 0), "Dec 4, 2026, end of the day", "UTC"),
        ("en_US", "America/Argentina/Buenos_Aires", (2026, 12, 5, 3), "Dec 4", "Buenos Aires"),
    ],
)
def test_a_page_names_one_day_for_one_moment(
    locale: str, zone: str, at: tuple[int, int, int, int], short: str, place: str
) -> None:
    """Midnight belongs to the day that it ends; zones are called by their city."""
    own = reader(Party(id="x", name="X", email="x@example.com", locale=locale, timezone=zone))
    found = own.short(datetime(*at, tzinfo=UTC)).strip("\u2066\u2067\u2068\u2069")
    assert short in re.sub("[\u2066-\u2069]", "", found)
    assert place in own.place
