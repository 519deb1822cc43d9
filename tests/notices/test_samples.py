"""What `make notices` shows: real notices, in every kind, for readers of every sort."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from activities.notices import render
from activities.requests import NoticeRequest
from demo.scenarios import SCENARIOS, Scenario
from docs.notice_samples import CASTS, SCENES
from docs.notices import BEGIN, Sample, write
from docs.rehearsal import Rehearsal, money_activities
from starter.app import app
from tests.notices.samples import Page, cast, shown
from workflows.messages import PurchaseStart


@pytest.fixture(params=[cast.name for cast in CASTS])
def seen(request: pytest.FixtureRequest) -> list[Sample]:
    """All samples, cast by cast."""
    return shown(request.param)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_a_rehearsal_tells_what_the_story_tells(scenario: Scenario) -> None:
    """The samples are those of a real purchase: the stories are proved on a real server."""
    with money_activities() as money:
        told = Rehearsal(money, scenario.start("p-1"), BEGIN).play(*scenario.acts)
    said = [
        f"{each.transition}: {', '.join(reader.role for reader in each.recipients)}"
        for each in told
        if each.transition != "message_rejected"  # scenarios send updates: no notice
    ]
    assert said == list(scenario.notices)


def test_every_cast_plays_every_kind(seen: list[Sample]) -> None:
    """Each language's formats and the hostile names are seen in every kind of notice."""
    names = [sample.name for sample in seen]
    assert names == [sample.name for sample in shown("en-US")]
    assert len(set(names)) == len(names)


def test_everything_is_written_and_found_from_the_index(tmp_path: Path) -> None:
    """Index, a page for each cast, and each notice as HTML and as text."""
    count = write(tmp_path, CASTS[1:3])
    index = (tmp_path / "index.html").read_text()
    links = re.findall(r'href="([\w-]+)\.html#([\w-]+)"', index)
    assert len(links) == count > 90 * 2
    for page, name in links:
        assert f'<section id="{name}">' in (tmp_path / f"{page}.html").read_text()
        assert (tmp_path / page / f"{name}.html").exists()
        assert (tmp_path / page / f"{name}.txt").exists()


def test_a_request_survives_its_journey(seen: list[Sample]) -> None:
    """As JSON in a history: windows in hours and in business days, amounts of zero."""
    for sample in seen:
        assert NoticeRequest.model_validate_json(sample.request.model_dump_json()) == sample.request


@pytest.mark.parametrize("name", ["de-DE", "hostile"])
def test_every_command_is_one(name: str) -> None:
    """Each command in a notice is one that the command line takes, with its options."""
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    lines = {row.strip() for one in shown(name) for row in one.rendered.text.split("\n")}
    ids = {cast(name).start(scene)["purchase_id"] for scene in SCENES}
    found = [shlex.split(line)[1:] for line in lines if line.startswith("recourse ")]
    assert len(found) > 50
    for command, *arguments in found:
        assert commands[command].make_context(command, arguments).params["purchase"] in ids


def test_hostile_people_change_nothing_but_their_own_words() -> None:
    """In every kind of notice: no markup, no link, no second line, nothing that turns text."""
    for sample in shown("hostile"):
        subject, html, text = sample.rendered.subject, sample.rendered.html, sample.rendered.text
        assert not re.search(r"<(script|img|i|b)\b|href|\son\w+=\w+>", html), sample.name
        assert not set(html + text + subject) & set("\u202a\u202b\u202d\u202e\u2066\u2067")
        assert not re.search(r"evil\.example|https?:/", text + html.split("</title>")[1])
        assert len(subject.splitlines()) == 1
        for said in (html, text):
            assert said.count("\u2068") == said.count("\u2069")


def test_mail_programs_find_nothing_to_refuse(seen: list[Sample]) -> None:
    """No script, no picture, nothing remote; the language is named, and no mail is cut off."""
    known = (
        "html head meta title style body div h1 h2 p blockquote table tr td span ul li br code a"
    )
    for sample in seen:
        page = Page(sample.rendered.html)
        assert page.tags <= set(known.split()), sample.name
        assert all(link.startswith("https://market.example/purchases/") for link in page.links)
        assert '<html lang="en" dir="ltr">' in sample.rendered.html
        assert len(sample.rendered.html.encode()) < 100_000
    assert not re.search(r"url\(|@import|src=", shown("en-US")[0].rendered.html)


@pytest.mark.parametrize(
    ("name", "amount", "moment"),
    [
        ("en-US", "$250.00", "Friday, March 6, 2026, 10:00\xa0AM (America/New_York, UTC−05:00)"),
        ("de-DE", "250,00\xa0€", "Freitag, 6. März 2026, 16:00 (Europe/Berlin, UTC+01:00)"),
        ("ja-JP", "￥25,000", "2026年3月7日土曜日, 5:00 (Pacific/Kiritimati, UTC+14:00)"),
        ("hostile", "د.ب", "⁨الجمعة، 6 مارس 2026, 5:00 م⁩ (Africa/Cairo, UTC+02:00)"),
    ],
)
def test_each_cast_reads_in_its_own_format(name: str, amount: str, moment: str) -> None:
    """Amounts, dates and zones as the reader writes them."""
    held = next(one for one in shown(name) if one.name == "payment_held-system-client")
    for said in (held.rendered.text, held.rendered.html):
        assert amount in said
        assert moment in re.sub(r"\n +", " ", said)


def test_the_windows_are_those_of_the_purchase() -> None:
    """A policy of its own is told in its own figures."""
    scene = next(each for each in SCENES if each.name == "requirements_never_come")
    given = CASTS[0].start(scene) | {"policy": {"requirements_window": "PT36H30M"}}
    with money_activities() as money:
        told = Rehearsal(money, PurchaseStart.model_validate(given), BEGIN).play(*scene.acts)
    late = next(each for each in told if each.transition == "requirements_timeout")
    text = render(late, late.recipients[0], None).text
    assert "within 36 hours 30 minutes of the purchase" in " ".join(text.split())
