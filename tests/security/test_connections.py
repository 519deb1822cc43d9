"""Connections with TLS, client certificates and API keys, by Temporal's standard settings: a
purchase runs over each, and every wrong setting is reported with the setting to change."""

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
from tests.security.tls_endpoint import AccessPolicy, endpoint
from tests.starter.conftest import Cli
from tests.test_worker import environment, run

Settings = dict[str, str]

TLS, ADDRESS, PROFILES = "TEMPORAL_TLS", "TEMPORAL_ADDRESS", "TEMPORAL_CONFIG_FILE"
CA, NAME = "TEMPORAL_TLS_SERVER_CA_CERT_PATH", "TEMPORAL_TLS_SERVER_NAME"
CERT, KEY = "TEMPORAL_TLS_CLIENT_CERT_PATH", "TEMPORAL_TLS_CLIENT_KEY_PATH"
API_KEY = "TEMPORAL_API_KEY"

OURS, THEIRS = trustme.CA(), trustme.CA()
"""Two certificate authorities that no machine trusts by default."""
THEN, LATER = datetime(2020, 1, 1), datetime(2021, 1, 1)  # noqa: DTZ001 - as trustme has it
LOCALHOST = OURS.issue_cert("127.0.0.1")
OTHER_HOST = OURS.issue_cert("temporal.example.com")
OLD = OURS.issue_cert("127.0.0.1", not_before=THEN, not_after=LATER)
WORKERS = {
    "ours": OURS.issue_cert("worker@example.com"),
    "theirs": THEIRS.issue_cert("worker@example.com"),
    "old": OURS.issue_cert("worker@example.com", not_before=THEN, not_after=LATER),
}
PROVIDER = ("--as", "payments:sandbox")
SECRET, REVOKED = "an-api-key-that-nobody-guesses", "an-api-key-of-last-year"

TLS_ONLY = AccessPolicy(LOCALHOST)
MUTUAL_TLS = AccessPolicy(LOCALHOST, clients=OURS)
API_KEY_ONLY = AccessPolicy(LOCALHOST, key=SECRET)
API_KEY_LATE = AccessPolicy(LOCALHOST, key=SECRET, some_calls_open=True)

TRUSTING = {CA: "ours.pem"}
CERTIFIED = {**TRUSTING, CERT: "ours.crt", KEY: "ours.key"}
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
    """A folder with certificates and keys."""
    folder = tmp_path_factory.mktemp("connections")
    OURS.cert_pem.write_to_path(str(folder / "ours.pem"))
    THEIRS.cert_pem.write_to_path(str(folder / "theirs.pem"))
    for name, certificate in WORKERS.items():
        certificate.private_key_pem.write_to_path(str(folder / f"{name}.key"))
        certificate.cert_chain_pems[0].write_to_path(str(folder / f"{name}.crt"))
    (folder / "rubbish").write_text("no certificate")
    return folder


def variables(folder: Path, settings: Settings) -> Settings:
    """The environment of a worker or a command. Files are given with their absolute path."""
    files = (CA, CERT, KEY, PROFILES)
    named = {name: str(folder / text) if name in files else text for name, text in settings.items()}
    found = dict(environment(folder, **named))
    if PROFILES in settings:
        del found[ADDRESS]
    return found


# --- valid settings


@pytest.mark.parametrize(
    ("policy", "settings"),
    [
        pytest.param(TLS_ONLY, TRUSTING, id="TLS"),
        pytest.param(MUTUAL_TLS, CERTIFIED, id="a client certificate"),
        pytest.param(API_KEY_ONLY, {**TRUSTING, API_KEY: SECRET}, id="an API key"),
        pytest.param(
            AccessPolicy(OTHER_HOST, clients=OURS, key=SECRET),
            {PROFILES: "temporal.toml", "TEMPORAL_PROFILE": "market"},
            id="a profile with all of it",
        ),
    ],
)
async def test_a_whole_purchase_runs_over_each_kind_of_connection(
    policy: AccessPolicy,
    settings: Settings,
    bare_server: WorkflowEnvironment,
    tmp_path: Path,
    folder: Path,
) -> None:
    """Worker, our command line and Temporal's command line use the connection, from the start of
    the purchase to the settled refund."""
    terms = purchase()
    bought = Purchase(bare_server.client, terms.purchase_id)
    async with endpoint(embedded.address(bare_server.client), policy) as address:
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
    """Run `temporal workflow signal …` and check that it succeeds."""
    given = ("--workflow-id", workflow_id, "--name", name, "--input", json.dumps(message))
    process = await asyncio.create_subprocess_exec(
        *(embedded.binary(), "workflow", "signal", *given),
        env=variables,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()


# --- invalid settings


@pytest.mark.parametrize(
    ("policy", "settings", "says", "names"),
    [
        pytest.param(TLS_ONLY, {TLS: "true"}, "is not trusted", CA, id="an unknown authority"),
        pytest.param(TLS_ONLY, {CA: "theirs.pem"}, "is not trusted", CA, id="another authority"),
        pytest.param(TLS_ONLY, {CA: "rubbish"}, "is not trusted", CA, id="no authority at all"),
        pytest.param(
            AccessPolicy(OTHER_HOST),
            TRUSTING,
            "DnsName(temporal.example.com)",
            NAME,
            id="another host",
        ),
        pytest.param(
            TLS_ONLY,
            {**TRUSTING, NAME: "temporal.example.com"},
            *("for another name", NAME),
            id="another name than expected",
        ),
        pytest.param(
            AccessPolicy(OLD), TRUSTING, "is not valid: Expired", "clock", id="an old certificate"
        ),
        pytest.param(TLS_ONLY, {}, "without TLS", f"{TLS}=true", id="no TLS"),
        pytest.param(
            MUTUAL_TLS, TRUSTING, "to require a client certificate", CERT, id="no certificate"
        ),
        pytest.param(
            MUTUAL_TLS,
            {**TRUSTING, CERT: "theirs.crt", KEY: "theirs.key"},
            *("it may not trust our client certificate", CERT),
            id="a client certificate of a stranger",
        ),
        pytest.param(
            MUTUAL_TLS,
            {**TRUSTING, CERT: "old.crt", KEY: "old.key"},
            *("or that has expired", CERT),
            id="an old client certificate",
        ),
        pytest.param(
            MUTUAL_TLS, {**CERTIFIED, KEY: "theirs.key"}, "do not match", KEY, id="another's key"
        ),
        pytest.param(
            MUTUAL_TLS,
            {**TRUSTING, CERT: "ours.crt"},
            "do not match",
            KEY,
            id="one without its key",
        ),
        pytest.param(
            MUTUAL_TLS, {**CERTIFIED, KEY: "rubbish"}, "do not match", KEY, id="what is no key"
        ),
        pytest.param(API_KEY_ONLY, TRUSTING, "no API key is set", API_KEY, id="no API key"),
        pytest.param(
            API_KEY_ONLY,
            {**TRUSTING, API_KEY: REVOKED},
            "rejects our API key",
            API_KEY,
            id="a wrong key",
        ),
        pytest.param(API_KEY_LATE, TRUSTING, "no API key is set", API_KEY, id="no API key, later"),
        pytest.param(
            API_KEY_LATE,
            {**TRUSTING, API_KEY: REVOKED},
            *("rejects our API key", API_KEY),
            id="a wrong key, later",
        ),
    ],
)
async def test_a_failed_connection_names_the_setting_to_change(
    policy: AccessPolicy,
    settings: Settings,
    says: str,
    names: str,
    bare_server: WorkflowEnvironment,
    folder: Path,
) -> None:
    """The command exits with 3 and one line with the address, the cause and the setting to change,
    and never shows a key."""
    async with endpoint(embedded.address(bare_server.client), policy) as address:
        answer = await Cli(variables(folder, {ADDRESS: address, **settings}))("list")
    assert answer.rejection == (3, "SERVER_UNREACHABLE")
    for words in (address, says, names):
        assert words in answer.err
    assert REVOKED not in answer.err


@pytest.mark.parametrize("settings", [{TLS: "true"}, {API_KEY: SECRET}], ids=["TLS", "an API key"])
async def test_a_server_without_tls_gets_no_secret(
    settings: Settings, bare_server: WorkflowEnvironment, folder: Path
) -> None:
    """An API key switches TLS on, so that it is never sent unencrypted."""
    address = embedded.address(bare_server.client)
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
async def test_invalid_connection_settings_are_named(
    settings: Settings, says: str, folder: Path
) -> None:
    """The command exits with 3 and one line before it sends anything. A broken profile is not
    quoted, since it may hold a key."""
    (folder / "broken.toml").write_text(f'[profile.default]\napi_key = "{SECRET}\n')
    lost = "[profile.default]\ntls.server_ca_cert_path = 'nowhere.pem'\n"
    (folder / "lost.toml").write_text(lost)
    answer = await Cli(variables(folder, settings))("list")
    assert answer.rejection == (3, "SERVER_UNREACHABLE")
    assert says in answer.err
    assert SECRET not in answer.err


@pytest.mark.parametrize(
    ("policy", "settings", "says"),
    [
        pytest.param(TLS_ONLY, {TLS: "true"}, "is not trusted", id="an unknown authority"),
        pytest.param(
            MUTUAL_TLS, TRUSTING, "to require a client certificate", id="no client certificate"
        ),
        pytest.param(API_KEY_ONLY, {**TRUSTING, API_KEY: REVOKED}, "API key", id="a wrong key"),
    ],
)
async def test_worker_and_command_exit_at_once_with_the_same_line(
    policy: AccessPolicy,
    settings: Settings,
    says: str,
    bare_server: WorkflowEnvironment,
    folder: Path,
) -> None:
    """Both processes exit with 3 and print only that line."""
    async with endpoint(embedded.address(bare_server.client), policy) as address:
        found = variables(folder, {ADDRESS: address, **settings})
        worker = await run(found)
        answer = await Cli(found).process("list")
        _, output = await worker.communicate()
    assert answer.rejection == (3, "SERVER_UNREACHABLE")
    assert answer.err == f"SERVER_UNREACHABLE: {output.decode()}"
    assert (worker.returncode, says in answer.err) == (3, True)
    assert REVOKED not in answer.err
