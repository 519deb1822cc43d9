"""Links, sessions and forms: forged, edited, expired and borrowed ones open and send nothing."""

import asyncio
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
import requests
from starlette.responses import Response
from temporalio.testing import WorkflowEnvironment

from activities.links import Expired, LinkKeys, NotSigned, Person, Purpose, from_now, link
from demo.runner import status
from tests.notices.mailbox import quiet
from tests.purchases import held, purchase_of
from tests.stripe.serving import serving
from tests.workroom.callers import SECRET
from tests.workroom.test_tokens import encoded
from tests.workroom.visitor import KEYS, Visitor, signed_in
from workflows.messages import Sender
from workroom.server import workroom
from workroom.sessions import Session, Sessions
from workroom.settings import WorkroomSettings

HOUR = timedelta(hours=1)
ANA = Person("client", "ana")
OLD = LinkKeys.parse(f"k1:{SECRET}")
"""As before the newer key was set."""


async def opened(url: str, address: str) -> requests.Response:
    """What a browser gets for a link, before it follows a redirect."""
    return await asyncio.to_thread(requests.get, address, timeout=10, allow_redirects=False)


async def test_a_link_opens_a_session_and_does_nothing_else(
    server: WorkflowEnvironment, url: str
) -> None:
    """Mail scanners fetch links."""
    handle = await held(server)
    await quiet(handle)
    purchase_id = purchase_of(handle)
    before = (await handle.describe()).history_length
    answer = await opened(url, link(KEYS, url, ANA, from_now(HOUR), purchase_id, "cancel"))
    assert (answer.status_code, answer.headers["location"]) == (
        303,
        f"/purchases/{purchase_id}/cancel",
    )
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert (await handle.describe()).history_length == before


async def test_a_link_of_the_key_before_still_opens_and_of_a_removed_one_no_more(url: str) -> None:
    """Removing a key from the setting revokes its links and sessions."""
    until = from_now(HOUR)
    assert (await opened(url, link(OLD, url, ANA, until, "p-1"))).status_code == 303
    removed = LinkKeys.parse(f"k0:{SECRET}-0")
    assert (await opened(url, link(removed, url, ANA, until, "p-1"))).status_code == 401
    renamed = LinkKeys.parse(f"k1:{SECRET}-0")
    assert (await opened(url, link(renamed, url, ANA, until, "p-1"))).status_code == 401


def _edited(text: str, at: int) -> str:
    changed = "B" if text[at] != "B" else "C"
    return text[:at] + changed + text[at + 1 :]


async def test_an_expired_or_edited_link_opens_nothing(url: str) -> None:
    good = link(KEYS, url, ANA, from_now(HOUR), "p-1")
    late = await opened(url, link(KEYS, url, ANA, from_now(-HOUR), "p-1"))
    assert late.status_code == 401
    assert "This link has expired. Open the link in the newest mail" in late.text
    start = len(f"{url}/open/")
    for at in range(start, len(good) - 1, 7):
        answer = await opened(url, _edited(good, at))
        assert answer.status_code == 401, at
        assert "set-cookie" not in answer.headers
    _, claims, _ = good.rpartition("/")[2].split(".")
    unsigned = f"{encoded({'alg': 'none', 'kid': 'k2'})}.{claims}."
    assert (await opened(url, f"{url}/open/{unsigned}")).status_code == 401


async def test_a_session_or_a_form_is_no_link_and_a_link_no_session(
    server: WorkflowEnvironment, url: str
) -> None:
    """What is signed for one purpose counts for no other."""
    handle = await held(server)
    ana = await signed_in(url, "client", "ana", handle, "cancel")
    for text in (ana.browser.cookies["recourse"], ana.html.forms[-1].fields["token"]):
        assert (await opened(url, f"{url}/open/{text}")).status_code == 401
    thief = Visitor(url)
    token = link(KEYS, "", ANA, from_now(HOUR), purchase_of(handle)).rpartition("/")[2]
    thief.browser.cookies.set("recourse", token)
    assert (await thief.open("/")).page.status_code == 401


@pytest.mark.parametrize(
    "form",
    ["https://evil.example.com", "//evil.example.com", "../../x", "nothing", "resolve_dispute"],
)
async def test_a_link_leads_to_our_own_forms_only(url: str, form: str) -> None:
    """No open redirect, even with a good signature."""
    answer = await opened(url, link(KEYS, url, ANA, from_now(HOUR), "p/../x", form))
    assert answer.headers["location"] == "/purchases/p%2F..%2Fx"


async def test_somebody_elses_purchase_stays_closed(server: WorkflowEnvironment, url: str) -> None:
    """With a link to another purchase, under another id, and in the other role."""
    mine, theirs = await held(server), await held(server)
    path = f"/purchases/{purchase_of(theirs)}"
    visitors = []
    for role, person, purchase_id in (
        ("client", "ana", purchase_of(mine)),
        ("client", "eve", purchase_of(theirs)),
        ("client", "bo", purchase_of(theirs)),
        ("freelancer", "ana", purchase_of(theirs)),
        ("client", "eve", None),
    ):
        visitor = await signed_in(url, role, person, purchase_id)
        visitors.append(visitor)
    for visitor in visitors:
        for page in (path, f"{path}/cancel", "/purchases/never-bought"):
            assert (await visitor.open(page)).page.status_code == 403
        pages = [(await visitor.open(each)).page.text for each in (path, "/purchases/never-bought")]
        assert pages[0] == pages[1], "alike, whether it exists or not"


async def test_nobody_is_signed_in_without_a_session(url: str) -> None:
    for path in ("/", "/staff", "/purchases/p-1", "/purchases/p-1/cancel"):
        visitor = await Visitor(url).open(path)
        assert visitor.page.status_code == 401
        assert "Open the link in the newest mail" in visitor.text


async def test_a_form_of_another_page_session_or_purchase_sends_nothing(
    server: WorkflowEnvironment, url: str
) -> None:
    """CSRF: a page of another origin has no token; a token fits one form of one session."""
    handle, other = await held(server), await held(server)
    path = f"/purchases/{purchase_of(handle)}/send_message"
    ana = await signed_in(url, "client", "ana", other, "send_message")
    of_another_purchase = ana.html.forms[-1].fields["token"]
    await ana.sign_in("client", "ana", handle, "cancel")
    of_another_form = ana.html.forms[-1].fields["token"]
    second = await signed_in(url, "client", "ana", handle, "send_message")
    of_another_session = second.html.forms[-1].fields["token"]
    before = (await status(handle)).timeline
    cookie = str(ana.browser.cookies["recourse"])
    for token in ("", "x", cookie, of_another_purchase, of_another_form, of_another_session):
        await ana.post(path, {"token": token, "text": "Hello", "confirmed": "yes"})
        assert ana.page.status_code == 403
        assert "Nothing was sent" in ana.text
    await ana.post(path, {"text": "Hello"})
    assert ana.page.status_code == 403
    assert (await status(handle)).timeline == before


async def test_a_form_survives_a_restart_of_the_server(server: WorkflowEnvironment) -> None:
    """Between form and confirmation: everything that it needs is signed in the page."""
    handle = await held(server)
    settings = WorkroomSettings.from_environment(
        {"RECOURSE_LINK_KEYS": f"k2:{SECRET}-2,k1:{SECRET}"}
    )
    ana = Visitor("")
    for step in range(2):
        with serving(workroom(server.client, settings)) as url:
            ana.url = url
            if step == 0:
                await ana.sign_in("client", "ana", handle, "cancel")
                await ana.send(reason="Plans")
                form = ana.html.forms[-1]
            else:
                await ana.post(form.action, form.fields)
    assert (await status(handle)).stage == "refund_requested"


async def test_signing_out_needs_its_form_and_ends_the_session(url: str) -> None:
    ana = await signed_in(url, "client", "ana")
    await Visitor(url, ana.browser).post("/sign-out", {"token": "x"})
    assert (await ana.open("/")).page.status_code == 200
    await ana.press("/sign-out")
    assert "You have signed out" in ana.text
    assert (await ana.open("/")).page.status_code == 401


async def test_every_page_has_the_headers_that_protect_it(url: str) -> None:
    """Also one that failed."""
    ana = await signed_in(url, "client", "ana")
    for page in (ana.page, (await Visitor(url).open("/")).page):
        policy = page.headers["content-security-policy"]
        for part in ("default-src 'none'", "frame-ancestors 'none'", "form-action 'self'"):
            assert part in policy
        assert "unsafe" not in policy
        assert page.headers["cache-control"] == "no-store"
        assert page.headers["referrer-policy"] == "same-origin"
        assert page.headers["x-content-type-options"] == "nosniff"
        assert "<script" not in page.text
        assert " style=" not in page.text


OUR_SCRIPT = '<script src="/workroom.js" defer></script>'
HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>{{1234*5678}}\u202e"


async def test_text_of_other_people_is_text_on_every_page(
    server: WorkflowEnvironment, url: str
) -> None:
    """In each field that somebody can write: no tag, no attribute, no reordering."""
    people: dict[str, Any] = {
        "client": {"id": "ana", "name": HOSTILE, "email": "ana@example.com"},
        "freelancer": {"id": "<b>bo</b>", "name": HOSTILE, "email": "bo@example.com"},
    }
    handle = await held(
        server, title=HOSTILE, purchase_id="<i>x</i>\"'&", requirements_needed=True, **people
    )
    ana = await signed_in(url, "client", "ana", handle, "submit_requirements")
    pages = [ana.page.text]
    await ana.send(requirements=HOSTILE)
    pages.append(ana.page.text)
    base = ana.page.url.partition("?")[0]
    for form, typed in (
        ("send_message", {"text": HOSTILE + "x" * 5_000}),
        ("propose_split", {"refund": HOSTILE, "note": HOSTILE}),
        ("propose_split", {"refund": "100", "note": HOSTILE}),
        ("cancel", {"reason": HOSTILE}),
    ):
        await ana.open(f"{base}/{form}")
        pages.append(ana.page.text)
        await ana.send(**typed)
        pages.append(ana.page.text)
        await ana.send()
        pages.append(ana.page.text)
    staff = await signed_in(url, "operator", HOSTILE[:5])
    search = f"/?search={quote(HOSTILE)}&stage={quote(HOSTILE)}"
    pages += [(await ana.open(path)).page.text for path in ("/", search, f"{base}/messages")]
    for path in ("/staff", f"/staff/{quote(HOSTILE)}", "/", search, base):
        pages += [(await staff.open(path)).page.text]
    for number, text in enumerate(pages):
        tags = set(Visitor(url, page=_of(text.replace(OUR_SCRIPT, ""))).html.tags)
        assert not tags & {"script", "img", "b", "i"}, number
        assert "\u202e" not in Visitor(url, page=_of(text)).html.text, number
        assert str(1234 * 5678) not in text, number


def _of(text: str) -> requests.Response:
    page = requests.Response()
    page._content, page.encoding = text.encode(), "utf-8"
    return page


# --- what is signed


def test_a_session_covers_what_was_opened_and_drops_the_oldest() -> None:
    sender = Sender.model_validate({"role": "client", "id": "ana"})
    session = Session("s", sender, ("p-0",))
    for number in range(1, 25):
        session = session.widened(f"p-{number:02}-{'😀' * 60}")
        answer = Response()
        Sessions(KEYS, secure=True).keep(answer, session)
        assert len(answer.headers["set-cookie"]) < 4_096
    assert session.covers(f"p-24-{'😀' * 60}")
    assert not session.covers("p-0")
    assert session.widened(None).covers("anything")


async def test_an_id_widens_no_list(server: WorkflowEnvironment, url: str) -> None:
    """A query of the server is made of ids that people chose."""
    other = await held(server)
    for purchase_id in (
        "x\\'OR(WorkflowType='ProjectPurchase')OR'",
        "x')OR(WorkflowType='ProjectPurchase",
        'x"OR"',
    ):
        ana = await signed_in(url, "client", "ana", purchase_id)
        await ana.open("/")
        assert ana.page.status_code == 200
        assert f"/purchases/{purchase_of(other)}" not in ana.html.links
        assert not [each for each in ana.html.links if each.startswith("/purchases/")]


def test_behind_tls_the_cookie_is_for_this_host_and_tls_only() -> None:
    sessions = Sessions(KEYS, secure=True)
    answer = Response()
    sessions.keep(answer, Session("s", Sender.model_validate({"role": "client", "id": "a"}), ()))
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-recourse=")
    assert "Secure" in cookie
    assert "Path=/" in cookie


def test_what_is_signed_counts_for_its_purpose_and_time_only() -> None:
    text = KEYS.sign("form", {"sid": "s"}, from_now(HOUR))
    assert KEYS.verify("form", text)["sid"] == "s"
    others: tuple[Purpose, ...] = ("link", "session")
    for purpose in others:
        with pytest.raises(NotSigned):
            KEYS.verify(purpose, text)
    with pytest.raises(Expired):
        KEYS.verify("form", KEYS.sign("form", {}, from_now(-HOUR)))
    for bad in ("", "x", "a.b.c", "[" * 9_000, text + "x"):
        with pytest.raises(NotSigned):
            KEYS.verify("form", bad)
