"""Encryption: the server stores purchases unreadable without a key; keys rotate without
downtime."""

import asyncio
import base64
import dataclasses
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.client import Client
from temporalio.common import RawValue
from temporalio.converter import NexusSerializationContext, WorkflowSerializationContext
from temporalio.testing import WorkflowEnvironment

from activities.sealing import Unreadable
from activities.services import Services
from demo.runner import ScenarioRunner, send, start, status, until
from demo.scenarios import SCENARIOS
from temporal import embedded
from temporal.adoption import Adoption
from temporal.client import data_converter, seal_of
from temporal.codec import NEXUS_SETTING, Encryption, WrongKeys, read_keys
from temporal.errors import Failure
from temporal.purchases import Purchase
from temporal.terms import stored
from tests.conftest import settings
from tests.purchases import CLIENT, FREELANCER, purchase, purchase_of
from tests.security.codec_process import TOKEN, codec_server
from tests.security.keys import HELLO, NEW, OLD
from tests.test_rules_versions import failure_message
from worker import build_worker
from workflows.messages import Role
from workflows.receiving.encrypted import ENCODING, SETTING, Undecipherable, is_encrypted

# --- keys


async def test_a_payload_can_be_decrypted_with_its_own_key_only() -> None:
    """AES-256-GCM with a random nonce: equal payloads have different ciphertexts. Without the key,
    a payload stays encrypted."""
    (first,), (second,) = [await Encryption(read_keys(NEW)).encode([HELLO]) for _ in range(2)]
    assert first.metadata["encoding"] == ENCODING
    assert first.metadata["encryption-key-id"] == b"2026-11"
    assert first.data != second.data
    assert b"ana" not in first.SerializeToString()
    assert await Encryption(read_keys(NEW)).decode([first]) == [HELLO]
    assert await Encryption(read_keys(OLD)).decode([first]) == [first]


async def test_callers_of_the_nexus_service_need_none_of_the_purchases_keys() -> None:
    """Their calls and the answers have keys of their own; without those, the purchases' keys."""
    call = NexusSerializationContext(endpoint="shop", service="Purchases", operation="status")
    purchase_of_ours = WorkflowSerializationContext(namespace="default", workflow_id="purchase-1")
    shared = data_converter({SETTING: NEW, NEXUS_SETTING: OLD})
    callers, ours = Encryption(read_keys(OLD)), Encryption(read_keys(NEW))

    answer = await shared.with_context(call).encode(["Ana"])
    stored_at_ours = await shared.with_context(purchase_of_ours).encode(["Ana"])
    without = await data_converter({SETTING: NEW}).with_context(call).encode(["Ana"])

    assert not is_encrypted((await callers.decode(answer))[0])
    assert not is_encrypted((await ours.decode(stored_at_ours))[0])
    assert is_encrypted((await callers.decode(stored_at_ours))[0])
    assert not is_encrypted((await ours.decode(without))[0])


async def test_the_first_key_encrypts_and_each_decrypts() -> None:
    """Key rotation: payloads that were encrypted with the old key stay readable."""
    old = await Encryption(read_keys(OLD)).encode([HELLO])
    both = Encryption(read_keys(f"{NEW}, {OLD}"))
    new = await both.encode([HELLO])
    assert new[0].metadata["encryption-key-id"] == b"2026-11"
    assert await both.decode([*old, *new, HELLO]) == [HELLO, HELLO, HELLO]


@pytest.mark.parametrize("manipulated", ["data", "key", "short"])
async def test_a_manipulated_payload_is_not_decrypted(manipulated: str) -> None:
    """A payload with a changed bit, another key id or too few bytes stays encrypted."""
    both = Encryption(read_keys(f"{NEW},{OLD}"))
    (payload,) = await both.encode([HELLO])
    match manipulated:
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
def test_invalid_keys_are_rejected_without_showing_them(setting: str, says: str) -> None:
    """The error names the wrong entry of RECOURSE_ENCRYPTION_KEYS."""
    with pytest.raises(WrongKeys, match=says) as rejected:
        read_keys(setting)
    assert NEW.partition(":")[2] not in str(rejected.value)


# --- purchases


@dataclasses.dataclass
class EncryptedServer:
    """A server, a ledger and a provider; clients get the keys that a test gives them."""

    server: WorkflowEnvironment
    services: Services
    threads: ThreadPoolExecutor

    async def client(self, keys: str) -> Client:
        """A client with keys."""
        address = embedded.address(self.server.client)
        return await Client.connect(address, data_converter=data_converter({SETTING: keys}))


@pytest.fixture
async def encrypted(
    bare_server: WorkflowEnvironment, threads: ThreadPoolExecutor, tmp_path: Path
) -> Any:
    """A server without a worker, so that no worker without keys gets its tasks."""
    with closing(Services(settings(tmp_path))) as services:
        yield EncryptedServer(bare_server, services, threads)


async def test_a_whole_purchase_leaves_nothing_readable_at_the_server(
    encrypted: EncryptedServer,
) -> None:
    """No event holds a name, address, title, requirement, amount or failure in plaintext."""
    client = await encrypted.client(NEW)
    scenario = next(scenario for scenario in SCENARIOS if scenario.name == "change_of_mind")
    watched = TimeSkippingClient(encrypted.server, client)
    async with build_worker(client, encrypted.services, encrypted.threads):
        result = await ScenarioRunner(watched).run(scenario, "secret-1")
    assert result.outcome == scenario.ends.outcome
    handle = encrypted.server.client.get_workflow_handle("purchase-secret-1")
    given = scenario.start("secret-1")
    kept = (
        b"".join(event.SerializeToString() for event in (await handle.fetch_history()).events)
        + (await handle.describe()).raw_description.SerializeToString()
    )
    assert ENCODING in kept
    for word in (given.title, given.client.name, given.client.email, given.freelancer.email, "USD"):
        assert word.encode() not in kept, word
    assert b"purchase-secret-1" in kept, "ids are not encrypted"


@dataclasses.dataclass
class TimeSkippingClient:
    """A client with keys, on a server whose time can be skipped."""

    server: WorkflowEnvironment
    client: Client

    async def fast_forward(self, handle: Any, duration: Any = None, /) -> bool:
        """Move the purchase's clock."""
        return bool(await self.server.fast_forward(handle, duration))


async def test_keys_are_rotated_while_a_purchase_runs(encrypted: EncryptedServer) -> None:
    """Rotation without downtime: the worker gets the new key, then everybody encrypts with it, and
    the old key stays for decryption."""
    async with build_worker(await encrypted.client(OLD), encrypted.services, encrypted.threads):
        handle = await start(await encrypted.client(OLD), purchase())
        await until(handle, lambda found: found.payment == "held")
    async with build_worker(
        await encrypted.client(f"{OLD},{NEW}"), encrypted.services, encrypted.threads
    ):
        newer = (await encrypted.client(f"{NEW},{OLD}")).get_workflow_handle(handle.id)
        await send(newer, Role.CLIENT, "submit_requirements", requirements="A logo.")
    async with build_worker(
        await encrypted.client(f"{NEW},{OLD}"), encrypted.services, encrypted.threads
    ):
        await send(newer, Role.FREELANCER, "give_refund")
        assert (await status(newer)).requirements == "A logo."
    await newer.terminate("seen")


async def test_an_encrypted_purchase_is_adopted_and_its_state_is_unreadable_in_the_ledger(
    encrypted: EncryptedServer, tmp_path: Path
) -> None:
    """Start inputs and saved states are encrypted like payloads; a worker that lacks the key of
    such a state waits for it, and the old key still opens what it sealed."""
    old, both = seal_of({SETTING: OLD}), seal_of({SETTING: f"{NEW},{OLD}"})
    with closing(Services(settings(tmp_path), old)) as services:
        client = await encrypted.client(OLD)
        async with build_worker(client, services, encrypted.threads):
            handle = await start(client, purchase())
            await until(handle, lambda found: found.payment == "held")
            run_id = (await handle.describe()).run_id
            await handle.terminate("by mistake")
            purchase_id = purchase_of(handle)
            await Adoption(client, services.ledger, old, lambda _: None).adopt(purchase_id)
            found = await until(
                client.get_workflow_handle(handle.id), lambda found: found.payment == "held"
            )
        for name in ("terms", run_id):
            saved = services.ledger.find_state(purchase_id, name)
            assert saved is not None, name
            assert b"Logo" not in saved.document
            assert found.title in both.unseal(saved.document)
            with pytest.raises(Unreadable, match=SETTING):
                seal_of({SETTING: NEW}).unseal(saved.document)
            with pytest.raises(Unreadable, match=SETTING):
                seal_of({}).unseal(saved.document)
        assert both.unseal(seal_of({}).seal("stored before there were keys")).startswith("stored")


async def test_unencrypted_messages_are_accepted_and_undecryptable_ones_are_rejected(
    encrypted: EncryptedServer,
) -> None:
    """A message that is encrypted with an unknown key is rejected like any unreadable one."""
    client = await encrypted.client(NEW)
    async with build_worker(client, encrypted.services, encrypted.threads):
        handle = await start(client, purchase())
        await until(handle, lambda found: found.payment == "held")
        clear = encrypted.server.client.get_workflow_handle(handle.id)
        await clear.signal("submit_requirements", {"by": CLIENT, "requirements": "A logo."})
        strange = (await encrypted.client(OLD)).get_workflow_handle(handle.id)
        await strange.signal("nobody_knows_this", {"by": FREELANCER})
        await strange.signal("give_refund", {"by": FREELANCER})
        found = await until(handle, lambda found: found.rejected_count == 2)
    assert found.stage == "freelancer_review"
    assert [item.code for item in found.rejected] == ["UNKNOWN_MESSAGE", "INVALID_MESSAGE"]
    assert "binary/encrypted" in found.rejected[1].text
    await handle.terminate("seen")


async def test_a_worker_without_the_key_delays_a_purchase_and_loses_nothing(
    encrypted: EncryptedServer,
) -> None:
    """After a deployment without the key the purchase waits, and goes on once the key is there."""
    client = await encrypted.client(NEW)
    handle = await start(client, purchase())
    async with build_worker(await encrypted.client(OLD), encrypted.services, encrypted.threads):
        async for event in handle.fetch_history_events(wait_new_event=True):
            if event.HasField("workflow_task_failed_event_attributes"):
                break
    async with build_worker(client, encrypted.services, encrypted.threads):
        await until(handle, lambda found: found.payment == "held")
    await handle.terminate("seen")


async def test_a_worker_without_the_key_names_the_missing_key(encrypted: EncryptedServer) -> None:
    """The failure in the history names the missing key in plaintext: key ids are public."""
    async with build_worker(await encrypted.client(OLD), encrypted.services, encrypted.threads):
        handle = await start(await encrypted.client(OLD), purchase())
        await until(handle, lambda found: found.payment == "held")
    async with build_worker(await encrypted.client(NEW), encrypted.services, encrypted.threads):
        await handle.signal("send_message", {"by": CLIENT, "text": "Still there?"})
        failure = await failure_message(handle)
    await handle.terminate("seen")

    assert (
        f"the key '2026-05', and cannot be decrypted here: put that key into {SETTING}" in failure
    )


@pytest.mark.parametrize("begun", [False, True], ids=["not begun", "begun"])
async def test_the_status_says_that_the_worker_lacks_the_key(
    encrypted: EncryptedServer, begun: bool
) -> None:
    """A worker runs, so starting one is no advice: the sentence names key and setting."""
    client = await encrypted.client(NEW)
    handle = await start(client, purchase())
    if begun:
        async with build_worker(client, encrypted.services, encrypted.threads):
            await until(handle, lambda found: found.payment == "held")
    async with build_worker(await encrypted.client(OLD), encrypted.services, encrypted.threads):
        with pytest.raises(Failure) as failure:
            await Purchase(client, purchase_of(handle)).status()
    await handle.terminate("seen")
    assert "Start one" not in failure.value.text
    assert failure.value.text.endswith(f"put that key into {SETTING}.")
    assert "the key '2026-11'" in failure.value.text


async def test_a_query_without_the_key_names_the_missing_key(encrypted: EncryptedServer) -> None:
    """The error names the missing key and the setting to change."""
    client = await encrypted.client(NEW)
    async with build_worker(client, encrypted.services, encrypted.threads):
        handle = await start(client, purchase())
        await until(handle, lambda found: found.payment == "held")
        blind = (await encrypted.client(OLD)).get_workflow_handle(handle.id)
        with pytest.raises(Undecipherable, match=f"the key '2026-11'.*{SETTING}"):
            await status(blind)
    await handle.terminate("seen")


def test_without_keys_nothing_is_encrypted() -> None:
    """Encryption is off until keys are set."""
    assert data_converter({}).payload_codec is None
    assert not is_encrypted(HELLO)


async def test_the_temporal_command_line_decrypts_with_a_token(encrypted: EncryptedServer) -> None:
    """As docs/security.md says: `temporal workflow show` decrypts with the codec server and a
    token."""
    client = await encrypted.client(NEW)
    async with build_worker(client, encrypted.services, encrypted.threads):
        handle = await start(client, purchase())
        await until(handle, lambda found: found.payment == "held")
    async with codec_server(NEW, "http://localhost:8233") as codec:
        decoding = ("--codec-endpoint", codec.url, "--codec-auth", f"Bearer {TOKEN}")
        shown = [await temporal(encrypted, handle.id, *more) for more in ((), decoding)]
    assert ["ana@example.com" in text for text in shown] == [False, True]
    await handle.terminate("seen")


async def temporal(encrypted: EncryptedServer, workflow_id: str, *more: str) -> str:
    """The output of `temporal workflow show`."""
    address = embedded.address(encrypted.server.client)
    command = ("workflow", "show", "-w", workflow_id, "--address", address, "--detailed", *more)
    running = await asyncio.create_subprocess_exec(
        embedded.binary(), *command, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await running.communicate()
    return out.decode()


def test_terms_whose_key_is_missing_are_not_called_invalid() -> None:
    """The operator's own command lacks it: `actions` and a repeated start name the key."""
    metadata = {"encoding": ENCODING, "encryption-key-id": b"2026-10"}
    with pytest.raises(Undecipherable, match=f"'2026-10'.*{SETTING}"):
        stored([RawValue(Payload(metadata=metadata, data=b"?"))])
