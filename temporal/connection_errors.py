"""Explains why a connection to Temporal failed, and which setting to change."""

import re

from temporalio.envconfig import ClientConnectConfig
from temporalio.service import RPCError, RPCStatusCode, TLSConfig

from temporal.errors import Failure, InvalidInput, ServerUnreachable, Unreachable

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


def explain(address: str, options: ClientConnectConfig, error: Exception) -> str:
    """Why the connection failed, and what to set. The SDK's errors carry only a text."""
    text, tls = str(error), options.get("tls")
    for pattern, explanation in CAUSES.items():
        if found := re.search(pattern, text):
            details = [re.sub(r"[\\\"]", "", group or "-") for group in found.groups()]
            return f"The Temporal server at {address} {explanation.format(*details)}"
    if re.search("code: (Unauthenticated|PermissionDenied)", text):
        return f"The Temporal server at {address} {denied(options.get('api_key'))}"
    if re.search(BROKEN_OFF, text):
        return f"The Temporal server at {address} {_broken_off(tls)}"
    return (
        f"No Temporal server answers at {address}. Is it running, and is TEMPORAL_ADDRESS right? "
        f"`python worker.py --dev` starts one. ({short(error)})"
    )


def denied(key: str | None) -> str:
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


def server_failure(error: RPCError) -> Failure:
    """A failed request to the server as a Failure: invalid input, or the server cannot be used."""
    if error.status is RPCStatusCode.INVALID_ARGUMENT:
        if "search attribute" in error.message:
            return Unreachable(
                "NOT_SET_UP",
                f"The server does not know our search attributes ({error.message}). "
                "Run: recourse setup",
            )
        return InvalidInput(f"The server rejected the request: {error.message}")
    if error.status is RPCStatusCode.RESOURCE_EXHAUSTED:
        return ServerUnreachable(
            f"The Temporal server takes no more requests now ({error.message}). Repeat this in "
            "some seconds."
        )
    return ServerUnreachable(f"The Temporal server failed: {error.message}")


def short(error: BaseException) -> str:
    """The error in one line of at most 300 characters."""
    text = " ".join(str(error).split())
    inner = re.findall(r'message: "([^"]+)"', text)
    return (inner[-1] if inner else text)[:300]
