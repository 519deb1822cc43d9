"""TLS, client certificates and API keys, all by Temporal's own settings: a whole purchase runs
through each, and whoever has set something wrong is told what to set."""

import asyncio
import json
from datetime import datetime
from pathlib import Path

import pytest
import trustme
from temporalio.testing import WorkflowEnvironment

from demo.runner import until
from temporal import embedded
from temporal.purchases import Purchase
from tests.purchases import FREELANCER, purchase
from tests.security.tls_endpoint import Door, endpoint
from tests.starter.conftest import Cli
from tests.test_worker import environment, run

Settings = dict[str, str]

TLS, ADDRESS, PROFILES = "TEMPORAL_TLS", "TEMPORAL_ADDRESS", "TEMPORAL_CONFIG_FILE"
CA, NAME = "TEMPORAL_TLS_SERVER_CA_CERT_PATH", "TEMPORAL_TLS_SERVER_NAME"
CERT, KEY = "TEMPORAL_TLS_CLIENT_CERT_PATH", "TEMPORAL_TLS_CLIENT_KEY_PATH"
API_KEY = "TEMPORAL_API_KEY"

OURS, THEIRS = trustme.CA(), trustme.CA()
"""Two authorities that no machine knows by itself."""
THEN, LATER = datetime(2020, 1, 1), datetime(2021, 1, 1)  # noqa: DTZ001 - as trustme has it
HERE = OURS.issue_cert("127.0.0.1")
ELSEWHERE = OURS.issue_cert("temporal.example.com")
OLD = OURS.issue_cert("127.0.0.1", not_before=THEN, not_after=LATER)
WORKERS = {
    "ours": OURS.issue_cert("worker@example.com"),
    "theirs": THEIRS.issue_cert("worker@example.com"),
    "old": OURS.issue_cert("worker@example.com", not_before=THEN, not_after=LATER),
}
PROVIDER = ("--as", "payments:sandbox")
SECRET, REVOKED = "an-api-key-that-nobody-guesses", "an-api-key-of-last-year"

OPEN = Door(HERE)
MUTUAL = Door(HERE, clients=OURS)
KEYED = Door(HERE, key=SECRET)
KEYED_LATER = Door(HERE, key=SECRET, asks_later=True)

KNOWING = {CA: "ours.pem"}
CERTIFIED = {**KNOWING, CERT: "ours.crt", KEY: "ours.key"}
PROFILE = """
[profile.market]
address = '{address}'
api_key = '{key}'
[profile.market.tls]
server_name = 'temporal.example.com'
server_ca_cert_path = '{folder}/ours.pem'
client_cert_path = '{folder}/ours.crt'
client_key_path = '{folder}/ours.key'
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates and keys, as files."""
    folder = tmp_path_factory.mktemp("connections")
    OURS.cert_pem.write_to_path(str(folder / "ours.pem"))
    THEIRS.cert_pem.write_to_path(str(folder / "theirs.pem"))
    for name, certificate in WORKERS.items():
        certificate.private_key_pem.write_to_path(str(folder / f"{name}.key"))
        certificate.cert_chain_pems[0].write_to_path(str(folder / f"{name}.crt"))
    (folder / "rubbish").write_text("no certificate")
    return folder


def variables(folder: Path, settings: Settings) -> Settings:
    """The environment of a worker or a command, files named by their whole path."""
    files = (CA, CERT, KEY, PROFILES)
    named = {name: str(folder / text) if name in files else text for name, text in settings.items()}
    found = dict(environment(folder, **named))
    if PROFILES in settings:
        del found[ADDRESS]
    return found


# --- what works


@pytest.mark.parametrize(
    ("door", "settings"),
    [
        pytest.param(OPEN, KNOWING, id="TLS"),
        pytest.param(MUTUAL, CERTIFIED, id="a client certificate"),
        pytest.param(KEYED, {**KNOWING, API_KEY: SECRET}, id="an API key"),
        pytest.param(
            Door(ELSEWHERE, clients=OURS, key=SECRET),
            {PROFILES: "temporal.toml", "TEMPORAL_PROFILE": "market"},
            id="a profile with all of it",
        ),
    ],
)
async def test_a_whole_purchase_runs_through(
    door: Door, settings: Settings, lonely: WorkflowEnvironment, tmp_path: Path, folder: Path
) -> None:
    """Worker, our command line and Temporal's own, from the start to the settled refund."""
    terms = purchase()
    bought = Purchase(lonely.client, terms.purchase_id)
    async with endpoint(embedded.address(lonely.client), door) as address:
        profile = PROFILE.format(address=address, key=SECRET, folder=folder)
        (folder / "temporal.toml").write_text(profile)
        found = variables(folder, {ADDRESS: address, **settings})
        worker = await run(found)
        try:
            given = terms.model_dump_json()
            answer = await Cli(found).process("purchase", "--file", "-", stdin=given)
            assert (answer.status, answer.err) == (0, "")
            await until(bought.handle, lambda status: status.payment == "held")
            await signal(found, bought.workflow_id, "give_refund", {"by": FREELANCER})
            await until(bought.handle, lambda status: status.escrow.in_transit > 0)
            refund = ("--refund-id", f"{bought.workflow_id}/refund", "--status", "settled")
            answer = await Cli(found)("settlement-update", bought.id, *PROVIDER, *refund)
            assert (answer.status, answer.err) == (0, "")
            result = await bought.handle.result()
        finally:
            worker.terminate()
            _, log = await worker.communicate()
    assert (result.refunded, worker.returncode) == (terms.price.amount, 0)
    assert SECRET not in log.decode()


async def signal(variables: Settings, workflow_id: str, name: str, message: object) -> None:
    """`temporal workflow signal …`, which has to succeed."""
    given = ("--workflow-id", workflow_id, "--name", name, "--input", json.dumps(message))
    process = await asyncio.create_subprocess_exec(
        *(embedded.binary(), "workflow", "signal", *given),
        env=variables,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    told, _ = await process.communicate()
    assert process.returncode == 0, told.decode()


# --- what is refused


@pytest.mark.parametrize(
    ("door", "settings", "says", "names"),
    [
        pytest.param(OPEN, {TLS: "true"}, "is not trusted", CA, id="an unknown authority"),
        pytest.param(OPEN, {CA: "theirs.pem"}, "is not trusted", CA, id="another authority"),
        pytest.param(OPEN, {CA: "rubbish"}, "is not trusted", CA, id="no authority at all"),
        pytest.param(
            Door(ELSEWHERE), KNOWING, "DnsName(temporal.example.com)", NAME, id="another host"
        ),
        pytest.param(
            OPEN,
            {**KNOWING, NAME: "temporal.example.com"},
            *("for another name", NAME),
            id="another name than is wished for",
        ),
        pytest.param(Door(OLD), KNOWING, "is not valid: Expired", "clock", id="an old certificate"),
        pytest.param(OPEN, {}, "without TLS", f"{TLS}=true", id="no TLS"),
        pytest.param(MUTUAL, KNOWING, "to want a client certificate", CERT, id="no certificate"),
        pytest.param(
            MUTUAL,
            {**KNOWING, CERT: "theirs.crt", KEY: "theirs.key"},
            *("not to trust our client certificate", CERT),
            id="a client certificate of a stranger",
        ),
        pytest.param(
            MUTUAL,
            {**KNOWING, CERT: "old.crt", KEY: "old.key"},
            *("or that has expired", CERT),
            id="an old client certificate",
        ),
        pytest.param(
            MUTUAL, {**CERTIFIED, KEY: "theirs.key"}, "belong together", KEY, id="another's key"
        ),
        pytest.param(
            MUTUAL, {**KNOWING, CERT: "ours.crt"}, "belong together", KEY, id="one without its key"
        ),
        pytest.param(
            MUTUAL, {**CERTIFIED, KEY: "rubbish"}, "belong together", KEY, id="what is no key"
        ),
        pytest.param(KEYED, KNOWING, "we show no API key", API_KEY, id="no API key"),
        pytest.param(
            KEYED, {**KNOWING, API_KEY: REVOKED}, "refuses our API key", API_KEY, id="a wrong key"
        ),
        pytest.param(KEYED_LATER, KNOWING, "we show no API key", API_KEY, id="no API key, later"),
        pytest.param(
            KEYED_LATER,
            {**KNOWING, API_KEY: REVOKED},
            *("refuses our API key", API_KEY),
            id="a wrong key, later",
        ),
    ],
)
async def test_a_connection_that_cannot_be_says_what_to_set(
    door: Door,
    settings: Settings,
    says: str,
    names: str,
    lonely: WorkflowEnvironment,
    folder: Path,
) -> None:
    """Exit 3 and one line with the address, the cause and the setting; never a key."""
    async with endpoint(embedded.address(lonely.client), door) as address:
        answer = await Cli(variables(folder, {ADDRESS: address, **settings}))("list")
    assert answer.rejection == (3, "SERVER_UNREACHABLE")
    for words in (address, says, names):
        assert words in answer.err
    assert REVOKED not in answer.err


@pytest.mark.parametrize("settings", [{TLS: "true"}, {API_KEY: SECRET}], ids=["TLS", "an API key"])
async def test_a_server_without_tls_gets_no_secret(
    settings: Settings, lonely: WorkflowEnvironment, folder: Path
) -> None:
    """An API key means TLS, though nobody asked for it."""
    address = embedded.address(lonely.client)
    answer = await Cli(variables(folder, {ADDRESS: address, **settings}))("list")
    assert answer.rejection == (3, "SERVER_UNREACHABLE")
    assert f"{address} does not speak TLS" in answer.err
    assert SECRET not in answer.err


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({CA: "nowhere.pem"}, f"nowhere.pem, which {CA} names, cannot be read"),
        ({**CERTIFIED, CERT: "nowhere.crt"}, f"nowhere.crt, which {CERT} names, cannot be read"),
        ({**CERTIFIED, KEY: ""}, f"which {KEY} names, cannot be read: Is a directory"),
        ({ADDRESS: "https://127.0.0.1:1", API_KEY: SECRET}, "TEMPORAL_ADDRESS is HOST:PORT"),
        ({PROFILES: "broken.toml"}, "cannot be read: Configuration loading error: TOML parse err"),
        ({PROFILES: "lost.toml"}, "nowhere.pem, which the Temporal profile names, cannot be read"),
    ],
    ids=["no authority", "no certificate", "no key", "an URL", "no TOML", "a file of a profile"],
)
async def test_settings_that_cannot_be_right_are_named(
    settings: Settings, says: str, folder: Path
) -> None:
    """Exit 3 and one line, before anything is sent; a broken profile is not quoted."""
    (folder / "broken.toml").write_text(f'[profile.default]\napi_key = "{SECRET}\n')
    lost = "[profile.default]\ntls.server_ca_cert_path = 'nowhere.pem'\n"
    (folder / "lost.toml").write_text(lost)
    answer = await Cli(variables(folder, settings))("list")
    assert answer.rejection == (3, "SERVER_UNREACHABLE")
    assert says in answer.err
    assert SECRET not in answer.err


@pytest.mark.parametrize(
    ("door", "settings", "says"),
    [
        pytest.param(OPEN, {TLS: "true"}, "is not trusted", id="an unknown authority"),
        pytest.param(MUTUAL, KNOWING, "to want a client certificate", id="no client certificate"),
        pytest.param(KEYED, {**KNOWING, API_KEY: REVOKED}, "API key", id="a wrong key"),
    ],
)
async def test_worker_and_command_end_at_once(
    door: Door, settings: Settings, says: str, lonely: WorkflowEnvironment, folder: Path
) -> None:
    """As processes: exit 3, and nothing but the one line."""
    async with endpoint(embedded.address(lonely.client), door) as address:
        found = variables(folder, {ADDRESS: address, **settings})
        worker = await run(found)
        answer = await Cli(found).process("list")
        _, told = await worker.communicate()
    assert answer.rejection == (3, "SERVER_UNREACHABLE")
    assert answer.err == f"SERVER_UNREACHABLE: {told.decode()}"
    assert (worker.returncode, says in answer.err) == (3, True)
    assert REVOKED not in answer.err
