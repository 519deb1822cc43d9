"""What notices say: RULES.md, Notices."""

import re
from typing import Any

import pytest

from activities.notices import Rendered, headings, render
from activities.notices.formats import reader
from activities.requests import Money, Movement, NoticeDeadline, Party, Recipient
from tests.notices.given import ANA, BO, at, client, freelancer, operator, request
from tests.notices.shown import Page


def flat(rendered: Rendered) -> str:
    """The plain text with its wrapping undone."""
    return " ".join(rendered.text.split())


@pytest.mark.parametrize("transition", [*sorted(headings.HEADINGS), "something_new"])
@pytest.mark.parametrize("who", [client(), freelancer(), operator()], ids=lambda who: who.role)
def test_what_an_older_release_has_written_is_still_told(transition: str, who: Recipient) -> None:
    """A request may wait for a mail server across a deployment: without the newer fields, and for
    transitions that this release does not know."""
    shown = render(request(transition=transition), who, None)
    assert shown.subject.endswith(": Logo design")
    for said in (flat(shown), " ".join(Page(shown.html).text.split())):
        assert "2026-11-30 23:59 UTC" in said or "November 30, 2026, 11:59 PM (UTC)" in said
        assert "If nobody acts until then: the claim is paid." in said
        assert "None" not in said
        assert "{" not in said
    if transition in ("refund_declined", "something_new"):
        assert "Bo declined the refund and claims 100.00 USD." in flat(shown)
        assert "The rule: A freelancer may decline" in flat(shown)


def test_a_whole_notice_of_an_older_release_reads_so() -> None:
    shown = render(request(), client(ANA, "accept_claim", "open_dispute"), None)
    assert shown.subject == "Refund request declined: Logo design"
    assert (
        shown.text.replace("\xa0", " ")
        == """\
Hello Ana,

Bo declined the refund and claims 100.00 USD.

The rule: A freelancer may decline and say how much of the escrow they
claim.

Bo wrote:

> Two drafts are finished.

The money

  100,00 US$  From escrow to Bo's balance
  150,00 US$  From escrow to your payment method

Your refund may take up to five business days to be deposited into your
account.

If you cannot agree with Bo, you may open a dispute: choose “Open a
dispute” and say in your own words what went wrong. A mediator then
hears both of you and decides who gets what.

Next deadline: Your answer to the claim is due

  segunda-feira, 30 de novembro de 2026, 23:59 (Europe/Lisbon,
  UTC+00:00)
  2026-11-30 23:59 UTC
  If nobody acts until then: the claim is paid.

What you can do now

  - Accept the claim
      python -m starter accept-claim p-1001 --as client:ana
  - Open a dispute
      python -m starter open-dispute p-1001 --as client:ana --reason "…"

See the purchase

      python -m starter status p-1001

—
Logo design · purchase p-1001 · 250,00 US$
This notice was sent automatically; replies to it are not read.
"""
    )


def test_the_writer_is_you_to_themselves() -> None:
    assert "You wrote:" in render(request(), freelancer(), None).text
    assert "to your balance" in render(request(), freelancer(), None).text


def test_cancelling_advises_to_talk_first_and_promises_nothing() -> None:
    """policy-article.txt: consider messaging your freelancer; we can't guarantee a refund."""
    cancelled = request(transition="client_cancelled", actor="client", movements=())
    said = flat(render(cancelled, client(), None))
    assert "consider messaging Bo" in said
    assert "A refund is not guaranteed" in said
    assert "the decision is theirs" in said
    assert "not guaranteed" not in flat(render(cancelled, freelancer(), None))


@pytest.mark.parametrize("transition", sorted(headings.FULL_REFUNDS))
def test_refunds_say_how_long_they_take(transition: str) -> None:
    """policy-article.txt: any refunds may take up to five business days."""
    said = flat(render(request(transition=transition), client(), None))
    assert "Your refund may take up to five business days" in said


@pytest.mark.parametrize(
    "changes",
    [{"transition": name} for name in sorted(headings.NO_PROMISE)]
    + [{"movements": ()}, {"movements": request().movements[:1]}],
)
def test_no_refund_is_promised_where_it_would_mislead(changes: dict[str, Any]) -> None:
    """Late, failed or arrived, or no refund at all."""
    asked = request(**({"refund_by": at(2026, 12, 1)} | changes))
    assert "business days" not in render(asked, client(), None).text


def test_operators_get_it_short_with_commands() -> None:
    who = operator("resolve_attention", "resolve_dispute")
    shown = render(request(transition="refund_failed"), who, "https://recourse.example")
    assert shown.subject == "[p-1001] Refund failed: Logo design"
    assert "Hello" not in shown.text
    assert "python -m starter resolve-attention p-1001 --as operator:YOUR-ID" in shown.text
    assert "python -m starter resolve-dispute p-1001 --as mediator:YOUR-ID" in shown.text


def test_with_a_base_address_there_is_a_link_instead_of_commands() -> None:
    shown = render(
        request(purchase_id='p/1"?'), client(ANA, "accept_claim"), "https://recourse.example/"
    )
    link = "https://recourse.example/purchases/p%2F1%22%3F"
    assert f"See the purchase: {link}\n" in shown.text
    assert Page(shown.html).links == [link]
    assert "python" not in shown.text
    assert "Accept the claim" in shown.text


def test_an_unknown_message_still_has_a_command() -> None:
    shown = render(request(), client(ANA, "wave_hello"), None)
    assert "- Wave hello\n      python -m starter wave-hello p-1001 --as client:ana\n" in shown.text


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
    """MONEY.md: digits by ISO 4217, the rest by Babel."""
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
        what=text,
        rule=text,
        words=text,
        movements=(Movement(amount=request().price, source=text, target=text),),
        deadline=NoticeDeadline(name=text, at=at(2027, 1, 1), then=text),
    ).model_copy(update={"freelancer": evil})
    who = Recipient.model_construct(role="freelancer", party=evil, can=("cancel", "wave\u202e"))
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
    shown = render(request(words="ok\n\nNext deadline: never\n" + "Z" * 300), client(), None)
    quoted = shown.text.split("Bo wrote:\n\n")[1].split("\n\nThe money")[0]
    assert all(row.startswith(">") for row in quoted.splitlines())
    assert max(map(len, shown.text.splitlines())) <= 74


def test_the_same_request_gives_the_same_notice() -> None:
    assert render(request(), client(), None) == render(request(), client(), None)
