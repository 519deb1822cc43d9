"""Connects to Temporal: its own environment configuration, our converter, typed errors."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace

from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client, Interceptor
from temporalio.converter import DataConverter
from temporalio.envconfig import ClientConfig
from temporalio.runtime import Runtime
from temporalio.service import RPCError, RPCStatusCode

from activities.sealing import UNENCRYPTED, Seal
from temporal.codec import NEXUS_SETTING, Encryption, read_keys
from temporal.connection_errors import denied, explain, short
from temporal.converter import DATA_CONVERTER, EncryptedFailureConverter
from temporal.errors import ServerUnreachable
from workflows.receiving.encrypted import SETTING

TRACES = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
DEFAULT_ADDRESS = "localhost:7233"


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
        raise ServerUnreachable(explain(address, options, error)) from None
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
    encryption = _encryption(environment)
    if encryption is None:
        return DATA_CONVERTER
    return replace(
        DATA_CONVERTER,
        payload_codec=encryption,
        failure_converter_class=EncryptedFailureConverter,
    )


def seal_of(environment: Mapping[str, str] = os.environ) -> Seal:
    """Return what seals the states in the ledger's database. Raises WrongKeys with a sentence."""
    return _encryption(environment) or UNENCRYPTED


def _encryption(environment: Mapping[str, str]) -> Encryption | None:
    setting, shared = environment.get(SETTING, ""), environment.get(NEXUS_SETTING, "")
    if not setting:
        return None
    nexus = Encryption(read_keys(shared, NEXUS_SETTING)) if shared else None
    return Encryption(read_keys(setting), nexus)


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
            raise ServerUnreachable(f"The Temporal server at {address} {denied(key)}") from None
        raise ServerUnreachable(f"Temporal at {address} failed: {short(error)}") from None


def _origin(file: str) -> str:
    """The setting that contains this path."""
    named = (name for name, text in os.environ.items() if text == file)
    return next((name for name in named if name.startswith("TEMPORAL_")), "the Temporal profile")
