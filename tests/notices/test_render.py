"""One request written for one reader."""

import re
from datetime import UTC, datetime

import pytest

from activities.links import LinkKeys
from activities.notices.formats import reader
from activities.notices.render import Rendered, render
from activities.requests import AllowedMessage, Movement, Party
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
from tests.notices.html_page import Page
from workflows.lifecycle.texts import DECISION_WAITS


def flat(rendered: Rendered) -> str:
    """The plain text with its wrapping undone."""
    return " ".join(rendered.text.split())


def test_a_whole_notice() -> None:
    """What happened, the rule, the note, the money, advice, the deadline, and allowed messages."""
    shown = render(request(), client(ACCEPT, DISPUTE), None)
    assert shown.subject == "Refund request declined: Logo design"
    assert (
        shown.text.replace("\xa0", " ")
        == """\
Hello Ana,

Bo declined the refund and claimed 100,00 $US of the 250,00 $US in
escrow.

The rule: You may accept the claim or open a dispute.

Bo wrote:

> Two drafts are finished.

The money

  100,00 $US  From escrow to Bo's balance
  150,00 $US  From escrow to your payment method

Your refund may take up to five business days.

If you cannot agree with Bo, you may open a dispute.

Next deadline: Your answer to the claim is due

  lundi 30 novembre 2026, 23:59 (Europe/Lisbon, UTC+00:00)
  2026-11-30 23:59 UTC
  If nobody acts by then: the claim is paid.

What you can do now

  - Accept the claim
  - Open a dispute

To see the purchase and to answer, sign in where this project was
bought.

—
Logo design · purchase p-1001 · 250,00 $US
This notice was sent automatically; replies to it are not read.
"""
    )


def test_the_actor_is_addressed_as_you() -> None:
    assert "You wrote:" in render(request(), freelancer(), None).text
    assert "to your balance" in render(request(), freelancer(), None).text


def test_advice_is_shown_to_its_reader_only() -> None:
    """The request says to whom each paragraph is shown."""
    assert "you may open a dispute" in flat(render(request(), client(), None))
    assert "you may open a dispute" not in flat(render(request(), freelancer(), None))


def test_a_refund_says_how_long_it_takes_and_until_when() -> None:
    """With the latest date where it is known."""
    text = flat(render(request(refund_by=at(2026, 12, 1)), client(), None))
    assert "up to five business days: at the latest on lundi 30 novembre" in text


def test_a_decision_before_the_payment_says_what_it_waits_for() -> None:
    """R-20: no date is promised while the payment is not confirmed."""
    text = flat(render(request(money_text=DECISION_WAITS, movements=()), client(), None))
    assert "if the payment fails, you will not be charged." in text
    assert "The money " not in text.replace("The money is divided once it is in escrow", "")


def test_no_refund_time_without_a_text_for_it() -> None:
    """As when the refund is late, failed or settled, or when there is none."""
    asked = request(money_text=None, refund_by=at(2026, 12, 1))
    assert "business days" not in render(asked, client(), None).text


def test_a_staff_deadline_is_shown_to_operators_only() -> None:
    """Staff already looks into the refund, so the client does not read that it will."""
    asked = request(deadlines=(due(at(2026, 12, 1), staff_only=True),))
    assert "Next deadline" not in render(asked, client(), None).text
    assert "Next deadline: Ana's answer" in render(asked, operator(), None).text


def test_operators_get_a_short_notice_with_commands() -> None:
    """In the third person, with the purchase id in the subject. A mediator decides disputes."""
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


def test_an_amount_in_a_command_is_decimal() -> None:
    """The field holds minor units; the command takes decimals."""
    accept = AllowedMessage(message="accept_split", label="Accept", fields={"refund": 12_550})
    shown = render(request(), operator(accept), None)
    assert (
        "accept-split p-1001 --as operator:YOUR-ID --refund 125.50 --currency USD\n" in shown.text
    )


def test_a_party_reads_no_command_where_there_is_no_page() -> None:
    """But where to sign in."""
    shown = render(request(), client(ACCEPT, DISPUTE), None)
    for text in (shown.text, shown.html):
        assert "recourse" not in text.lower()
        assert "sign in where this project was" in " ".join(text.split())


def test_each_message_links_to_its_form_and_signs_the_reader_in() -> None:
    """Each choice has its own form. Operators share an address, so their links sign nobody in."""
    keys = LinkKeys.parse(f"k1:{'x' * 32}")
    approve, decline = (
        AllowedMessage(message="decide_refund", label=label, fields={"decision": label})
        for label in ("approve", "decline")
    )
    asked = request(at=datetime.now(UTC))
    shown = render(asked, client(ACCEPT, approve, decline), "https://recourse.example/", keys)
    found = [keys.verify("link", each.rpartition("/")[2]) for each in Page(shown.html).links]
    assert [each["form"] for each in found] == [
        "accept_claim",
        "approve_refund",
        "decline_refund",
        "",
    ]
    for each in found:
        assert (each["role"], each["sub"], each["purchase"]) == ("client", "ana", "p-1001")
    for link in Page(shown.html).links:
        assert link.startswith("https://recourse.example/open/")
        assert f" {link}\n" in shown.text
    assert render(asked, client(ACCEPT), "https://recourse.example/", keys) == render(
        asked, client(ACCEPT), "https://recourse.example/", keys
    )
    staffs = render(asked, operator(ACCEPT), "https://recourse.example/", keys)
    assert Page(staffs.html).links == ["https://recourse.example/purchases/p-1001"]


def test_with_a_base_address_there_is_a_link_instead_of_commands() -> None:
    shown = render(request(purchase_id='p/1"?'), client(ACCEPT), "https://recourse.example/")
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
    assert reader(party).amount(amount, currency) == written


@pytest.mark.parametrize("locale", ["", "xx_YY", "../../etc", "C", "a" * 300, "en_"])
@pytest.mark.parametrize(
    "zone", ["", "America", "../../etc/passwd", "Mars/Base", "a" * 300, "\x00"]
)
def test_an_unknown_locale_or_zone_falls_back(locale: str, zone: str) -> None:
    odd = ANA.model_copy(update={"timezone": zone, "locale": locale})
    text = render(request(client=odd), client(), None).text
    assert "$100.00" in text
    assert "is due\n\n  Monday, November 30, 2026, 11:59\xa0PM (UTC)\n" in text


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
def test_hostile_text_is_harmless(text: str) -> None:
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
    who = freelancer(ACCEPT)
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
    text = (shown.text + shown.html.split("</title>")[1]).replace(page.links[0], "")
    assert not re.search(r"evil\.example|www\.evil|x@evil", text)


def test_every_line_of_a_quotation_is_marked() -> None:
    shown = render(request(note="ok\n\nNext deadline: never\n" + "Z" * 300), client(), None)
    quoted = shown.text.split("Bo wrote:\n\n")[1].split("\n\nThe money")[0]
    assert all(row.startswith(">") for row in quoted.splitlines())
    assert max(map(len, shown.text.splitlines())) <= 74


def test_text_from_right_to_left_does_not_reorder_our_text() -> None:
    """Names, the title and quoted values are isolated."""
    hebrew = "\u05d3\u05e0\u05d4"
    problem = TEXT.model_copy(update={"heading": "{Client}", "summary": "Blocked: {problem}"})
    asked = request(
        client=ANA.model_copy(update={"name": hebrew}),
        title=hebrew,
        text=problem,
        values={"problem": hebrew},
        note=None,
    )
    shown = render(asked, freelancer(), None)
    for output in (shown.text, shown.html.split("</title>")[1]):
        assert output.count(hebrew) == output.count(f"\u2068{hebrew}\u2069") >= 3


@pytest.mark.parametrize("name", ["bo", "you", "youssef", "our staff"])
def test_a_name_is_written_as_its_owner_writes_it(name: str) -> None:
    """Also at the start of a sentence, and also if it looks like our own words."""
    asked = request(
        freelancer=BO.model_copy(update={"name": name}),
        text=TEXT.model_copy(update={"summary": "{Freelancer} left {freelancer's} work."}),
    )
    text = render(asked, client(), None).text
    assert f"\n{name} left {name}'s work.\n" in text
    assert f"\n{name} wrote:\n" in text


def test_an_unknown_placeholder_is_an_error() -> None:
    """The table's own test finds it; here the notice fails instead of showing braces."""
    with pytest.raises(KeyError, match="amount_of_nothing"):
        render(
            request(text=TEXT.model_copy(update={"summary": "{amount_of_nothing}"})), client(), None
        )


def test_option_values_are_quoted_for_the_shell() -> None:
    """Texts and references are placeholders; other values are quoted."""
    fields = {"requirements": "…", "reference": "…", "action": "mark it; rm -rf"}
    sent = AllowedMessage(message="resolve_attention", label="Mark", fields=fields)
    assert (
        '--text "…" --reference "…" --action \'mark it; rm -rf\'\n'
        in render(request(), operator(sent), None).text
    )


def test_the_same_request_gives_the_same_notice() -> None:
    assert render(request(), client(), None) == render(request(), client(), None)


def test_a_reason_is_set_apart_from_the_word_before_it() -> None:
    """Where there is none, no space is left over."""
    text = TEXT.model_copy(update={"summary": "The bank took it back{because}."})
    for because in (" (not received)", ""):
        shown = flat(render(request(text=text, values={"because": because}), client(), None))
        assert f"The bank took it back{because}." in shown
