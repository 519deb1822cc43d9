"""The pages in German and Portuguese; staff read English."""

import re
from collections.abc import Iterator
from datetime import timedelta

import pytest
from temporalio.testing import WorkflowEnvironment

from activities.notices.formats import reader
from activities.requests import Party
from demo.runner import Handle, send
from tests.lifecycle.builders import NOON
from tests.lifecycle.test_walk import POLICIES, walked
from tests.notices.test_notice_texts import start
from tests.purchases import held, purchase_of
from tests.workroom.visitor import Visitor, signed_in
from workflows import lifecycle
from workflows.lifecycle import newest, texts
from workflows.lifecycle.events import Accepted
from workflows.messages import Deadline, PurchaseStart, Role, TimelineEntry
from workflows.workflow_state import ADOPTED
from workroom.retelling import Retelling

ENGLISH = re.compile(r"\b(the|you|your|is|has|are|of|and|not|by|was sent)\b", re.IGNORECASE)
ANA = {"id": "ana", "name": "Ana", "email": "ana@example.com", "timezone": "Europe/Berlin"}
BO = {"id": "bo", "name": "Bo", "email": "bo@example.com", "timezone": "Europe/Berlin"}


async def bought(server: WorkflowEnvironment, locale: str) -> Handle:
    """A purchase that is in escrow, of two people in this locale."""
    ana, bo = ANA | {"locale": locale}, BO | {"locale": locale}
    return await held(server, title="Logo", client=ana, freelancer=bo)


async def test_a_dispute_is_opened_in_retelling(server: WorkflowEnvironment, url: str) -> None:
    """From the decline to the dispute, with an error, the question before sending, what happens
    next, and what has happened."""
    handle = await bought(server, "de_AT")
    await send(handle, Role.CLIENT, "cancel", reason="Pläne")
    bo = await signed_in(url, "freelancer", "bo", handle, "decline_refund")
    assert bo.page.text.startswith('<!doctype html>\n<html lang="de">')
    await bo.send(claim="1e2")
    assert "Etwas stimmt nicht" in bo.text
    assert "Geben Sie einen Betrag ein, zum Beispiel 100,00" in bo.text
    await bo.send(claim="250,01")
    assert "Sie können höchstens $ 250,00 fordern" in bo.text
    await bo.send(claim="100,00", note="Halb fertig.")
    assert "Wenn Ana zustimmt: $ 150,00 gehen an Ana zurück, $ 100,00 gehen an Sie." in bo.text
    await bo.send()
    assert "Ihre Forderung ist abgeschickt an Ana. Ana kann bis" in bo.text

    ana = await signed_in(url, "client", "ana", handle, "open_dispute")
    await ana.send(reason="")
    assert "Schreiben Sie, was passiert ist" in ana.text
    await ana.send(reason="Nichts kam.")
    assert "Vor dem Abschicken prüfen" in ana.text
    await ana.send()
    assert "Streitfall, den eine Schlichtungsstelle entscheidet" in ana.text
    assert "Die Schlichtungsstelle ist am Zug." in ana.text
    assert (
        "Sie haben einen Streitfall über die $ 250,00 auf dem Treuhandkonto eröffnet." in ana.text
    )
    assert "Bo hat die Erstattung abgelehnt und fordert stattdessen $ 100,00" in ana.text
    assert "Unser Team kümmert sich darum; das Geld bleibt auf dem Treuhandkonto." in ana.text
    assert not ENGLISH.search(ana.text), ana.text
    await ana.open(f"/purchases/{purchase_of(handle)}/messages")
    assert "Sie, " in ana.text
    assert "Grund des Streitfalls Nichts kam." in ana.text
    assert not ENGLISH.search(ana.text)


async def test_each_page_of_a_party_is_in_their_language(
    server: WorkflowEnvironment, url: str
) -> None:
    """Also what is not possible, what is not there, and the end of the session."""
    handle = await bought(server, "pt_BR")
    ana = await signed_in(url, "client", "ana", handle)
    one = f"/purchases/{purchase_of(handle)}"
    pages = {
        one: "É a sua vez.",
        "/": "Faltam os requisitos si",
        "/?closed=yes": "Não há aqui nenhuma compra encerrada.",
        f"{one}/cancel": "O reembolso não é garantido",
        f"{one}/accept_claim": "Isto não é possível nesta fase da compra.",
        f"{one}/nothing": "Esta página não existe.",
        "/purchases/other": "Esta página não é para si",
    }
    for path, words in pages.items():
        await ana.open(path)
        assert words in ana.text, ana.text
        assert '<html lang="pt">' in ana.page.text
        assert not ENGLISH.search(ana.text), ana.text
    await ana.open("/")
    await ana.press("/sign-out")
    assert "Sessão terminada" in ana.text


async def test_a_party_without_a_catalogue_reads_english_in_their_formats(
    server: WorkflowEnvironment, url: str
) -> None:
    handle = await bought(server, "ja_JP")
    ana = await signed_in(url, "client", "ana", handle)
    assert '<html lang="en">' in ana.page.text
    assert "You can" not in ana.text
    assert "What you can do now" in ana.text
    assert 'lang="ja-JP"' in ana.page.text


async def test_staff_read_english(server: WorkflowEnvironment, url: str) -> None:
    """Neither the parties' language nor the browser's counts."""
    handle = await bought(server, "de_DE")
    staff = Visitor(url)
    staff.browser.headers["Accept-Language"] = "de"
    await staff.sign_in("operator", "op-1", handle)
    assert "What has happened" in staff.text
    assert '<html lang="en">' in staff.page.text
    await staff.open("/purchases/none")
    assert "This page is not for you" in staff.text


@pytest.mark.parametrize(
    ("asked", "language"),
    [
        ("de-CH, de;q=0.9, en;q=0.8", "de"),
        ("fr-FR, pt-BR;q=0.7, en;q=0.3", "pt"),
        ("en, de;q=0.5", "en"),
        ("ja", "en"),
        ("", "en"),
        ("de;q=x, pt;q=0.1", "pt"),
        ("../../etc, *;q=0.5", "en"),
        ("de;" * 10_000, "en"),
    ],
)
async def test_before_signing_in_the_browser_says_the_language(
    url: str, asked: str, language: str
) -> None:
    visitor = Visitor(url)
    visitor.browser.headers["Accept-Language"] = asked
    await visitor.open("/purchases/p-1")
    assert f'<html lang="{language}">' in visitor.page.text
    await visitor.open("/open/no-link")
    assert f'<html lang="{language}">' in visitor.page.text


# --- the timeline and the deadlines, which a status has in English


def retelling(terms: PurchaseStart, role: str = "client", locale: str = "de_DE") -> Retelling:
    """Retells for a reader in this locale."""
    own = reader(Party(id="x", name="x", email="x@example.com", locale=locale))
    formatter = own.formatter("Ana", "Bo", terms.price.currency, role)
    return Retelling(terms, own, formatter)


def entries(policy: str) -> Iterator[tuple[TimelineEntry | Deadline, str]]:
    """Everything that a timeline can have under a policy, and every deadline."""
    for text in (texts.ADOPTED, texts.BEGUN_AGAIN):
        yield TimelineEntry(number=1, at=NOON, transition=ADOPTED, by="operator", text=text), text
    for edges in walked(newest(), policy).edges.values():
        for edge in edges:
            answer = edge.answer
            if not isinstance(answer, Accepted):
                continue
            if answer.transition:
                name, by = answer.transition, answer.actor
                entry = TimelineEntry(number=1, at=NOON, transition=name, by=by, text=answer.text)
                yield entry, answer.text
            for deadline in lifecycle.deadlines(answer.state):
                yield deadline, deadline.then


def retold(own: Retelling, found: TimelineEntry | Deadline) -> str:
    """What a German reader reads of it."""
    if isinstance(found, Deadline):
        return own.expiry(found)
    return own.event(found)


@pytest.mark.parametrize("policy", POLICIES)
def test_every_event_and_expiry_is_retold(policy: str) -> None:
    """In German, with nothing left of the English; but for what provider and staff wrote."""
    german, seen = retelling(start(POLICIES[policy])), set()
    for found, english in entries(policy):
        if english in seen:
            continue
        seen.add(english)
        text = retold(german, found)
        assert text != english, english
        assert not ENGLISH.search(re.sub(r" \([^)]*\)|: .*", "", text)), (english, text)
    assert seen


def test_an_event_has_the_amounts_and_windows_of_the_purchase() -> None:
    """As the reader writes them."""
    terms = start({"requirements_window": timedelta(hours=36)})
    entry = TimelineEntry(
        number=1,
        at=NOON,
        transition="claim_accepted",
        by="client",
        text="Ana accepted the claim: 1150.00 USD goes back to Ana and 100.00 USD goes to Bo.",
    )
    shown = retelling(terms).event(entry).replace("\xa0", " ")
    assert shown == (
        "Sie haben die Forderung angenommen: 1.150,00 $ gehen an Sie zurück, 100,00 $ gehen an Bo."
    )
    assert retelling(terms, "freelancer", "en_US").event(entry) == (
        "Ana accepted the claim: $1,150.00 goes back to Ana and $100.00 goes to you."
    )
    assert retelling(terms, "operator", "en_US").event(entry) == (
        "Ana accepted the claim: $1,150.00 goes back to Ana and $100.00 goes to Bo."
    )


@pytest.mark.parametrize(
    "text",
    [
        "Ana did something that no release knows.",
        "Eva accepted the claim: all of the money, 1.00 USD, goes to Bo.",
        "",
        "Ana accepted the claim: " + "(" * 5_000,
    ],
)
def test_a_text_that_we_did_not_write_stays_as_it_is(text: str) -> None:
    """A text of an older release, or one that was cut."""
    entry = TimelineEntry(number=1, at=NOON, transition="claim_accepted", by="client", text=text)
    assert retelling(start({})).event(entry) == text
