"""The samples of `make notices`: every kind of notice, for parties of several countries."""

import re
import shlex
from pathlib import Path

import pytest

from activities.notices.render import render
from activities.requests import NoticeRequest
from demo.scenarios import AT_PROVIDER, SCENARIOS, Scenario
from docs.notice_samples import SAMPLE_PARTIES, SAMPLE_PURCHASES
from docs.notices import BEGIN, Sample, write
from docs.rehearsal import Rehearsal, money_activities
from starter.commands import command
from tests.notices.html_page import Page
from tests.notices.sample_notices import parties_named, samples_of
from workflows.messages import PurchaseStart

WORDS = {"de_DE": "de", "pt_PT": "pt"}
"""The language of the notices for parties with these locales; of all others, English."""


@pytest.fixture(params=[parties.name for parties in SAMPLE_PARTIES])
def shown(request: pytest.FixtureRequest) -> list[Sample]:
    """All samples of one pair of parties."""
    return samples_of(request.param)


@pytest.mark.parametrize("scenario", [*SCENARIOS, *AT_PROVIDER], ids=lambda scenario: scenario.name)
def test_a_rehearsal_sends_the_notices_of_the_scenario(scenario: Scenario) -> None:
    """So samples are real: other tests run the scenarios on a real server."""
    with money_activities() as money:
        requests = Rehearsal(money, scenario.start("p-1"), BEGIN).run(*scenario.steps)
    sent = [
        f"{each.transition}: {', '.join(reader.role for reader in each.recipients)}"
        for each in requests
        if each.transition != "message_rejected"  # scenarios send updates: no notice
    ]
    assert sent == list(scenario.notices)


def test_all_parties_have_samples_of_every_kind(shown: list[Sample]) -> None:
    """So the formats of each language and the hostile names are in every kind of notice."""
    names = [sample.name for sample in shown]
    assert names == [sample.name for sample in samples_of("en-US")]
    assert len(set(names)) == len(names)


def test_the_index_links_to_every_sample(tmp_path: Path) -> None:
    """There is a page for each pair of parties, and each notice as HTML and as text."""
    count = write(tmp_path, SAMPLE_PARTIES[1:3])
    index = (tmp_path / "index.html").read_text()
    links = re.findall(r'href="([\w-]+)\.html#([\w-]+)"', index)
    assert len(links) == count > 90 * 2
    for page, name in links:
        assert f'<section id="{name}">' in (tmp_path / f"{page}.html").read_text()
        assert (tmp_path / page / f"{name}.html").exists()
        assert (tmp_path / page / f"{name}.txt").exists()


def test_a_request_is_unchanged_by_json(shown: list[Sample]) -> None:
    """Windows in hours and in business days, and amounts of zero, too."""
    for sample in shown:
        assert NoticeRequest.model_validate_json(sample.request.model_dump_json()) == sample.request


@pytest.mark.parametrize("parties", ["de-DE", "hostile"])
def test_every_command_is_valid(parties: str) -> None:
    """The command line accepts each command in a notice, with its options."""
    lines = {row.strip() for one in samples_of(parties) for row in one.rendered.text.split("\n")}
    ids = {parties_named(parties).start(sample)["purchase_id"] for sample in SAMPLE_PURCHASES}
    found = [shlex.split(line)[1:] for line in lines if line.startswith("recourse ")]
    assert len(found) > 10
    for name, *arguments in found:
        assert command(name).make_context(name, arguments).params["purchase_id"] in ids


def test_hostile_text_is_harmless_in_every_kind_of_notice() -> None:
    """No markup, no link, no second line in a subject, no bidirectional override."""
    for sample in samples_of("hostile"):
        subject, html, text = sample.rendered.subject, sample.rendered.html, sample.rendered.text
        if page := sample.request.confirm_url:  # the only link, to the payment provider
            html, text = html.replace(f'href="{page}"', "", 1), text.replace(page, "", 1)
        assert not re.search(r"<(script|img|i|b)\b|href|\son\w+=\w+>", html), sample.name
        assert not set(html + text + subject) & set("\u202a\u202b\u202d\u202e\u2066\u2067")
        assert not re.search(r"evil\.example|https?:/", text + html.split("</title>")[1])
        assert len(subject.splitlines()) == 1
        for part in (html, text):
            assert part.count("\u2068") == part.count("\u2069")


def test_html_is_what_mail_programs_accept(shown: list[Sample]) -> None:
    """No script, no picture, nothing remote; a language; and small enough not to be cut off."""
    known = (
        "html head meta title style body div h1 h2 p blockquote table tr td span ul li br code a"
    )
    for sample in shown:
        page = Page(sample.rendered.html)
        assert page.tags <= set(known.split()), sample.name
        links = [link for link in page.links if link != sample.request.confirm_url]
        assert all(link.startswith("https://market.example/purchases/") for link in links)
        words = "en" if sample.role == "operator" else WORDS.get(sample.request.client.locale, "en")
        assert f'<html lang="{words}" dir="ltr">' in sample.rendered.html
        assert len(sample.rendered.html.encode()) < 100_000
    assert not re.search(r"url\(|@import|src=", samples_of("en-US")[0].rendered.html)


@pytest.mark.parametrize(
    ("name", "amount", "moment"),
    [
        ("en-US", "$250.00", "Friday, March 6, 2026, 10:00\xa0AM (America/New_York, UTC−05:00)"),
        ("de-DE", "250,00\xa0€", "Freitag, 6. März 2026, 16:00 (Europe/Berlin, UTC+01:00)"),
        (
            "pt-PT",
            "250,00\xa0€",
            "sexta-feira, 6 de março de 2026, 15:00 (Europe/Lisbon, UTC+00:00)",
        ),
        ("ja-JP", "￥25,000", "2026年3月7日土曜日, 5:00 (Pacific/Kiritimati, UTC+14:00)"),
        ("hostile", "د.ب", "⁨الجمعة، 6 مارس 2026, 5:00 م⁩ (Africa/Cairo, UTC+02:00)"),
    ],
)
def test_each_reader_has_their_own_format(name: str, amount: str, moment: str) -> None:
    """Amounts, dates and zones are in the reader's format."""
    held = next(one for one in samples_of(name) if one.name == "payment_held-system-client")
    for text in (held.rendered.text, held.rendered.html):
        assert amount in text
        assert moment in re.sub(r"\n +", " ", text)


def test_the_windows_are_those_of_the_purchase() -> None:
    """A notice shows the windows of the purchase's own policy."""
    sample = next(each for each in SAMPLE_PURCHASES if each.name == "requirements_never_come")
    given = SAMPLE_PARTIES[0].start(sample) | {"policy": {"requirements_window": "PT36H30M"}}
    with money_activities() as money:
        requests = Rehearsal(money, PurchaseStart.model_validate(given), BEGIN).run(*sample.steps)
    late = next(each for each in requests if each.transition == "requirements_timeout")
    text = render(late, late.recipients[0], None).text
    assert "within 36 hours 30 minutes of the purchase" in " ".join(text.split())
