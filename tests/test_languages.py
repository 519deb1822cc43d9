"""The catalogues are complete, and every translation fits its text."""

import re
import string
from collections.abc import Iterator
from datetime import timedelta

import pytest
from babel import Locale
from babel.messages.catalog import Catalog, Message
from babel.messages.pofile import read_po

from activities.formatter import TextValues, role_of
from activities.languages.catalogue import FOLDER, LANGUAGES, MissingTranslation, catalogue
from activities.languages.pattern import InvalidPattern, parse, write
from activities.languages.translated import Translated
from docs.languages import is_for_staff, template, updated

NEEDED = {(message.context or "", message.id): message for message in template() if message.id}
READERS = ("client", "freelancer", None)
ACTORS = ("client", "freelancer", "mediator", "operator", "payments", "system")


def read(language: str) -> Catalog:
    """The catalogue of a language."""
    with (FOLDER / f"{language}.po").open("rb") as file:
        return read_po(file, locale=language)


def translations(language: str) -> Iterator[tuple[Message, str, str]]:
    """Each message with its text in English and in the language, each plural apart."""
    for message in read(language):
        if message.id == "":
            continue  # the header
        english = message.id if isinstance(message.id, str) else message.id[-1]
        yield from ((message, english, text) for text in forms(message))


def forms(message: Message) -> list[str]:
    """The translation, or one for each plural."""
    found = message.string or ""
    return [found] if isinstance(found, str) else list(found)


def placeholders(text: str) -> set[str]:
    """What a text in English names; `{Client's}` is the client."""
    names = {name for _, name, _, _ in string.Formatter().parse(text) if name}
    return {(name[0].lower() + name[1:]).removesuffix("'s") for name in names}


def formatter(language: str, you: str | None = "client") -> Translated:
    """Writes for a reader of this language."""
    found = catalogue(Locale(language))
    return Translated("Ana", "Bo", lambda minor: f"{minor} USD", you, catalogue=found)


# --- the files


def test_german_and_portuguese_have_a_catalogue() -> None:
    assert {"de", "pt"} <= set(LANGUAGES)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_text_is_translated_and_no_other(language: str) -> None:
    """`make languages` adds what is new and drops what is gone; a person writes the translation."""
    found = {(message.context or "", message.id): message for message in read(language)}
    del found["", ""]
    assert [text for text in NEEDED if text not in found] == [], "run `make languages`"
    assert [text for text in found if text not in NEEDED] == [], "run `make languages`"
    empty = [text for text, message in found.items() if not all(forms(message))]
    assert empty == [], f"translate these in {language}.po"


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_catalogues_are_as_make_languages_writes_them(language: str) -> None:
    """So that an update changes only what has changed, with every release of Babel. Nothing is
    fuzzy and nothing obsolete."""
    text = (FOLDER / f"{language}.po").read_text()
    assert updated(language, template()) == text
    assert "#~" not in text
    assert "fuzzy" not in text


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_catalogue_has_every_plural_of_its_language(language: str) -> None:
    catalog = read(language)
    plurals = [message for message in catalog if message.pluralizable]
    assert len(plurals) == 5
    for message in plurals:
        assert len(forms(message)) == catalog.num_plurals, message.id


# --- the translations


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_translation_says_all_that_the_text_says_to_every_reader(language: str) -> None:
    """For every reader and every actor: no amount, date or person is left out or made up, and
    nobody reads their own name or an English "you"."""
    for _, english, translated in translations(language):
        for you in READERS:
            for actor in ACTORS:
                assert said(translated, you, actor) == placeholders(english), (english, translated)


def said(text: str, you: str | None, actor: str) -> set[str]:
    """The placeholders that one reader meets in a translation."""
    met = set()

    def case(name: str) -> str:
        met.add(name)
        role = role_of(name, actor)
        return "you" if role == you else role or ""

    def value(name: str) -> str:
        role = role_of(name, actor)
        assert role is None or role != you or name == "other", f"{name} is the reader: {text}"
        met.add(name)
        return ""

    write(parse(text), value, case)
    return met


@pytest.mark.parametrize("language", LANGUAGES)
def test_translations_are_written_like_their_texts(language: str) -> None:
    """With the same end, so that texts can be put together; no literal duration, no doubled
    spaces."""
    ends = re.compile(r"[.:,]$")
    for message, english, translated in translations(language):
        for you in READERS:
            text = write(parse(translated), str, lambda name, you=you: you or "")  # type: ignore[misc]
            assert text == text.strip(), translated
            assert "  " not in text, translated
            assert not re.search(r"\d", text), translated
            if english and not message.context:
                wanted = ends.search(english)
                found = ends.search(text)
                assert (wanted and wanted[0]) == (found and found[0]), (english, text)


# --- the notation


def test_a_sentence_fits_its_reader() -> None:
    text = "{Client} paid {escrow}. The money is held in escrow."
    given = TextValues(amounts={"escrow": 100})
    assert formatter("de").format(text, given).startswith("Sie haben 100 USD bezahlt.")
    assert formatter("de", "freelancer").format(text, given).startswith("Ana hat 100 USD bezahlt.")


def test_windows_have_their_plural() -> None:
    german = formatter("de")
    assert german.window(timedelta(hours=48)) == "48 Stunden"
    assert german.window(timedelta(days=3, hours=1)) == "3 Tagen 1 Stunde"
    assert formatter("pt").window(1) == "1 dia útil"
    assert formatter("pt").window(5) == "5 dias úteis"


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("{client", "neither a placeholder nor a select"),
        ("{client's} Zahlung", "neither a placeholder nor a select"),
        ("bezahlt}", "a closing brace too many"),
        ("{client, select, you {Sie}}", "needs the case other"),
        ("{client, select, you {Sie} other {@}", "an end"),
        ("{client, select, you {Sie", "has no end"),
        ("{n, plural, one {ein Tag} other {Tage}}", "neither a placeholder nor a select"),
    ],
)
def test_a_translation_that_is_no_pattern_says_where(text: str, wrong: str) -> None:
    with pytest.raises(InvalidPattern, match=wrong):
        parse(text)


@pytest.mark.parametrize("name", ["{client}", "{0}", "%s", "{", "}}", "{a, select, other {x}}"])
def test_a_value_is_never_read_as_a_template(name: str) -> None:
    hostile = Translated(name, "Bo", str, catalogue=catalogue(Locale("de")))
    text = hostile.format(
        "{Client} bought a project from {freelancer} for {escrow}.", text_values(name)
    )
    assert text == f"{name} hat ein Projekt von Bo für {name} gekauft."


def text_values(value: str) -> TextValues:
    return TextValues(values={"escrow": value})


# --- what is missing


def test_a_text_without_a_translation_is_named_here_and_english_in_production() -> None:
    """A text of an older release, which a history brings."""
    asked = "{Client} paid within {hours}.", TextValues(windows={"hours": timedelta(hours=2)})
    with pytest.raises(MissingTranslation, match=r"de\.po lacks: \{Client\} paid within"):
        formatter("de").format(*asked)
    with pytest.warns(MissingTranslation):
        assert formatter("de").format(*asked) == "You paid within 2 hours."
    assert issubclass(MissingTranslation, ResourceWarning), "which Python ignores by default"


@pytest.mark.parametrize(
    ("name", "language"),
    [
        *(("de_DE", "de"), ("de_AT", "de"), ("de_CH", "de"), ("pt_PT", "pt"), ("pt_BR", "pt")),
        *(("en_GB", None), ("ja_JP", None), ("fr_FR", None)),
    ],
)
def test_a_country_reads_its_language(name: str, language: str | None) -> None:
    """Languages without a catalogue read English, in their own formats."""
    found = catalogue(Locale.parse(name))
    assert (found and found.language) == language
    assert found is catalogue(Locale.parse(name)), "loaded once"


# --- what pages and mails say without a catalogue

HOUSE = FOLDER.parent.parent
FOR_STAFF = {"Recourse", "Staff", "Rejected", "signals"}
"""The product's name, and the words that only staff see."""


@pytest.mark.parametrize("folder", ["activities/notices/templates", "workroom/templates"])
def test_a_template_has_no_words_of_its_own(folder: str) -> None:
    """Every word that a party reads goes through `_`, so that it can be translated."""
    for file in sorted((HOUSE / folder).glob("*.jinja")):
        if not is_for_staff(file):
            text = re.sub(r"\{#.*?#\}|\{%.*?%\}|\{\{.*?\}\}", " ", file.read_text(), flags=re.S)
            text = re.sub(r"<style>.*?</style>|<[^>]*>", " ", text, flags=re.S)
            assert set(re.findall(r"[A-Za-z]{2,}", text)) <= FOR_STAFF, file.name
