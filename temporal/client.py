"""Connects to Temporal: its own environment configuration, our converter, typed errors."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import (
    AddSearchAttributesRequest,
    ListSearchAttributesRequest,
)
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import (
    Client,
    Interceptor,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleCalendarSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleRange,
    ScheduleSpec,
    ScheduleState,
)
from temporalio.converter import DataConverter
from temporalio.envconfig import ClientConfig, ClientConnectConfig
from temporalio.runtime import Runtime
from temporalio.service import RPCError, RPCStatusCode, TLSConfig

from temporal.codec import Encryption, read_keys
from temporal.converter import DATA_CONVERTER, EncryptedFailureConverter
from temporal.errors import NotPermitted, ServerUnreachable
from workflows.receiving.encrypted import SETTING
from workflows.view import SEARCH_ATTRIBUTES

TASK_QUEUE = "project-purchases"
AUDIT = "recourse-audit"
AUDITED_AT = ScheduleCalendarSpec(
    hour=[ScheduleRange(6)], comment="Daily at 06:00 UTC, before offices open"
)
TRACES = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
DEFAULT_ADDRESS = "localhost:7233"

CAUSES = {
    "UnknownIssuer": (
        "shows a certificate that is not trusted: its authority is not known here. Set "
        "TEMPORAL_TLS_SERVER_CA_CERT_PATH to the file of that authority's certificate (PEM)."
    ),
    r"NotValidForName(?:.*presented: \[(.*?)\])?": (
        "shows a certificate for another name: {}. Correct TEMPORAL_ADDRESS, or set "
        "TEMPORAL_TLS_SERVER_NAME to a name in the certificate, if that is the right server."
    ),
    r"InvalidCertificate\((?:Other\(OtherError\()?(\w+)": (
        "shows a certificate that is not valid: {}. Have it renewed; or is the clock here wrong?"
    ),
    "InvalidContentType": (
        "does not speak TLS. Correct TEMPORAL_ADDRESS; or, if unencrypted traffic is acceptable, "
        "set TEMPORAL_TLS=false."
    ),
    "PrivateKey|KeyMismatch|cert and private key": (
        "was not contacted: the client certificate and its key do not match. Set "
        "TEMPORAL_TLS_CLIENT_CERT_PATH and TEMPORAL_TLS_CLIENT_KEY_PATH, both or neither (PEM)."
    ),
}
"""Patterns in the SDK's errors, and the explanation of each."""
BROKEN_OFF = r"hyper::Error\(|handshake eof|ConnectionReset|AlertReceived"


async def connect(runtime: Runtime | None = None) -> Client:
    """Return a client configured by Temporal's standard environment variables and TOML profiles.

    It exports traces if OpenTelemetry's variables are set. Raises ServerUnreachable and
    WrongKeys, each with a sentence.
    """
    converter = data_converter()
    try:
        options = ClientConfig.load_client_connect_config()
    except OSError as error:
        raise ServerUnreachable(
            f"{error.filename}, which {_origin(error.filename)} names, cannot be read: "
            f"{error.strerror}."
        ) from None
    except Exception as error:  # the SDK raises several kinds for a bad file or profile
        first, _, _ = str(error).partition("\n")  # the rest quotes the file with its secrets
        raise ServerUnreachable(f"The Temporal configuration cannot be read: {first}") from None
    address = options.setdefault("target_host", DEFAULT_ADDRESS)
    if "://" in address:  # the SDK would send the API key without TLS
        raise ServerUnreachable(
            f"{address} is not an address of a Temporal server. Remove the scheme: "
            "TEMPORAL_ADDRESS is HOST:PORT, and TEMPORAL_TLS=true asks for TLS."
        )
    tracing = interceptors()
    try:
        client = await Client.connect(
            **options, data_converter=converter, interceptors=tracing, runtime=runtime
        )
    except Exception as error:  # the SDK raises RuntimeError and ValueError for every cause
        raise ServerUnreachable(_cause(address, options, error)) from None
    await check_namespace(client, address)
    return client


def interceptors(environment: Mapping[str, str] = os.environ) -> Sequence[Interceptor]:
    """Return the tracing interceptor if the environment configures an exporter; else nothing."""
    if not any(environment.get(name) for name in TRACES):
        return ()
    from temporal import tracing  # OpenTelemetry takes a while to load

    tracing.start()
    return (tracing.Tracing(),)


def data_converter(environment: Mapping[str, str] = os.environ) -> DataConverter:
    """Return the data converter; with keys it also encrypts failures' messages and stack traces.

    Raises WrongKeys with a sentence.
    """
    setting = environment.get(SETTING, "")
    if not setting:
        return DATA_CONVERTER
    return replace(
        DATA_CONVERTER,
        payload_codec=Encryption(read_keys(setting)),
        failure_converter_class=EncryptedFailureConverter,
    )


async def check_namespace(client: Client, address: str) -> None:
    """Raises ServerUnreachable if the client's namespace is not there."""
    try:
        await client.workflow_service.describe_namespace(
            DescribeNamespaceRequest(namespace=client.namespace)
        )
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            raise ServerUnreachable(
                f"The Temporal server at {address} has no namespace {client.namespace!r}. "
                "Create it, or set TEMPORAL_NAMESPACE."
            ) from None
        if error.status in (RPCStatusCode.UNAUTHENTICATED, RPCStatusCode.PERMISSION_DENIED):
            key = client.service_client.config.api_key
            raise ServerUnreachable(f"The Temporal server at {address} {_stranger(key)}") from None
        raise ServerUnreachable(f"Temporal at {address} failed: {_short(error)}") from None


async def register_search_attributes(client: Client) -> list[str]:
    """Register our search attributes; return the names that were missing.

    Safe to repeat. Raises NotPermitted if it may not list them, and ServerUnreachable if some are
    missing and it may not add them: purchases would be blocked without them.
    """
    names = ", ".join(key.name for key in SEARCH_ATTRIBUTES)
    try:
        known = await client.operator_service.list_search_attributes(
            ListSearchAttributesRequest(namespace=client.namespace)
        )
    except RPCError as error:
        raise NotPermitted(
            f"The search attributes {names} have to be in namespace {client.namespace!r}; "
            f"this client may not list them ({_short(error)})."
        ) from None
    missing = {
        key.name: IndexedValueType.ValueType(int(key.indexed_value_type))
        for key in SEARCH_ATTRIBUTES
        if key.name not in known.custom_attributes
    }
    if not missing:
        return []
    try:
        await client.operator_service.add_search_attributes(
            AddSearchAttributesRequest(namespace=client.namespace, search_attributes=missing)
        )
    except RPCError as error:
        if error.status is RPCStatusCode.ALREADY_EXISTS:
            return []
        raise ServerUnreachable(
            f"The search attributes {', '.join(missing)} cannot be registered here "
            f"({_short(error)}). Ask an administrator to add them to the namespace."
        ) from None
    return sorted(missing)


async def register_schedules(client: Client) -> list[str]:
    """Schedule the daily audit; return the names that were new. Safe to repeat: an existing
    schedule is not changed, also if it is paused or has another hour.

    Raises ServerUnreachable if this client may not create it.
    """
    schedule = Schedule(
        action=ScheduleActionStartWorkflow(
            "BooksAudit", id=AUDIT, task_queue=TASK_QUEUE, static_summary="Daily ledger audit"
        ),
        spec=ScheduleSpec(calendars=[AUDITED_AT]),
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP),
        state=ScheduleState(note="Compares ledger, workflows and payment provider once a day."),
    )
    try:
        await client.create_schedule(AUDIT, schedule)
    except ScheduleAlreadyRunningError:
        return []
    except RPCError as error:
        raise ServerUnreachable(
            f"The schedule {AUDIT} cannot be created here ({_short(error)})."
        ) from None
    return [AUDIT]


def _origin(file: str) -> str:
    """The setting that contains this path."""
    named = (name for name, text in os.environ.items() if text == file)
    return next((name for name in named if name.startswith("TEMPORAL_")), "the Temporal profile")


def _cause(address: str, options: ClientConnectConfig, error: Exception) -> str:
    """Why the connection failed, and what to set. The SDK's errors carry only a text."""
    text, tls = str(error), options.get("tls")
    for pattern, explanation in CAUSES.items():
        if found := re.search(pattern, text):
            details = [re.sub(r"[\\\"]", "", group or "-") for group in found.groups()]
            return f"The Temporal server at {address} {explanation.format(*details)}"
    if re.search("code: (Unauthenticated|PermissionDenied)", text):
        return f"The Temporal server at {address} {_stranger(options.get('api_key'))}"
    if re.search(BROKEN_OFF, text):
        return f"The Temporal server at {address} {_broken_off(tls)}"
    return (
        f"No Temporal server answers at {address}. Is it running, and is TEMPORAL_ADDRESS right? "
        f"`python worker.py --dev` starts one. ({_short(error)})"
    )


def _stranger(key: str | None) -> str:
    """Why the server denied access. Its own message is left out: it may contain the key."""
    if key:
        return "rejects our API key. Is TEMPORAL_API_KEY valid, and may it write in this namespace?"
    return (
        "denies access: no API key is set. Set TEMPORAL_API_KEY, or a client certificate that it "
        "knows."
    )


def _broken_off(tls: bool | TLSConfig | None) -> str:
    """Why the server closed the connection: it requires TLS or another client certificate."""
    if not tls:
        return (
            "closes connections without TLS. If it speaks TLS, set TEMPORAL_TLS=true and, "
            "where its authority is not known here, TEMPORAL_TLS_SERVER_CA_CERT_PATH."
        )
    if isinstance(tls, TLSConfig) and tls.client_cert:
        return (
            "closes the connection: it may not trust our client certificate, or that has "
            "expired. Set TEMPORAL_TLS_CLIENT_CERT_PATH and TEMPORAL_TLS_CLIENT_KEY_PATH."
        )
    return (
        "closes the connection: it seems to require a client certificate. Set "
        "TEMPORAL_TLS_CLIENT_CERT_PATH and TEMPORAL_TLS_CLIENT_KEY_PATH."
    )


def _short(error: BaseException) -> str:
    text = " ".join(str(error).split())
    inner = re.findall(r'message: "([^"]+)"', text)
    return (inner[-1] if inner else text)[:300]
