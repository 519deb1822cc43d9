"""What a notice shows to one reader."""

import re

import pytest

from activities.notices import Rendered, render
from activities.notices.formats import reader
from activities.requests import AllowedMessage, Money, Movement, Party, Recipient
from tests.notices.builders import (
    ACCEPT,
    ANA,
    BO,
    DISPUTE,
    TEXT,
    at,
    client,
    due,
    freelancer,
    operator,
    request,
)
from tests.notices.samples import Page


def flat(rendered: Rendered) -> str:
    """The plain text with its wrapping undone."""
    return " ".join(rendered.text.split())


def test_a_whole_notice_reads_so() -> None:
    """Who acted, the rule, the note, the money, advice, the deadline, and what can be done."""
    shown = render(request(), client(ANA, ACCEPT, DISPUTE), None)
    assert shown.subject == "Refund request declined: Logo design"
    assert (
        shown.text.replace("\xa0", " ")
        == """\
Hello Ana,

Bo declined the refund and claimed 100,00 US$ of the 250,00 US$ in
escrow.

The rule: You may accept the claim or open a dispute.

Bo wrote:

> Two drafts are finished.

The money

  100,00 US$  From escrow to Bo's balance
  150,00 US$  From escrow to your payment method

Your refund may take up to five business days.

If you cannot agree with Bo, you may open a dispute.

Next deadline: Your answer to the claim is due

  segunda-feira, 30 de novembro de 2026, 23:59 (Europe/Lisbon,
  UTC+00:00)
  2026-11-30 23:59 UTC
  If nobody acts by then: the claim is paid.

What you can do now

  - Accept the claim
      recourse accept-claim p-1001 --as client:ana
  - Open a dispute
      recourse open-dispute p-1001 --as client:ana --reason "…"

See the purchase

      recourse status p-1001

—
Logo design · purchase p-1001 · 250,00 US$
This notice was sent automatically; replies to it are not read.
"""
    )


def test_the_writer_is_you_to_themselves() -> None:
    assert "You wrote:" in render(request(), freelancer(), None).text
    assert "to your balance" in render(request(), freelancer(), None).text


def test_advice_is_for_its_reader_only() -> None:
    """The text says to whom a paragraph belongs."""
    assert "you may open a dispute" in flat(render(request(), client(), None))
    assert "you may open a dispute" not in flat(render(request(), freelancer(), None))


def test_a_refund_says_how_long_it_takes_and_until_when() -> None:
    """With the latest date where it is known."""
    text = flat(render(request(refund_by=at(2026, 12, 1)), client(), None))
    assert "up to five business days: at the latest on segunda-feira, 30 de novembro" in text


def test_no_refund_is_promised_without_a_text_for_it() -> None:
    """Late, failed or settled, or no refund at all."""
    asked = request(refund_text=None, refund_by=at(2026, 12, 1))
    assert "business days" not in render(asked, client(), None).text


def test_what_is_for_staff_is_shown_to_operators_only() -> None:
    """Staff already look into a refund: the client is not told that they will."""
    asked = request(deadlines=(due(at(2026, 12, 1), staff_only=True),))
    assert "Next deadline" not in render(asked, client(), None).text
    assert "Next deadline: Ana's answer" in render(asked, operator(), None).text


def test_operators_get_it_short_with_commands() -> None:
    """In the third person, with the purchase id in the subject; a mediator's message as such."""
    retry = AllowedMessage(
        message="resolve_attention", label="Try again", fields={"action": "retry"}
    )
    decide = AllowedMessage(
        message="resolve_dispute", label="Decide who gets what", fields={"refund": "AMOUNT"}
    )
    shown = render(request(), operator(retry, decide), "https://recourse.example")
    assert shown.subject == "[p-1001] Refund request declined: Logo design"
    assert "Hello" not in shown.text
    assert "recourse resolve-attention p-1001 --as operator:YOUR-ID --action retry\n" in shown.text
    assert (
        "recourse resolve-dispute p-1001 --as mediator:YOUR-ID --refund AMOUNT --currency USD\n"
        in shown.text
    )


def test_an_offered_amount_is_written_as_people_write_it() -> None:
    """Minor units in the field, decimals in the command."""
    accept = AllowedMessage(message="accept_split", label="Accept", fields={"refund": 12_550})
    shown = render(request(), client(ANA, accept), None)
    assert "accept-split p-1001 --as client:ana --refund 125.50 --currency USD\n" in shown.text


def test_with_a_base_address_there_is_a_link_instead_of_commands() -> None:
    shown = render(request(purchase_id='p/1"?'), client(ANA, ACCEPT), "https://recourse.example/")
    link = "https://recourse.example/purchases/p%2F1%22%3F"
    assert f"See the purchase: {link}\n" in shown.text
    assert Page(shown.html).links == [link]
    assert "recourse accept" not in shown.text
    assert "Accept the claim" in shown.text


@pytest.mark.parametrize(
    ("locale", "currency", "amount", "written"),
    [
        ("en_US", "USD", 123456789, "$1,234,567.89"),
        ("en_US", "JPY", 1234567, "¥1,234,567"),
        ("en_US", "BHD", 1234567, "BHD\xa01,234.567"),
        ("pt_PT", "USD", 123456789, "1\xa0234\xa0567,89\xa0US$"),
        ("pt_PT", "JPY", 1234567, "1\xa0234\xa0567\xa0JP¥"),
        ("pt_PT", "BHD", 1234567, "1\xa0234,567\xa0BHD"),
        ("en_US", "ISK", 5, "ISK\xa05"),
        ("en_US", "USD", 2**53 - 1, "$90,071,992,547,409.91"),
        ("en_US", "USD", 1, "$0.01"),
    ],
)
def test_amounts(locale: str, currency: str, amount: int, written: str) -> None:
    """Digits by ISO 4217, the rest by Babel."""
    party = Party(id="x", name="X", email="x@example.com", locale=locale)
    assert reader(party).money(Money(amount=amount, currency=currency)) == written


@pytest.mark.parametrize("locale", ["", "xx_YY", "../../etc", "C", "a" * 300, "en_"])
@pytest.mark.parametrize(
    "zone", ["", "America", "../../etc/passwd", "Mars/Base", "a" * 300, "\x00"]
)
def test_an_unknown_locale_or_zone_falls_back(locale: str, zone: str) -> None:
    odd = ANA.model_copy(update={"timezone": zone, "locale": locale})
    said = render(request(), client(odd), None).text
    assert "$100.00" in said
    assert "is due\n\n  Monday, November 30, 2026, 11:59\xa0PM (UTC)\n" in said


HOSTILE = (
    "<script>alert(1)</script>",
    "\r\nBcc: victim@example.com\r\n\r\n<html>",
    "W" * 200,
    "Bo\u202e exe.gnp",
    "{{ 7 * 7 }} {client} %s",
    "http://evil.example/?a=1&b=2 www.evil.com x@evil.com",
    '"><img src=x onerror=alert(1)>',
    "\u2068\u200b\u2069",
)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_only_text(text: str) -> None:
    evil = Party.model_construct(
        id=text, name=text, email="e@example.com", timezone=text, locale=text
    )
    hostile = request(
        client=BO,
        title=text,
        purchase_id=text,
        actor=text,
        text=TEXT.model_copy(
            update={"summary": "{Freelancer} {problem}", "explanation": "{problem}"}
        ),
        values={"problem": text},
        note=text,
        movements=(Movement(25000, text, text),),
        deadlines=(due(at(2027, 1, 1), name=text),),
    ).model_copy(update={"freelancer": evil})
    who = Recipient.model_construct(role="freelancer", party=evil, allowed=(ACCEPT,))
    shown = render(hostile, who, "https://recourse.example")
    page = Page(shown.html)
    assert not page.tags & {"script", "img"}
    assert len(page.links) == 1
    assert page.links[0].startswith("https://recourse.example/purchases/")
    assert len(shown.subject) < 200
    assert len(shown.subject.splitlines()) == 1
    assert max(map(len, shown.text.splitlines())) < 1000
    for output in (shown.subject, shown.text, shown.html):
        assert not set(output) & set("\u202e\u2066\u2067\u2068\u2069\r\x00")
    said = (shown.text + shown.html.split("</title>")[1]).replace(page.links[0], "")
    assert not re.search(r"evil\.example|www\.evil|x@evil", said)


def test_a_quote_cannot_pass_for_our_own_words() -> None:
    shown = render(request(note="ok\n\nNext deadline: never\n" + "Z" * 300), client(), None)
    quoted = shown.text.split("Bo wrote:\n\n")[1].split("\n\nThe money")[0]
    assert all(row.startswith(">") for row in quoted.splitlines())
    assert max(map(len, shown.text.splitlines())) <= 74


def test_the_same_request_gives_the_same_notice() -> None:
    assert render(request(), client(), None) == render(request(), client(), None)
