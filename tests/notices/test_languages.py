"""Notices in German and Portuguese; others read English in their own formats."""

import re
from datetime import UTC, datetime
from email.headerregistry import Address

import pytest

from activities.languages.catalogue import MissingTranslation
from activities.notices.log import Notice
from activities.notices.message import Outgoing
from activities.notices.render import Rendered, render
from activities.requests import NoticeRequest, Recipient
from docs.notices import Sample
from tests.notices.builders import (
    ANA,
    BO,
    TEXT,
    at,
    client,
    due,
    freelancer,
    operator,
    request,
)
from tests.notices.html_page import Page
from tests.notices.sample_notices import samples_of
from workflows.lifecycle import texts
from workflows.lifecycle.versions import newest_rules
from workflows.notice_requests import notice_text

ENGLISH = re.compile(r"\b(the|you|your|is|has|are|of|and|not|by)\b", re.IGNORECASE)
LANGUAGES = {"de-DE": "de", "pt-PT": "pt"}


def declined(locale: str) -> NoticeRequest:
    """Bo declined and claims a part; both read in this locale."""
    found = {"timezone": "Europe/Berlin", "locale": locale}
    return request(
        text=notice_text(texts.REFUND_DECLINED),
        client=ANA.model_copy(update=found),
        freelancer=BO.model_copy(update=found),
        money_text=texts.REFUND_TAKES,
        refund_by=at(2026, 12, 1),
        deadlines=(due(at(2026, 11, 30, 22, 59), expiry_text=texts.CLAIM_LAPSED.expiry),),
    )


def flat(rendered: Rendered) -> str:
    """The plain text with its wrapping undone."""
    return " ".join(rendered.text.split())


def test_a_whole_notice_in_german() -> None:
    """What happened, the rule, the note, the money, advice, the deadline."""
    row = next(each for each in newest_rules().transitions if each.text is texts.CLAIM_ACCEPTED)
    assert row.form
    accept = {"message": "accept_claim", "label": row.form.label}
    reader = Recipient.model_validate({"role": "client", "allowed": [accept]})
    shown = render(declined("de_DE"), reader, "https://market.example")
    assert shown.subject == "Erstattung abgelehnt: Logo design"
    assert (
        shown.text.replace("\xa0", " ")
        == """\
Guten Tag Ana,

Bo hat die Erstattung abgelehnt und fordert stattdessen 100,00 $ von den
250,00 $ auf dem Treuhandkonto.

Die Regel: Sie können die Forderung annehmen, die Stornierung
zurücknehmen oder einen Streitfall eröffnen.

Bo hat geschrieben:

> Two drafts are finished.

Das Geld

  100,00 $  vom Treuhandkonto auf das Guthaben von Bo
  150,00 $  vom Treuhandkonto auf Ihr Zahlungsmittel

Es kann bis zu 5 Arbeitstagen dauern, bis Ihre Erstattung auf Ihrem
Konto ist: spätestens am Dienstag, 1. Dezember 2026.

Wenn Sie sich mit Bo nicht einigen können, können Sie einen Streitfall
eröffnen: Wählen Sie „Einen Streitfall eröffnen“, und schreiben Sie mit
Ihren eigenen Worten, was schiefgegangen ist. Eine Schlichtungsstelle
hört dann beide Seiten an und entscheidet, wer wie viel bekommt.

Nächste Frist: Ihre Antwort auf die Forderung ist fällig

  Montag, 30. November 2026, 23:59 (Europe/Berlin, UTC+01:00)
  2026-11-30 22:59 UTC
  Wenn bis dahin niemand etwas tut: Die Forderung wird bezahlt: 150,00 $
  gehen an Sie zurück, 100,00 $ gehen an Bo.

Was Sie jetzt tun können

  - Die Forderung annehmen

Den Kauf ansehen: https://market.example/purchases/p-1001

—
Logo design · Kauf p-1001 · 250,00 $
Diese Nachricht wurde automatisch verschickt. Antworten darauf liest
niemand.
"""
    )


def test_each_reader_has_their_own_verbs() -> None:
    """No sentence says "you hat" or "Bo haben"."""
    german, portuguese = declined("de_DE"), declined("pt_BR")
    assert "Sie haben die Erstattung abgelehnt und fordern" in flat(
        render(german, freelancer(), None)
    )
    assert "Bo hat die Erstattung abgelehnt und fordert" in flat(render(german, client(), None))
    assert "Recusou o reembolso e pediu" in flat(render(portuguese, freelancer(), None))
    assert "Bo recusou o reembolso e pediu" in flat(render(portuguese, client(), None))
    assert "voltam para a sua conta" in flat(render(portuguese, client(), None))
    assert "vão para o seu saldo" in flat(render(portuguese, freelancer(), None))


@pytest.mark.parametrize("name", LANGUAGES)
def test_no_notice_mixes_languages(name: str) -> None:
    """Every kind of notice; but for quotations, the exact answer to a program, and the provider's
    own reasons in brackets."""
    for sample in samples_of(name):
        if sample.role != "operator":
            text = own_words(sample)
            assert not ENGLISH.search(text), text
            assert not re.search(r"[{}_]|\.\.|,,| [.,;:]|None", text), text


def own_words(sample: Sample) -> str:
    """The text of a notice without what others have written."""
    kept = [
        paragraph
        for paragraph in sample.rendered.text.split("\n\n")
        if not paragraph.startswith((">", "Die genaue Antwort", "A resposta exata", "—"))
        and "https://" not in paragraph
    ]
    text = re.sub(r" \([^)]*\)", "", " ".join(" ".join(kept).split()))
    text = re.sub(r"\b(re|dp)_\w+", "1234", text)  # references of the provider
    return text.replace(sample.request.title, "")


@pytest.mark.parametrize("name", LANGUAGES)
def test_operators_read_english(name: str) -> None:
    for sample in samples_of(name):
        if sample.role == "operator":
            assert '<html lang="en"' in sample.rendered.html
            assert "Die Regel" not in sample.rendered.text
            assert "A regra" not in sample.rendered.text


@pytest.mark.parametrize(
    ("locale", "language", "date"),
    [
        ("de_AT", "de", "Montag, 30. November 2026"),
        ("pt_BR", "pt", "segunda-feira, 30 de novembro de 2026"),
        ("ja_JP", "en", "2026年11月30日月曜日"),
        ("en_GB", "en", "30 November 2026"),
        ("xx", "en", "Monday, November 30, 2026"),
    ],
)
def test_mail_and_page_state_the_language_of_their_words(
    locale: str, language: str, date: str
) -> None:
    """Dates are marked with the language that they are in, if it is another."""
    rendered = render(declined(locale), client(), None)
    assert date in flat(rendered)
    assert f'<html lang="{language}" dir="ltr">' in rendered.html
    mail = Outgoing(stored(rendered), "Ana", Address("Recourse", "notices", "example.com")).mail()
    assert mail["Content-Language"] == language


def stored(rendered: Rendered) -> Notice:
    """The notice as the log has it."""
    return Notice(
        purchase_id="p-1001",
        transition_id="7",
        transition="refund_declined",
        role="client",
        address="ana@example.com",
        at=datetime(2026, 11, 23, tzinfo=UTC),
        subject=rendered.subject,
        text=rendered.text,
        html=rendered.html,
    )


@pytest.mark.parametrize(
    "name",
    ["{freelancer}", "{client, select, you {x} other {y}}", "<b>Ana</b>", '" lang="xx', "%(x)s"],
)
def test_a_name_changes_no_sentence_of_ours(name: str) -> None:
    """Names are filled in after the translation was found; HTML is escaped as in English."""
    asked = declined("de_DE")
    hostile = asked.model_copy(update={"client": asked.client.model_copy(update={"name": name})})
    shown = render(hostile, freelancer(), None)
    assert name in flat(shown)
    assert "b" not in Page(shown.html).tags
    assert '<html lang="de" dir="ltr">' in shown.html


def test_a_text_of_an_older_release_is_shown_in_english() -> None:
    """Its windows and phrases, too. Tests name it; workers ignore the warning."""
    old = TEXT.model_copy(update={"summary": "{Client} waited {claim_window} for {claimed}."})
    asked = declined("de_DE").model_copy(
        update={"text": old, "windows": {"claim_window": 5}, "money_text": None}
    )
    with pytest.raises(MissingTranslation, match="waited"):
        render(asked, client(), None)
    with pytest.warns(MissingTranslation):
        text = flat(render(asked, client(), None))
    assert "You waited five business days for 100,00 $ of the 250,00 $ in escrow." in text


def test_a_rejected_message_is_named_in_words() -> None:
    """A name that is none of ours is quoted as it was sent."""
    for sent, shown in (("accept claim", "„Forderung annehmen“"), ("{x} sudo", "„{x} sudo“")):
        asked = declined("de_DE").model_copy(
            update={
                "text": notice_text(texts.rejected(texts.WHY_REJECTED["NO_OFFER"])),
                "values": {"message": sent, "code": "NO_OFFER", "answer": "No offer stands."},
            }
        )
        assert f"Ihre Nachricht {shown} wurde nicht angenommen." in flat(
            render(asked, client(), None)
        )


def test_a_debt_is_written_as_every_other_amount() -> None:
    """A workflow wrote it in English."""
    asked = declined("de_DE").model_copy(
        update={
            "text": notice_text(texts.BANK_DISPUTE_DEBT),
            "amounts": {"disputed": 25_000},
            "values": {"because": "", "debt": "1250.00 USD", "reference": "dp_1"},
            "money_text": None,
            "deadlines": (),
        }
    )
    assert "müssen Sie 1.250,00 $ zurückzahlen" in flat(render(asked, freelancer(), None))
    assert "muss Bo 1.250,00 $ zurückzahlen" in flat(render(asked, client(), None))
    assert "must pay back $1,250.00" in flat(render(asked, operator(), None))
