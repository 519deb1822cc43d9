"""What the server keeps of a purchase is readable only with a key; keys change without a stop."""

import asyncio
import base64
import dataclasses
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from activities.services import Services
from demo.runner import ScenarioRunner, say, start, status, until
from demo.scenarios import SCENARIOS
from temporal import embedded
from temporal.client import data_converter
from temporal.codec import Encryption, WrongKeys, read_keys
from tests.conftest import settings
from tests.purchases import CLIENT, FREELANCER, purchase
from tests.security.codec_process import TOKEN, codec_server
from tests.security.keys import HELLO, NEW, OLD
from tests.test_rules_versions import failure
from worker import build_worker
from workflows.messages import Role
from workflows.receiving.encrypted import ENCODING, SETTING, Undecipherable, is_encrypted

# --- keys


async def test_a_payload_is_read_with_its_key_alone() -> None:
    """AES-256-GCM: the same payload looks another way each time, and shows nothing of itself."""
    (first,), (second,) = [await Encryption(read_keys(NEW)).encode([HELLO]) for _ in range(2)]
    assert first.metadata["encoding"] == ENCODING
    assert first.metadata["encryption-key-id"] == b"2026-11"
    assert first.data != second.data
    assert b"ana" not in first.SerializeToString()
    assert await Encryption(read_keys(NEW)).decode([first]) == [HELLO]
    assert await Encryption(read_keys(OLD)).decode([first]) == [first]


async def test_the_first_key_encrypts_and_each_decrypts() -> None:
    """Rotation: what was written under the old key stays readable."""
    old = await Encryption(read_keys(OLD)).encode([HELLO])
    both = Encryption(read_keys(f"{NEW}, {OLD}"))
    new = await both.encode([HELLO])
    assert new[0].metadata["encryption-key-id"] == b"2026-11"
    assert await both.decode([*old, *new, HELLO]) == [HELLO, HELLO, HELLO]


@pytest.mark.parametrize("bent", ["data", "key", "short"])
async def test_what_was_bent_on_the_way_is_not_taken_for_a_message(bent: str) -> None:
    """Each payload is bound to its key's id and to every bit of itself."""
    both = Encryption(read_keys(f"{NEW},{OLD}"))
    (payload,) = await both.encode([HELLO])
    match bent:
        case "data":
            payload.data = payload.data[:-1] + bytes([payload.data[-1] ^ 1])
        case "key":
            payload.metadata["encryption-key-id"] = b"2026-05"
        case "short":
            payload.data = b"x"
    assert await both.decode([payload]) == [payload]


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("", "has no key"),
        ("no-colon", "entry 1 has to be"),
        ("k:not base64!", "'k' is not base64"),
        (f"k:{base64.b64encode(b'short').decode()}", "'k' has 5 bytes, not 32"),
        (f"{NEW},{NEW}", "two keys are called '2026-11'"),
        (f"{NEW},é:x", "entry 2 has to be"),
    ],
    ids=["nothing", "no id", "no base64", "too short", "one id twice", "an id that is not ASCII"],
)
def test_keys_that_cannot_be_right_are_refused_without_showing_them(
    setting: str, says: str
) -> None:
    """RECOURSE_ENCRYPTION_KEYS: a sentence that names the entry."""
    with pytest.raises(WrongKeys, match=says) as rejected:
        read_keys(setting)
    assert NEW.partition(":")[2] not in str(rejected.value)


# --- purchases


@dataclasses.dataclass
class Secret:
    """A server, books, and workers and clients with the keys they are given."""

    server: WorkflowEnvironment
    services: Services
    threads: ThreadPoolExecutor

    async def client(self, keys: str) -> Client:
        """A client with keys."""
        address = embedded.address(self.server.client)
        return await Client.connect(address, data_converter=data_converter({SETTING: keys}))


@pytest.fixture
async def secret(lonely: WorkflowEnvironment, threads: ThreadPoolExecutor, tmp_path: Path) -> Any:
    """A server of its own: no other worker without keys takes its tasks."""
    with closing(Services(settings(tmp_path))) as services:
        yield Secret(lonely, services, threads)


async def test_a_whole_purchase_leaves_nothing_readable_at_the_server(secret: Secret) -> None:
    """Names, addresses, title, requirements, amounts and failures are in no event in the clear."""
    client = await secret.client(NEW)
    scenario = next(scenario for scenario in SCENARIOS if scenario.name == "change_of_mind")
    watched = _Seen(secret.server, client)
    async with build_worker(client, secret.services, secret.threads):
        result = await ScenarioRunner(watched).play(scenario, "secret-1")
    assert result.outcome == scenario.ends.outcome
    handle = secret.server.client.get_workflow_handle("purchase-secret-1")
    given = scenario.start("secret-1")
    kept = (
        b"".join(event.SerializeToString() for event in (await handle.fetch_history()).events)
        + (await handle.describe()).raw_description.SerializeToString()
    )
    assert ENCODING in kept
    for word in (given.title, given.client.name, given.client.email, given.freelancer.email, "USD"):
        assert word.encode() not in kept, word
    assert b"purchase-secret-1" in kept, "ids are no secret"


@dataclasses.dataclass
class _Seen:
    """The server, its time skipped, as a client with keys sees it."""

    server: WorkflowEnvironment
    client: Client

    async def fast_forward(self, handle: Any, duration: Any = None, /) -> bool:
        """As the server does."""
        return bool(await self.server.fast_forward(handle, duration))


async def test_keys_are_rotated_while_a_purchase_runs(secret: Secret) -> None:
    """Without downtime: the worker learns the new key, everybody uses it, the old one stays."""
    async with build_worker(await secret.client(OLD), secret.services, secret.threads):
        handle = await start(await secret.client(OLD), purchase())
        await until(handle, lambda found: found.payment == "held")
    async with build_worker(await secret.client(f"{OLD},{NEW}"), secret.services, secret.threads):
        newer = (await secret.client(f"{NEW},{OLD}")).get_workflow_handle(handle.id)
        await say(newer, Role.CLIENT, "submit_requirements", requirements="A logo.")
    async with build_worker(await secret.client(f"{NEW},{OLD}"), secret.services, secret.threads):
        await say(newer, Role.FREELANCER, "give_refund")
        assert (await status(newer)).requirements == "A logo."
    await newer.terminate("seen")


async def test_other_systems_may_send_in_the_clear_and_rubbish_stops_nothing(
    secret: Secret,
) -> None:
    """An encrypted message under a key that nobody has is refused like any other that cannot be
    read."""
    client = await secret.client(NEW)
    async with build_worker(client, secret.services, secret.threads):
        handle = await start(client, purchase())
        await until(handle, lambda found: found.payment == "held")
        clear = secret.server.client.get_workflow_handle(handle.id)
        await clear.signal("submit_requirements", {"by": CLIENT, "requirements": "A logo."})
        strange = (await secret.client(OLD)).get_workflow_handle(handle.id)
        await strange.signal("nobody_knows_this", {"by": FREELANCER})
        await strange.signal("give_refund", {"by": FREELANCER})
        found = await until(handle, lambda found: found.rejected_count == 2)
    assert found.stage == "freelancer_review"
    assert [item.code for item in found.rejected] == ["UNKNOWN_MESSAGE", "INVALID_MESSAGE"]
    assert "binary/encrypted" in found.rejected[1].text
    await handle.terminate("seen")


async def test_a_worker_without_the_key_delays_a_purchase_and_loses_nothing(
    secret: Secret,
) -> None:
    """A key forgotten in a deploy: the purchase waits, and goes on when the key is there."""
    client = await secret.client(NEW)
    handle = await start(client, purchase())
    async with build_worker(await secret.client(OLD), secret.services, secret.threads):
        async for event in handle.fetch_history_events(wait_new_event=True):
            if event.HasField("workflow_task_failed_event_attributes"):
                break
    async with build_worker(client, secret.services, secret.threads):
        await until(handle, lambda found: found.payment == "held")
    await handle.terminate("seen")


async def test_a_worker_without_the_key_says_which_one_it_lacks(secret: Secret) -> None:
    """In the purchase's history and in the clear: the id of a key is no secret."""
    async with build_worker(await secret.client(OLD), secret.services, secret.threads):
        handle = await start(await secret.client(OLD), purchase())
        await until(handle, lambda found: found.payment == "held")
    async with build_worker(await secret.client(NEW), secret.services, secret.threads):
        await handle.signal("send_message", {"by": CLIENT, "text": "Still there?"})
        said = await failure(handle)
    await handle.terminate("seen")

    assert f"the key '2026-05', and cannot be decrypted here: put that key into {SETTING}" in said


async def test_a_look_without_the_key_says_which_key_is_missing(secret: Secret) -> None:
    """Its users are told what to set."""
    client = await secret.client(NEW)
    async with build_worker(client, secret.services, secret.threads):
        handle = await start(client, purchase())
        await until(handle, lambda found: found.payment == "held")
        blind = (await secret.client(OLD)).get_workflow_handle(handle.id)
        with pytest.raises(Undecipherable, match=f"the key '2026-11'.*{SETTING}"):
            await status(blind)
    await handle.terminate("seen")


def test_without_keys_nothing_is_encrypted() -> None:
    """One setting switches it on."""
    assert data_converter({}).payload_codec is None
    assert not is_encrypted(HELLO)


async def test_the_temporal_command_line_reads_with_a_token(secret: Secret) -> None:
    """docs/security.md: `temporal workflow show` with the codec server, and without."""
    client = await secret.client(NEW)
    async with build_worker(client, secret.services, secret.threads):
        handle = await start(client, purchase())
        await until(handle, lambda found: found.payment == "held")
    async with codec_server(NEW, "http://localhost:8233") as codec:
        decoding = ("--codec-endpoint", codec.url, "--codec-auth", f"Bearer {TOKEN}")
        shown = [await temporal(secret, handle.id, *more) for more in ((), decoding)]
    assert ["ana@example.com" in text for text in shown] == [False, True]
    await handle.terminate("seen")


async def temporal(secret: Secret, workflow_id: str, *more: str) -> str:
    """What `temporal workflow show` prints."""
    address = embedded.address(secret.server.client)
    command = ("workflow", "show", "-w", workflow_id, "--address", address, "--detailed", *more)
    running = await asyncio.create_subprocess_exec(
        embedded.binary(), *command, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await running.communicate()
    return out.decode()
