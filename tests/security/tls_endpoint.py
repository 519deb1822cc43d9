"""What stands before a Temporal server in production: TLS, and a look at who comes.

The embedded server speaks no TLS. Every call is passed through to it as it is, once the caller has
shown what the endpoint wants to see.
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
OURS_ALONE = ("user-agent", "authorization")
"""What the caller says to this endpoint, not to the server behind it."""
FOR_ANYBODY = ("/temporal.api.workflowservice.v1.WorkflowService/GetSystemInfo",)


@dataclass(frozen=True)
class Door:
    """What it shows, and who is let in: those with a certificate that `clients` has issued, those
    who know `key`."""

    certificate: trustme.LeafCert
    clients: trustme.CA | None = None
    key: str | None = None
    asks_later: bool = False
    """As a server of one's own, which answers some calls of anybody and does not permit others;
    Temporal Cloud asks everybody who they are."""

    def credentials(self) -> grpc.ServerCredentials:
        """TLS with its certificate."""
        chain = b"".join(part.bytes() for part in self.certificate.cert_chain_pems)
        return grpc.ssl_server_credentials(
            [(self.certificate.private_key_pem.bytes(), chain)],
            root_certificates=self.clients.cert_pem.bytes() if self.clients else None,
            require_client_auth=self.clients is not None,
        )

    def lets_in(self, shown: str, method: str) -> bool:
        """Whether somebody may make a call."""
        if self.key is None or (self.asks_later and method in FOR_ANYBODY):
            return True
        return shown == f"Bearer {self.key}"

    async def reject(self, shown: str, context: Context) -> Never:
        """End a call, repeating what was shown, as no server should."""
        status = grpc.StatusCode.UNAUTHENTICATED
        if self.asks_later:
            status = grpc.StatusCode.PERMISSION_DENIED
        await context.abort(status, f"Not with {shown}.")


@dataclass(frozen=True)
class PassThrough(grpc.GenericRpcHandler):
    """Every method of every service."""

    behind: aio.Channel
    door: Door

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """How a call is handled: bytes in, bytes out."""
        return grpc.unary_unary_rpc_method_handler(self.passing(handler_call_details.method))

    def passing(self, method: str) -> Callable[[bytes, Context], Awaitable[bytes]]:
        """The server's own answer or error, with all that goes along."""
        call: aio.UnaryUnaryMultiCallable[bytes, bytes] = self.behind.unary_unary(method)

        async def passed(request: bytes, context: Context) -> bytes:
            metadata = [(name, value) for name, value in context.invocation_metadata() or ()]
            shown = str(dict(metadata).get("authorization", ""))
            if not self.door.lets_in(shown, method):
                await self.door.reject(shown, context)
            kept = [pair for pair in metadata if pair[0] not in OURS_ALONE]
            try:
                return await call(request, metadata=kept, timeout=context.time_remaining())
            except aio.AioRpcError as error:
                await context.abort(error.code(), error.details() or "", error.trailing_metadata())

        return passed


@asynccontextmanager
async def endpoint(behind: str, door: Door) -> AsyncIterator[str]:
    """The address of a TLS endpoint before the server at `behind`, until the block ends."""
    async with aio.insecure_channel(behind, options=WITHOUT_LIMIT) as channel:
        server = aio.server(options=WITHOUT_LIMIT)
        server.add_generic_rpc_handlers((PassThrough(channel, door),))
        port = server.add_secure_port("127.0.0.1:0", door.credentials())
        await server.start()
        try:
            yield f"127.0.0.1:{port}"
        finally:
            await server.stop(grace=None)
