"""The pages in a real browser: without JavaScript, on a phone, by keyboard, within the policy."""

from collections.abc import AsyncIterator

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page
from temporalio.testing import WorkflowEnvironment

from activities.payments.sandbox import SandboxProvider
from activities.payments.sandbox_events import SandboxEvent
from activities.services import Services
from demo.runner import happen, send, start, status, until
from demo.scenarios import Happens
from docs.browser import browser
from tests.purchases import held, purchase, purchase_of
from tests.workroom.visitor import link_of
from workflows.messages import Role

pytestmark = pytest.mark.browser

TITLE = "<script>document.title='hacked'</script> Logo"


@pytest.fixture(scope="module")
async def chrome() -> AsyncIterator[Browser]:
    """A browser."""
    async with browser() as chrome:
        yield chrome


async def signed_in(chrome: Browser, address: str, **options: object) -> tuple[Page, list[str]]:
    """A window that has opened a link, and what the browser complains about."""
    context = await chrome.new_context(**options)  # type: ignore[arg-type]
    page = await context.new_page()
    complaints: list[str] = []
    page.on("console", lambda said: complaints.append(said.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    await page.goto(address)
    return page, complaints


@pytest.mark.parametrize(
    "options",
    [
        {"java_script_enabled": False},
        {"viewport": {"width": 360, "height": 640}, "color_scheme": "dark"},
    ],
    ids=["no JavaScript", "phone"],
)
async def test_the_article_from_the_mails_link_to_the_refund(
    server: WorkflowEnvironment, url: str, chrome: Browser, options: dict[str, object]
) -> None:
    """Ana cancels, Bo declines, Ana accepts the claim."""
    handle = await held(server, title=TITLE)
    at = link_of(url, "client", "ana", handle)
    ana, complaints = await signed_in(chrome, at, **options)
    assert await ana.title() == f"{TITLE} – Recourse"
    await ana.get_by_role("link", name="Cancel Contract").click()
    await ana.get_by_label("Why do you cancel?").fill("My plans have changed.")
    await ana.get_by_role("button", name="Continue").click()
    await ana.get_by_role("button", name="Send escrow refund request").click()
    await ana.get_by_role("status").wait_for()
    assert (await status(handle)).stage == "refund_requested"

    at = link_of(url, "freelancer", "bo", handle)
    bo, more = await signed_in(chrome, at, **options)
    await bo.get_by_role("link", name="Decline and claim").click()
    await bo.get_by_label("How much do you claim?").fill("100.00")
    await bo.get_by_role("button", name="Continue").click()
    await bo.get_by_text("If Ana accepts: $150.00 goes back to Ana and $100.00").wait_for()
    await bo.get_by_role("button", name="Decline and claim").click()
    await bo.get_by_role("status").wait_for()

    await ana.reload()
    await ana.get_by_role("link", name="Accept the claim").click()
    await ana.get_by_role("button", name="Continue").click()
    await ana.get_by_role("button", name="Accept the claim").dblclick()
    await ana.get_by_role("status").wait_for()
    await until(handle, lambda found: found.escrow.released == 10_000)
    if options.get("java_script_enabled", True):
        for page in (ana, bo):
            wide = await page.evaluate("document.documentElement.scrollWidth > innerWidth")
            assert not wide, "nothing is wider than the screen"
    assert [each for each in (*complaints, *more) if "404" not in each] == []
    await ana.context.close()
    await bo.context.close()


async def test_a_form_is_filled_in_with_the_keyboard_alone(
    server: WorkflowEnvironment, url: str, chrome: Browser
) -> None:
    """Every control is reached by Tab, the first is the way past the navigation."""
    handle = await held(server)
    at = link_of(url, "client", "ana", handle)
    page, _ = await signed_in(chrome, at)
    await page.keyboard.press("Tab")
    assert await page.evaluate("document.activeElement.textContent") == "Skip to the content"
    await page.keyboard.press("Enter")
    for _ in range(10):
        await page.keyboard.press("Tab")
        if await page.evaluate("document.activeElement.textContent") == "Cancel Contract":
            break
    await page.keyboard.press("Enter")
    await page.get_by_label("Why do you cancel?").wait_for()
    while await page.evaluate("document.activeElement.tagName") != "TEXTAREA":
        await page.keyboard.press("Tab")
    await page.keyboard.type("Plans")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await page.get_by_role("heading", name="Check before sending").wait_for()
    while not await page.evaluate("document.activeElement.matches('main button')"):
        await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await page.get_by_role("status").wait_for()
    assert (await status(handle)).stage == "refund_requested"
    await page.context.close()


async def test_an_error_is_named_at_its_field(
    server: WorkflowEnvironment, url: str, chrome: Browser
) -> None:
    """The summary has the focus and leads to the field, which is described by its error."""
    handle = await held(server)
    await send(handle, Role.CLIENT, "cancel")
    at = link_of(url, "freelancer", "bo", handle, "decline_refund")
    page, _ = await signed_in(chrome, at)
    await page.get_by_label("How much do you claim?").fill("a hundred")
    await page.get_by_role("button", name="Continue").click()
    await is_focused(page)
    await page.get_by_role("alert").get_by_role("link").click()
    described = await page.evaluate("document.activeElement.getAttribute('aria-describedby')")
    assert "claim-error" in described.split()
    assert "Enter an amount" in await page.locator("#claim-error").inner_text()
    await page.context.close()


async def test_an_answer_of_the_rules_has_the_focus(
    server: WorkflowEnvironment, url: str, chrome: Browser
) -> None:
    """The purchase has changed since the question before sending was shown."""
    handle = await held(server)
    page, _ = await signed_in(chrome, link_of(url, "client", "ana", handle, "cancel"))
    await page.get_by_role("button", name="Continue").click()
    await page.get_by_role("heading", name="Check before sending").wait_for()
    await send(handle, Role.FREELANCER, "give_refund")
    await page.get_by_role("button", name="Send escrow refund request").click()
    await is_focused(page)
    await page.context.close()


async def is_focused(page: Page) -> None:
    """The summary of what is wrong has the focus, so that it is read out first."""
    await page.locator("[role=alert]:focus").wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_pages_are_accessible(
    server: WorkflowEnvironment, url: str, chrome: Browser, scheme: str
) -> None:
    """axe finds no violation, on any page and in either colour scheme."""
    handle = await held(server)
    await send(handle, Role.CLIENT, "submit_requirements", requirements={"subject": "a lighthouse"})
    await send(handle, Role.CLIENT, "cancel")
    await send(handle, Role.FREELANCER, "decide_refund", decision="decline", claim=10_000)
    await send(handle, Role.FREELANCER, "propose_split", refund=20_000)
    page, _ = await signed_in(chrome, link_of(url, "client", "ana"), color_scheme=scheme)
    one = f"{url}/purchases/{purchase_of(handle)}"
    await check(page)
    for address in (one, f"{one}/accept_claim", f"{one}/nothing", f"{one}/propose_split"):
        await page.goto(address)
        await check(page)
    await page.get_by_label("How much").fill("much")
    await page.get_by_role("button", name="Continue").click()
    await page.get_by_role("alert").wait_for()
    await check(page)
    await page.get_by_label("How much").fill("100.00")
    await page.get_by_role("button", name="Continue").click()
    await page.get_by_role("heading", name="Check before sending").wait_for()
    await check(page)
    await page.goto(link_of(url, "operator", "op-1"))
    await check(page)
    await page.evaluate("document.documentElement.removeAttribute('lang')")
    with pytest.raises(AssertionError, match="html-has-lang"):
        await check(page)
    await page.context.close()


async def check(page: Page) -> None:
    """No rule of axe is violated."""
    found = await Axe().run(page)
    assert found.violations_count == 0, f"{page.url}\n{found.generate_report()}"


@pytest.mark.parametrize(
    ("locale", "currency", "form", "typed", "shown"),
    [
        (
            "de_DE",
            "EUR",
            ("Ablehnen und fordern", "Wie viel fordern Sie?", "Weiter"),
            "1.100,50",
            "Wenn Ana zustimmt: 399,50 € gehen an Ana zurück, 1.100,50 € gehen an Sie.",
        ),
        (
            "pt_PT",
            "EUR",
            ("Recusar e pedir pagamento", "Quanto pede?", "Continuar"),
            "1 100,50",
            "Se Ana aceitar: 399,50 € voltam para Ana e 1 100,50 € vão para o seu saldo.",
        ),
        (
            "ja_JP",
            "JPY",
            ("Decline and claim", "How much do you claim?", "Continue"),
            "110,050",
            "If Ana accepts: ￥39,950 goes back to Ana and ￥110,050 goes to you.",
        ),
    ],
    ids=["German", "Portuguese", "Japanese"],
)
async def test_amounts_are_typed_and_shown_as_the_reader_writes_them(
    server: WorkflowEnvironment,
    url: str,
    chrome: Browser,
    locale: str,
    currency: str,
    form: tuple[str, str, str],
    typed: str,
    shown: str,
) -> None:
    """With thousands and decimals; dates too, and the words where there is a catalogue."""
    title, question, button = form
    bo = {"id": "bo", "name": "Bo", "email": "bo@example.com", "locale": locale}
    handle = await held(server, price={"amount": 150_000, "currency": currency}, freelancer=bo)
    await send(handle, Role.CLIENT, "cancel")
    page, _ = await signed_in(chrome, link_of(url, "freelancer", "bo", handle))
    assert await page.locator(f"time[lang={locale.replace('_', '-')}]").count()
    await page.get_by_role("link", name=title).click()
    await page.get_by_label(question).fill(typed)
    await page.get_by_role("button", name=button).click()
    text = " ".join((await page.locator(".division").inner_text()).split())
    assert shown in "".join(each for each in text if each not in "\u2066\u2067\u2068\u2069")
    await page.context.close()


@pytest.mark.parametrize(
    ("locale", "typed"), [("de_DE", "hundert"), ("pt_PT", "cem")], ids=["German", "Portuguese"]
)
async def test_long_words_fit_on_a_small_phone(
    server: WorkflowEnvironment, url: str, chrome: Browser, locale: str, typed: str
) -> None:
    """On every page of both parties; and axe finds no violation there."""
    people = {
        role: {"id": name.lower(), "name": name, "email": "x@example.com", "locale": locale}
        for role, name in (("client", "Ana"), ("freelancer", "Bo"))
    }
    title = "Donaudampfschifffahrtsgesellschaftskapitänsbroschürenübersetzung"
    handle = await held(server, title=title, **people)
    await send(handle, Role.CLIENT, "cancel", reason=title)
    await send(handle, Role.FREELANCER, "decide_refund", decision="decline", claim=10_000)
    await send(handle, Role.FREELANCER, "propose_split", refund=20_000)
    one = f"/purchases/{purchase_of(handle)}"
    forms = {
        "client": ("accept_claim", "open_dispute", "accept_split", "withdraw_cancellation"),
        "freelancer": ("approve_refund", "give_refund", "send_message"),
    }
    for role, person in people.items():
        at = link_of(url, role, person["id"])
        page, _ = await signed_in(chrome, at, viewport={"width": 320, "height": 640})
        paths = ("/", "/?closed=yes", one, f"{one}/messages", f"{one}/nothing", f"{one}/cancel")
        for path in (*paths, *(f"{one}/{form}" for form in (*forms[role], "propose_split"))):
            await page.goto(f"{url}{path}")
            await fits(page)
            if path == one:
                await page.locator("details summary").click()
                await fits(page)
                await check(page)
        await page.locator("#refund").fill(typed)
        await page.locator("main button").click()
        await page.get_by_role("alert").wait_for()
        await fits(page)
        await page.locator("#refund").fill("100")
        await page.locator("main button").click()
        await page.locator(".division").wait_for()
        await fits(page)
        await check(page)
        await page.context.close()


async def fits(page: Page) -> None:
    """Nothing is wider than the screen, and no text is cut off."""
    over = await page.evaluate(
        """[...document.querySelectorAll("body *")].filter(one =>
            one.getBoundingClientRect().right > innerWidth + 0.5
            && !one.closest("svg, .skip, .unseen")).map(one => one.outerHTML.slice(0, 200))"""
    )
    assert over == [], page.url
    assert not await page.evaluate("document.documentElement.scrollWidth > innerWidth"), page.url


async def test_a_payment_that_the_bank_asks_about_has_a_link_to_confirm_it(
    server: WorkflowEnvironment, url: str, chrome: Browser
) -> None:
    """For the client only, for whom it is the main button."""
    handle = await start(server.client, purchase("pm_sandbox_needs_client"))
    await until(handle, lambda found: found.timeline[-1].transition == "payment_needs_client")
    for person, links in ((("client", "ana"), 1), (("freelancer", "bo"), 0)):
        page, _ = await signed_in(chrome, link_of(url, *person, handle))
        await page.get_by_role("heading", name="The payment is not confirmed yet").wait_for()
        confirm = page.get_by_role("link", name="Confirm the payment")
        assert await confirm.count() == links
        main = page.locator("a.button:not(.second):not(.danger)")
        assert await main.all_inner_texts() == ["Confirm the payment"] * links
        await check(page)
        await page.context.close()


@pytest.mark.parametrize("focused", ["summary", "form[action='/sign-out'] button", "a.second"])
async def test_an_update_leaves_the_focus_where_it_is(
    server: WorkflowEnvironment, url: str, chrome: Browser, focused: str
) -> None:
    """Also on what is no link; what is open stays open."""
    handle = await held(server)
    at = link_of(url, "client", "ana", handle)
    page, _ = await signed_in(chrome, at)
    async with page.expect_response(lambda answer: answer.url.endswith("/live")):
        pass
    await page.locator("summary").click()
    await page.locator(focused).first.focus()
    await send(handle, Role.FREELANCER, "send_message", text="Hello!")
    await page.get_by_text("This page was updated.").wait_for(state="attached")
    held_focus = "one => document.activeElement === one"
    assert await page.locator(focused).first.evaluate(held_focus)
    assert await page.locator("details[open]").count() == 1
    assert await page.locator(".timeline li").count() == 3
    await page.context.close()


async def test_on_a_phone_the_buttons_come_first_for_who_has_to_act(
    server: WorkflowEnvironment, url: str, chrome: Browser
) -> None:
    """Before money and deadlines, and after them for the one who waits. A long name leaves Cancel
    Contract at the top right of a wide window."""
    handle = await held(server, title="A very long name of a project " * 5)
    for person, first in ((("client", "ana"), True), (("freelancer", "bo"), False)):
        at = link_of(url, *person, handle)
        page, _ = await signed_in(chrome, at, viewport={"width": 375, "height": 700})
        places = [await page.locator(name).bounding_box() for name in ("#actions", "#money")]
        actions, money = (each["y"] for each in places if each)
        assert (actions < money) is first
        await page.set_viewport_size({"width": 1000, "height": 700})
        cancel = await page.get_by_role("link", name="Cancel Contract").bounding_box()
        heading = await page.locator("h1").bounding_box()
        assert cancel
        assert heading
        assert cancel["x"] >= heading["x"] + heading["width"]
        await page.context.close()


async def test_a_big_font_fits_on_a_phone(
    server: WorkflowEnvironment, url: str, chrome: Browser
) -> None:
    """At 200 %: lists, the page, and the field of an amount, which keeps a width to type in."""
    ana = {"id": "ana", "name": "Ana", "email": "x@example.com", "locale": "de_DE"}
    handle = await held(server, client=ana)
    await send(handle, Role.CLIENT, "cancel")
    one = f"/purchases/{purchase_of(handle)}"
    for person, paths in (
        (("client", "ana"), ("/", one, f"{one}/propose_split")),
        (("operator", "op-1"), ("/", "/staff", one)),
    ):
        page, _ = await signed_in(
            chrome, link_of(url, *person), viewport={"width": 375, "height": 700}
        )
        for path in paths:
            await page.goto(f"{url}{path}")
            await page.evaluate("document.documentElement.style.fontSize = '200%'")
            await fits(page)
            if path.endswith("propose_split"):
                field = await page.locator("#refund").bounding_box()
                assert field
                assert field["width"] > 200
        await page.context.close()


async def test_a_bank_dispute_is_shown_to_both_and_stops_what_pays(
    server: WorkflowEnvironment, url: str, chrome: Browser, services: Services
) -> None:
    """The page is shown anew by itself when the bank takes the money."""
    assert isinstance(services.provider, SandboxProvider)
    handle = await held(server)
    at = link_of(url, "client", "ana", handle)
    page, _ = await signed_in(chrome, at)
    await page.get_by_role("link", name="Cancel Contract").wait_for()
    async with page.expect_response(lambda answer: answer.url.endswith("/live")):
        pass
    bank = Happens(SandboxEvent.DISPUTE_OPENED)
    await happen(server.client, services.provider, purchase_of(handle), bank)
    await page.get_by_role("heading", name="Frozen").wait_for()
    await page.get_by_text("taken back by your bank").wait_for()
    assert await page.locator("#news").inner_text() == "This page was updated."
    await page.goto(f"{url}/purchases/{purchase_of(handle)}/accept_delivery")
    await check(page)
    await page.context.close()
