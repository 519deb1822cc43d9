"""Nothing that anybody sends can stop a purchase: every bad payload is refused, shown, survived."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.client import WorkflowUpdateFailedError
from temporalio.common import RawValue
from temporalio.testing import WorkflowEnvironment

from starter.stories import PRICE
from starter.theatre import Handle, say, skip, status, until
from tests.purchases import CLIENT, FREELANCER, held, refusal
from workflows.messages import Role

GOOD = {"by": CLIENT, "requirements": "A logo."}


def raw(data: bytes, encoding: bytes | None = b"json/plain") -> RawValue:
    """A payload as bytes on the wire."""
    return RawValue(Payload(metadata={"encoding": encoding} if encoding else {}, data=data))


def bad_payloads() -> Iterator[tuple[str, list[Any]]]:
    """What other systems may send by mistake."""
    yield "none", []
    yield "two", [GOOD, GOOD]
    yield "null", [None]
    yield "text", ["cancel"]
    yield "number", [7]
    yield "list", [[GOOD]]
    yield "unknown field", [{**GOOD, "requirement": "A logo."}]
    yield "missing field", [{"by": CLIENT}]
    yield "number as text", [{"by": "client:ana", "requirements": "A logo."}]
    yield "bytes", [b"\x00\xff"]
    yield "JSON in a string", [json.dumps(GOOD)]
    yield "deep", [raw(b'{"by":' + b'{"a":' * 50_000 + b"1" + b"}" * 50_001)]
    yield "a megabyte", [{**GOOD, "requirements": "x" * 1_000_000}]
    yield "broken JSON", [raw(b'{"by": ')]
    yield "no encoding", [raw(b"{}", None)]
    yield "unknown encoding", [raw(b"{}", b"binary/ours")]
    yield "null encoding", [raw(b"", b"binary/null")]
    yield "protobuf", [raw(b"{}", b"json/protobuf")]
    yield "lone surrogate", [raw(b'{"by":{"role":"client","id":"\\ud800"},"requirements":"x"}')]
    yield "not UTF-8", [raw(b"\xff\xfe")]
    yield "NUL", [{**GOOD, "requirements": "a\x00b"}]
    yield "encoding not UTF-8", [raw(b"{}", b"\xff")]


BAD = dict(bad_payloads())


@pytest.fixture(scope="module")
async def target(server: WorkflowEnvironment, worker: object) -> Handle:
    """One purchase for everything that is badly sent."""
    return await held(server)


@pytest.mark.parametrize("name", BAD)
async def test_bad_payload_is_shown_and_changes_nothing(name: str, target: Handle) -> None:
    """Refused with INVALID_MESSAGE as a signal and as an update; the purchase goes on."""
    before = await status(target)

    await target.signal("submit_requirements", args=BAD[name])

    after = await until(target, lambda found: found.rejected_count > before.rejected_count)
    assert after.rejected[-1].code == "INVALID_MESSAGE"
    assert after.rejected[-1].text.endswith(".")
    assert (after.stage, after.deadlines) == (before.stage, before.deadlines)
    with pytest.raises(WorkflowUpdateFailedError):
        await target.execute_update("submit_requirements", args=BAD[name])


async def test_unknown_name_is_refused_as_signal_and_update(target: Handle) -> None:
    """UNKNOWN_MESSAGE lists the names there are."""
    before = (await status(target)).rejected_count

    await target.signal("refund_me", GOOD)

    found = await until(target, lambda found: found.rejected_count > before)
    assert (found.rejected[-1].code, found.rejected[-1].name) == ("UNKNOWN_MESSAGE", "refund_me")
    assert (await refusal(target, "refund_me", GOOD)).type == "UNKNOWN_MESSAGE"


async def test_stranger_and_wrong_role_are_refused(target: Handle) -> None:
    """NOT_A_PARTY for another id, WRONG_ROLE for a role the message is not for, or both hats."""
    stranger = {"role": "client", "id": "eve"}
    both = {"by": {"role": "mediator", "id": "bo"}, "refund": 1}

    assert (await refusal(target, "cancel", {"by": stranger})).type == "NOT_A_PARTY"
    assert (await refusal(target, "deliver", {"by": CLIENT})).type == "WRONG_ROLE"
    assert (await refusal(target, "resolve_dispute", both)).type == "WRONG_ROLE"


async def test_purchase_still_ends_with_the_right_money(
    target: Handle, server: WorkflowEnvironment
) -> None:
    """After all of that: the freelancer cancels, and the client gets everything back."""
    await say(target, Role.CLIENT, "submit_requirements", requirements="A logo.")
    await target.signal("cancel", {"by": FREELANCER})

    await skip(server, target)

    result = await target.result()
    assert (result.outcome, result.reason, result.refunded) == (
        "refunded",
        "freelancer_cancelled",
        PRICE,
    )
