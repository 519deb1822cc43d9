"""A TLS endpoint that authenticates callers in front of the embedded Temporal server.

The embedded server has no TLS. The endpoint passes every authenticated call through unchanged.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Never, TypeAlias

import grpc
import trustme
from grpc import aio

Context: TypeAlias = "aio.ServicerContext[bytes, bytes]"

WITHOUT_LIMIT = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))
ENDPOINT_HEADERS = ("user-agent", "authorization")
"""Headers that are meant for this endpoint and are not passed on."""
WITHOUT_KEY = ("/temporal.api.workflowservice.v1.WorkflowService/GetSystemInfo",)


@dataclass(frozen=True)
class AccessPolicy:
    """The endpoint's certificate, and which callers it admits: with a certificate that `clients`
    has issued, or with the API key `key`."""

    certificate: trustme.LeafCert
    clients: trustme.CA | None = None
    key: str | None = None
    some_calls_open: bool = False
    """Whether calls in `WITHOUT_KEY` need no API key and others fail with PERMISSION_DENIED, as on
    a self-hosted server. Temporal Cloud authenticates every call."""

    def credentials(self) -> grpc.ServerCredentials:
        """TLS credentials with the endpoint's certificate."""
        chain = b"".join(part.bytes() for part in self.certificate.cert_chain_pems)
        return grpc.ssl_server_credentials(
            [(self.certificate.private_key_pem.bytes(), chain)],
            root_certificates=self.clients.cert_pem.bytes() if self.clients else None,
            require_client_auth=self.clients is not None,
        )

    def admits(self, shown: str, method: str) -> bool:
        """Whether a caller with this authorization header may call this method."""
        if self.key is None or (self.some_calls_open and method in WITHOUT_KEY):
            return True
        return shown == f"Bearer {self.key}"

    async def reject(self, shown: str, context: Context) -> Never:
        """Fail a call. The message repeats the header, as a careless server might, to test that we
        do not print it."""
        status = grpc.StatusCode.UNAUTHENTICATED
        if self.some_calls_open:
            status = grpc.StatusCode.PERMISSION_DENIED
        await context.abort(status, f"Not with {shown}.")


@dataclass(frozen=True)
class PassThrough(grpc.GenericRpcHandler):
    """Handles every method of every service by calling the server behind the endpoint."""

    behind: aio.Channel
    policy: AccessPolicy

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """The handler of a call: bytes in, bytes out."""
        return grpc.unary_unary_rpc_method_handler(self.passing(handler_call_details.method))

    def passing(self, method: str) -> Callable[[bytes, Context], Awaitable[bytes]]:
        """A handler that returns the server's response or error with its metadata."""
        call: aio.UnaryUnaryMultiCallable[bytes, bytes] = self.behind.unary_unary(method)

        async def passed(request: bytes, context: Context) -> bytes:
            metadata = [(name, value) for name, value in context.invocation_metadata() or ()]
            shown = str(dict(metadata).get("authorization", ""))
            if not self.policy.admits(shown, method):
                await self.policy.reject(shown, context)
            kept = [pair for pair in metadata if pair[0] not in ENDPOINT_HEADERS]
            try:
                return await call(request, metadata=kept, timeout=context.time_remaining())
            except aio.AioRpcError as error:
                await context.abort(error.code(), error.details() or "", error.trailing_metadata())

        return passed


@asynccontextmanager
async def endpoint(behind: str, policy: AccessPolicy) -> AsyncIterator[str]:
    """The address of a TLS endpoint before the server at `behind`, until the block ends."""
    async with aio.insecure_channel(behind, options=WITHOUT_LIMIT) as channel:
        server = aio.server(options=WITHOUT_LIMIT)
        server.add_generic_rpc_handlers((PassThrough(channel, policy),))
        port = server.add_secure_port("127.0.0.1:0", policy.credentials())
        await server.start()
        try:
            yield f"127.0.0.1:{port}"
        finally:
            await server.stop(grace=None)
