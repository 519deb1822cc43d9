"""Brings the catalogues in activities/languages up to date: `make languages`.

Texts are data: those of the rules and of the forms are collected from their tables, those of
templates and code by Babel. Only what parties read is translated; staff read English.
"""

import sys
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Literal

from babel import Locale
from babel.messages.catalog import Catalog
from babel.messages.extract import extract
from babel.messages.pofile import read_po, write_po

from activities import formatter
from activities.languages.catalogue import FOLDER, LANGUAGES
from activities.notices.render import ACCOUNT_CONTEXTS, MESSAGE_CONTEXT, account_template
from workflows.lifecycle import draft, texts
from workflows.lifecycle.rejections import STAGE_TEXT
from workflows.lifecycle.state import RefundStatus
from workflows.lifecycle.transition import Transition
from workflows.lifecycle.versions import VERSIONS
from workflows.messages import MESSAGES, Role
from workflows.notice_requests import notice_text
from workroom.answers import TOO_MUCH
from workroom.forms import FORMS, Question
from workroom.outlook import ANSWER_UNTIL
from workroom.rows import (
    FROZEN,
    NEVER_STARTED,
    OFFER,
    OTHER,
    OUTCOME_TEXT,
    STARTING,
    WAITED_FOR,
    YOU,
)
from workroom.show import MONEY, REFUND

HOUSE = Path(__file__).parent.parent
CODE = ("activities/notices", "workroom")
KEYWORDS = {"_": (1,), "text": (1,), "say": (1,), "own": (1,), "_format": (1,)} | {
    "Rejected": (2,),
    "SignedOut": (1,),
    "_failed": (2,),
}
"""Calls whose argument is a text, and which one it is."""
PARTIES: tuple[Literal["client", "freelancer"], ...] = ("client", "freelancer")
HEADER = """\
# The texts of Recourse; docs/languages.md describes their notation.
msgid ""
msgstr ""
"Language: {language}\\n"
"MIME-Version: 1.0\\n"
"Content-Type: text/plain; charset=utf-8\\n"
"Content-Transfer-Encoding: 8bit\\n"
"Plural-Forms: {plural}\\n"

"""
"""Without names and dates, which Git has."""
Text = tuple[str | tuple[str, str], str, str]
"""The text, or its singular and plural; its context; where it comes from."""


def everything() -> Iterator[Text]:
    """Every text that a party can read."""
    for rules in VERSIONS.values():
        for row in rules.transitions:
            yield from ((text, "", f"rules:{row.id}") for text in _of_row(row))
        for rule in rules.deadlines:
            yield rule.label, "", f"rules:{rule.name.value}"
            if rule.reminder:
                yield from ((text, "", f"rules:{rule.name.value}") for text in _of(rule.reminder))
    for code, why in texts.WHY_REJECTED.items():
        yield from ((text, "", f"rejections:{code}") for text in (why, *_of(texts.rejected(why))))
    for text in (texts.CHANGED_SINCE, texts.REFUND_TAKES, texts.DECISION_WAITS):
        yield text, "", "rules"
    for text in (texts.ADOPTED, texts.BEGUN_AGAIN):
        yield text, "", "timeline"
    for account in ("PAYMENT_METHOD", "ESCROW", "IN_TRANSIT", "FREELANCER_BALANCE", "BANK"):
        for context in ACCOUNT_CONTEXTS:
            yield account_template(getattr(draft, account)), context, "movements"
    yield from ((name.replace("_", " "), MESSAGE_CONTEXT, "messages") for name in MESSAGES)
    for phrase in (*formatter.DIVISION, *formatter.OFFER, *formatter.CLAIMED):
        yield phrase, "", "phrases"
    for one, many, *_ in (*formatter.UNITS, formatter.BUSINESS_DAYS):
        yield (one, many), "", "windows"
    yield from _of_pages()
    yield from _of_code()


def _of(text: texts.Text) -> Iterator[str]:
    """The parts of a text that a notice has for parties."""
    sent = notice_text(text)
    yield from (sent.heading, sent.summary, sent.explanation)
    for role in PARTIES:
        yield from sent.advice.get(role, ())


def _of_row(row: Transition) -> Iterator[str]:
    if set(PARTIES) & set(row.notify):
        yield from _of(row.text)
    elif row.cause.message or not row.silent_for_facts:
        yield row.text.summary  # in the timeline
    yield from filter(None, (row.text.expiry, row.text.expiry_in_lists))
    if row.form and set(PARTIES) & set(row.cause.by):
        yield row.form.label


def _of_pages() -> Iterator[Text]:
    """The texts of the workroom that are data."""
    for stage in (*STAGE_TEXT.values(), STARTING, NEVER_STARTED, FROZEN, OFFER, OTHER):
        yield stage, "", "stages"
    yield from ((form.kind, "", "messages") for form in FORMS)
    yield ANSWER_UNTIL, "", "outlook"
    for label in (*MONEY.values(), TOO_MUCH):
        yield label, "", "money"
    yield from ((REFUND.get(each.value, each.value), "refund", "refund") for each in RefundStatus)
    yield from ((outcome, "", "outcomes") for outcome in OUTCOME_TEXT.values())
    for role in (Role.CLIENT, Role.FREELANCER):
        yield role.value, "", "roles"
    for who in (YOU, *WAITED_FOR.values()):
        yield who, "turn", "turn"
    for form in FORMS:
        if set(PARTIES) & set(form.roles):
            asked = [part for each in form.questions for part in _of_question(each)]
            advice = (*form.advice, *(form.first or ())[1:])
            found = (form.title, form.button, form.sent, *advice, *asked, *form.labels.values())
            yield from ((text, "", f"forms:{form.path}") for text in found if text)


def _of_question(asked: Question) -> tuple[str, ...]:
    missing = asked.missing if asked.required and asked.kind != "hidden" else ""
    return asked.label, asked.hint, missing, asked.most, asked.zero


def _of_code() -> Iterator[Text]:
    """The texts in templates and code."""
    for folder in CODE:
        for file in sorted((HOUSE / folder).rglob("*")):
            method = {".py": "python", ".jinja": "jinja2"}.get(file.suffix)
            if method and not is_for_staff(file):
                with file.open("rb") as source:
                    for _, text, _, _ in extract(method, source, KEYWORDS):
                        yield str(text), "", str(file.relative_to(HOUSE))


def is_for_staff(file: Path) -> bool:
    """Whether only staff and programs read what a file says."""
    return file.name.split(".")[0] in ("staff", "queue", "alert", "api", "tokens", "openapi")


def template() -> Catalog:
    """All texts, without translations."""
    found = Catalog(fuzzy=False)
    for text, context, source in everything():
        found.add(text, locations=[(source, 0)], context=context or None)
    for message in found:
        message.flags.clear()  # the translations are patterns of our own
    return found


def updated(language: str, wanted: Catalog) -> str:
    """A catalogue with new texts, untranslated, and without those that are gone."""
    catalog = Catalog(locale=language)
    if language in LANGUAGES:
        with (FOLDER / f"{language}.po").open("rb") as file:
            catalog = read_po(file, locale=language)
    catalog.update(wanted, no_fuzzy_matching=True)
    catalog.obsolete.clear()
    return written(catalog)


def written(catalog: Catalog) -> str:
    """The catalogue as a file; the same with every release of Babel."""
    for message in catalog:
        message.flags.clear()  # translations are patterns of our own
    file = BytesIO()
    write_po(file, catalog, width=100, omit_header=True, include_lineno=False)
    header = HEADER.format(language=catalog.locale, plural=catalog.plural_forms)
    return header + file.getvalue().decode()


def main(added: Sequence[str]) -> None:
    """Update every catalogue, and begin those of added languages."""
    wanted = template()
    for language in {*LANGUAGES, *(Locale.parse(name).language for name in added)}:
        (FOLDER / f"{language}.po").write_text(updated(language, wanted))


if __name__ == "__main__":
    main(sys.argv[1:])
