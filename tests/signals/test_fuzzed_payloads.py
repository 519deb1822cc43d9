"""Signals with generated names and payloads: the purchase answers, keeps its deadlines, goes on."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import WorkflowEnvironment

from demo.runner import Handle, skip, status, until
from demo.scenarios import PRICE
from tests.purchases import held
from tests.signals.payloads import GOOD, failed_tasks, whole_history
from workflows.messages import MESSAGES, Status

EXAMPLES = 100
"""How many batches of signals are sent."""
LARGEST_BATCH = 5
ANSWER_TIMEOUT = 20
"""Seconds after which a purchase that does not answer is reported as stuck."""


@dataclass(frozen=True)
class Sent:
    """One signal: a name and any number of payloads."""

    name: str
    payloads: Sequence[Payload]


ANY_TEXT = st.text(max_size=20)
NAMES = st.one_of(
    st.sampled_from(list(MESSAGES)),
    st.sampled_from(list(MESSAGES)),
    ANY_TEXT,
    st.sampled_from(["", "x" * 900, "x" * 2_000, "status", "__stack_trace", "__temporal_signal"]),
).filter(lambda name: name.encode(errors="ignore").decode() == name)

ENCODINGS = st.one_of(
    st.just(b"json/plain"),
    st.just(b"json/plain"),
    st.sampled_from([b"binary/null", b"binary/plain", b"json/protobuf", b"binary/encrypted", b""]),
    st.binary(max_size=20),
)
METADATA = st.builds(
    lambda encoding, more: {**more, **({} if encoding is None else {"encoding": encoding})},
    st.none() | ENCODINGS,
    st.dictionaries(st.sampled_from(["messageType", "é", "x" * 500]), st.binary(max_size=20)),
)

SENDERS = st.one_of(
    st.fixed_dictionaries({"role": st.sampled_from(["client", "mediator"]), "id": st.just("eve")}),
    st.fixed_dictionaries({"role": ANY_TEXT, "id": ANY_TEXT}),
    ANY_TEXT,
)
"""Strangers, staff without a part in this purchase, and senders that are none: never a party."""

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3),
    max_leaves=5,
)
FIELDS = st.sampled_from(
    sorted({field for kind in MESSAGES.values() for field in kind.model_fields} - {"message_id"})
)
NEARLY_A_MESSAGE = st.builds(
    lambda name, by, changed: json.dumps({**GOOD[name], **changed, "by": by}).encode(),
    st.sampled_from(list(GOOD)),
    SENDERS,
    st.dictionaries(FIELDS | ANY_TEXT.filter(lambda key: key != "message_id"), VALUES, max_size=2),
)
DEEP = st.builds(
    lambda opening, closing, times: opening * times + closing * times,
    st.sampled_from([b"[", b'{"by":', b'{"a":[']),
    st.sampled_from([b"]", b"}", b"]}", b""]),
    st.integers(1, 5_000),
)
SURROGATE = st.builds(
    lambda field: b'{"by":{"role":"client","id":"ana"},"' + field.encode() + b'":"\\udfff"}', FIELDS
)
DATA = st.one_of(
    st.binary(max_size=40),
    NEARLY_A_MESSAGE,
    st.tuples(NEARLY_A_MESSAGE, st.integers(1, 30)).map(lambda pair: pair[0][: -pair[1]]),
    VALUES.map(lambda value: json.dumps(value).encode()),
    DEEP,
    SURROGATE,
)
PAYLOADS = st.lists(st.builds(lambda m, d: Payload(metadata=m, data=d), METADATA, DATA), max_size=2)
ONE_PAYLOAD = st.builds(
    lambda data: [Payload(metadata={"encoding": b"json/plain"}, data=data)], DATA
)
SIGNALS = st.builds(Sent, NAMES, ONE_PAYLOAD | PAYLOADS)


async def test_no_payload_under_any_name_stops_a_purchase(
    server: WorkflowEnvironment, worker: object
) -> None:
    """After every batch `status` answers, each signal is counted as rejected, and stage and
    deadlines are unchanged. No workflow task fails, and the purchase ends with the right money."""
    handle = await held(server)
    untouched = await status(handle)
    loop = asyncio.get_running_loop()

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(SIGNALS, min_size=1, max_size=LARGEST_BATCH))
    def holds(batch: list[Sent]) -> None:
        checked = asyncio.run_coroutine_threadsafe(_survives(handle, untouched, batch), loop)
        checked.result(ANSWER_TIMEOUT)

    await asyncio.to_thread(holds)

    await skip(server, handle)
    result = await handle.result()
    assert (result.reason, result.refunded) == ("requirements_timeout", PRICE)
    assert not failed_tasks(await whole_history(server.client, handle))


async def _survives(handle: Handle, untouched: Status, batch: list[Sent]) -> None:
    before = (await status(handle)).rejected_count

    arrived = sum(await asyncio.gather(*(_send(handle, sent) for sent in batch)))

    after = await until(handle, lambda found: found.rejected_count >= before + arrived)
    assert after.rejected_count == before + arrived
    assert (after.stage, after.deadlines) == (untouched.stage, untouched.deadlines)


async def _send(handle: Handle, sent: Sent) -> bool:
    """Send a signal; whether the server accepted it. The server itself rejects some names."""
    try:
        await handle.signal(sent.name, args=[RawValue(payload) for payload in sent.payloads])
    except RPCError as error:
        if error.status is RPCStatusCode.INVALID_ARGUMENT:
            return False
        raise
    return True
