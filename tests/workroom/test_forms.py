"""The forms: every message of a person has one, also a message that is new."""

import re
from typing import ClassVar

import pytest
from temporalio.testing import WorkflowEnvironment

from activities.formatter import Formatter, TextValues
from activities.links import form_of
from activities.notices.formats import reader
from demo.runner import status
from tests.contract import start
from tests.purchases import held
from workflows.lifecycle.state import Stage
from workflows.lifecycle.texts import MESSAGE_SENT
from workflows.lifecycle.transition import Form, Transition
from workflows.lifecycle.transition import message as cause
from workflows.lifecycle.versions import newest_rules
from workflows.messages import MESSAGES, Message, Role, Sender, Text
from workroom.answers import Invalid, message_of, read
from workroom.forms import FORMS, form_at, plain_forms
from workroom.show import View


def test_every_message_that_a_notice_names_has_a_form() -> None:
    """The link of a notice leads to the very form."""
    for row in newest_rules().transitions:
        for role in set(row.cause.by) & {Role.CLIENT, Role.FREELANCER}:
            if row.form:
                form = form_at(form_of(row.cause.message, row.form.sample), role)
                assert form is not None, row.id
                assert form.message == row.cause.message


def test_every_message_of_a_party_or_staff_has_a_form() -> None:
    """All but the provider's own."""
    assert {form.message for form in FORMS} == set(MESSAGES) - {"settlement_update"}
    for form in FORMS:
        assert re.fullmatch(r"[a-z_]+", form.path)
        for text in (form.title, form.button, form.sent):
            assert Formatter("Ana", "Bo", str).format(text, TextValues("client")), (
                "it names nobody but parties"
            )
    pages = [(form.path, role) for form in FORMS for role in form.roles]
    assert len(set(pages)) == len(pages), "each page has one form"


class _Remind(Message):
    """Somebody asks for an answer."""

    name: ClassVar[str] = "remind"
    note: Text | None = None


class _Object(Message):
    """Somebody says why they disagree."""

    name: ClassVar[str] = "object"
    reason: Text


class _Measure(Message):
    """A message with a field that no text answers."""

    name: ClassVar[str] = "measure"
    note: Text | None = None
    hours: int


def _row(kind: type[Message], label: str, *roles: Role) -> Transition:
    return Transition(
        id="R-99",
        name=f"{kind.name}_sent",
        cause=cause(kind.name, *roles),
        stages=(Stage.IN_PROGRESS,),
        text=MESSAGE_SENT,
        source="O",
        form=Form(label=label),
    )


def test_a_new_plain_message_has_a_form_without_being_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its row says what the form is called, who has it and what has happened, its model what is
    asked. A message that only machines send has no form, nor has one with a field of another
    kind."""
    new = {kind.name: kind for kind in (_Remind, _Object, _Measure)}
    rows = (
        _row(_Remind, "Remind {freelancer}", Role.CLIENT),
        _row(_Remind, "Remind them once more", Role.CLIENT),
        _row(_Remind, "Remind both", Role.MEDIATOR, Role.PAYMENTS),
        _row(_Object, "Object", Role.FREELANCER, Role.CLIENT),
        _row(_Measure, "Measure", Role.CLIENT),
    )
    found = list(plain_forms(rows, new))

    assert [(form.path, *form.roles, form.title, form.button) for form in found] == [
        ("remind", Role.CLIENT, "Remind {freelancer}", "Remind {freelancer}"),
        ("remind", Role.MEDIATOR, "Remind both", "Remind both"),
        ("object", Role.CLIENT, "Object", "Object"),
        ("object", Role.FREELANCER, "Object", "Object"),
    ]
    assert {form.sent for form in found} == {MESSAGE_SENT.summary}
    assert [(each.label, each.required) for form in found for each in form.questions] == [
        ("Note to the other side (optional)", False),
        ("Reasons, for both sides (optional)", False),
        ("Why?", True),
        ("Why?", True),
    ]
    monkeypatch.setitem(MESSAGES, "object", _Object)
    price, english, bo = start().price, reader(None), Sender(role=Role.FREELANCER, id="bo")
    with pytest.raises(Invalid, match="Say why"):
        read(found[-1], {"reason": " "}, price, english)
    fields = read(found[-1], {"reason": "It is done."}, price, english)
    sent = message_of(found[-1], fields, bo, "m-1", english)
    assert sent == _Object(by=bo, message_id="m-1", reason="It is done.")


async def test_a_form_of_a_message_that_the_worker_does_not_know_yet_cannot_be_sent(
    server: WorkflowEnvironment, worker: object
) -> None:
    """While a new release is rolled out, a worker may be older than the workroom."""
    handle = await held(server)
    view = View(Sender(role=Role.CLIENT, id="ana"), start(), await status(handle))
    assert {button.form.message for button in view.buttons(())} > {"cancel", "send_message"}
    assert not any(button.allowed for button in view.buttons(()))
