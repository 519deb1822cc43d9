"""Slow, broken and hostile clients: an HTTP server answers all others, and its log stays small."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from structlog.testing import CapturingLogger
from temporalio.testing import WorkflowEnvironment

from activities.services import Services, WrongSetting
from temporal.health import Health, serve_health
from temporal.http_limits import HttpLimits
from temporal.ports import free_port
from temporal.serving import LISTENS, body_of, bound, listen_beside
from tests.http_processes import HttpProcess
from tests.security.codec_process import TOKEN, codec_server
from tests.security.keys import NEW

GOOD = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
HALF = b"POST /hook HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf"
STRANGER, FRIEND = "127.0.0.2", "127.0.0.3"
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]

release = asyncio.Event()


async def hook(request: Request) -> Response:
    body = await body_of(request, 1_000)
    return JSONResponse({}, 413 if body is None else 200)


async def wait(_: Request) -> Response:
    await release.wait()
    return JSONResponse({"result": "waited"})


async def large(_: Request) -> Response:
    return Response(b"x" * 30_000_000)


async def broken(_: Request) -> Response:
    raise LookupError("a secret")


ROUTES = [
    Route("/hook", hook, methods=["POST"]),
    Route("/wait", wait),
    Route("/large", large),
    Route("/broken", broken),
]


@asynccontextmanager
async def serving(limits: HttpLimits) -> AsyncIterator[int]:
    """The port of a server with these limits."""
    with bound("127.0.0.1", 0, "listening") as listener:
        port: int = listener.getsockname()[1]
        app = Starlette(routes=[*ROUTES, LISTENS])
        task = asyncio.create_task(listen_beside(app, listener, limits))
        try:
            yield port
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def test_an_answer_in_two_packets_waits_for_no_acknowledgement() -> None:
    """Else a kept connection answers each page after a POST 40 ms late."""
    with (
        bound("127.0.0.1", 0, "listening") as listener,
        socket.create_connection(listener.getsockname()),
        listener.accept()[0] as accepted,
    ):
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_an_address_that_is_taken_is_named_once() -> None:
    with bound("127.0.0.1", 0, "listening") as listener:
        port = listener.getsockname()[1]
        with pytest.raises(WrongSetting) as failed, bound("127.0.0.1", port, "listening"):
            pass
    assert str(failed.value).startswith(
        f"Cannot listen at 127.0.0.1:{port} (Address already in use)."
    )


@asynccontextmanager
async def connected(port: int, given: bytes, address: str = STRANGER) -> AsyncIterator[Streams]:
    """A connection from this address on which `given` has been sent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
    try:
        writer.write(given)
        with suppress(ConnectionError):
            await writer.drain()
        yield reader, writer
    finally:
        writer.transport.abort()


async def asked(port: int, given: bytes, address: str = STRANGER, within: float = 5) -> bytes:
    """The whole answer, up to the end of the connection."""
    async with connected(port, given, address) as (reader, _):
        return await ended(reader, within)


async def ended(reader: asyncio.StreamReader, within: float) -> bytes:
    """What comes until the server closes, which it must do in time."""
    found = b""
    with suppress(ConnectionError):
        async with asyncio.timeout(within):
            while chunk := await reader.read(100_000):
                found += chunk
    return found


def status_of(answer: bytes) -> int:
    """The status of an answer; 0 without one."""
    return int(answer.split()[1]) if answer else 0


async def closed(among: list[Streams]) -> int:
    """How many of these connections the server has closed."""
    await asyncio.sleep(0.1)
    return sum(reader.at_eof() or reader.exception() is not None for reader, _ in among)


# --- sizes


@pytest.mark.parametrize("end", [b"\r\n\r\n", b""], ids=["whole", "unfinished"])
async def test_headers_of_more_than_16_kb_are_rejected(end: bytes) -> None:
    """In one piece or in many."""
    async with serving(HttpLimits()) as port:
        given = GOOD[:-2] + b"X: " + b"x" * 20_000 + end
        assert status_of(await asked(port, given)) in (400, 431)
        assert status_of(await asked(port, GOOD.replace(b"/healthz", b"/" + b"x" * 20_000))) == 431
        assert status_of(await asked(port, GOOD)) == 200


async def test_a_body_is_rejected_before_it_was_sent() -> None:
    """Its length says enough; without a length the first bytes over the limit do."""
    declared = b"POST /hook HTTP/1.1\r\nHost: x\r\nContent-Length: 5000000000\r\n\r\n"
    chunked = b"POST /hook HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n7d0\r\n"
    async with serving(HttpLimits()) as port:
        for given in (declared, chunked + b"x" * 2_000):
            async with connected(port, given) as (reader, _):
                assert b" 413 " in await asyncio.wait_for(reader.readline(), 2)


# --- times


async def test_a_client_that_sends_a_byte_now_and_then_is_cut_off() -> None:
    """In its headers, in its body, and after an early answer."""
    limits = HttpLimits(total=0.5)
    early = HALF.replace(b": 9", b": 9000")
    async with serving(limits) as port:
        for given in (GOOD[:9], HALF.replace(b": 9", b": 900"), early):
            async with connected(port, given) as (reader, writer):

                async def drip(writer: asyncio.StreamWriter = writer) -> None:
                    while True:
                        writer.write(b"x")
                        await asyncio.sleep(0.05)

                dripping = asyncio.create_task(drip())
                await ended(reader, 2)
                dripping.cancel()


async def test_a_client_that_reads_nothing_is_cut_off() -> None:
    """The rest of its answer is not kept in memory."""
    given = GOOD.replace(b"/healthz", b"/large")
    async with serving(HttpLimits(total=0.5)) as port, connected(port, given) as (reader, _):
        await asyncio.sleep(1)
        assert len(await ended(reader, 1)) < 30_000_000


async def test_a_handler_that_takes_too_long_holds_no_connection() -> None:
    """Its client gets no answer."""
    release.clear()
    async with serving(HttpLimits(total=0.5)) as port:
        assert await asked(port, GOOD.replace(b"/healthz", b"/wait"), within=2) == b""
        release.set()
        assert status_of(await asked(port, GOOD)) == 200


async def test_a_connection_without_a_request_is_closed() -> None:
    """One that never sends anything, and one that is kept after an answer."""
    async with serving(HttpLimits(total=0.5)) as port:
        assert await asked(port, b"", within=2) == b""
    async with serving(HttpLimits(idle=1)) as port:
        assert status_of(await asked(port, GOOD.replace(b"close", b"keep-alive"), within=3)) == 200


async def test_each_request_of_a_connection_has_the_whole_time() -> None:
    """A proxy keeps its connections."""
    async with serving(HttpLimits(total=1)) as port, connected(port, b"") as (reader, writer):
        for _ in range(4):
            await asyncio.sleep(0.4)
            writer.write(GOOD.replace(b"close", b"keep-alive"))
            assert status_of(await reader.readuntil(b"}")) == 200


# --- connections


async def test_1000_half_sent_requests_keep_nobody_from_an_answer() -> None:
    """Neither another address nor the same one; and they hold 100 connections, not 1,000."""
    async with serving(HttpLimits()) as port, AsyncExitStack() as stack:
        half = [await stack.enter_async_context(connected(port, HALF)) for _ in range(1_000)]
        async with asyncio.timeout(2):
            for address in (FRIEND, STRANGER):
                assert status_of(await asked(port, GOOD, address)) == 200
        assert 900 <= await closed(half) <= 901


async def test_many_addresses_together_keep_nobody_from_an_answer() -> None:
    """The address with the most connections makes room. One that has a single connection keeps it,
    although it has waited longest."""
    limits = HttpLimits(connections=20, connections_per_address=5)
    addresses = [f"127.0.1.{number}" for number in range(1, 11)]
    async with serving(limits) as port, AsyncExitStack() as stack:
        early, writer = await stack.enter_async_context(connected(port, GOOD[:-2], FRIEND))
        half = [
            await stack.enter_async_context(connected(port, HALF, address))
            for address in addresses
            for _ in range(9)
        ]
        assert await closed(half) == 71
        writer.write(GOOD[-2:])
        assert status_of(await ended(early, 2)) == 200
        assert status_of(await asked(port, GOOD, FRIEND)) == 200


async def test_a_request_that_is_being_handled_is_not_closed_for_a_new_one() -> None:
    """With only such requests, the new one of the same address is refused."""
    release.clear()
    waiting = GOOD.replace(b"/healthz", b"/wait")
    async with serving(HttpLimits(connections_per_address=3)) as port, AsyncExitStack() as stack:
        handled = [await stack.enter_async_context(connected(port, waiting)) for _ in range(3)]
        assert await closed(handled) == 0
        assert await asked(port, GOOD) == b""
        assert status_of(await asked(port, GOOD, FRIEND)) == 200
        release.set()
        assert [status_of(await ended(reader, 2)) for reader, _ in handled] == [200] * 3


async def test_a_worker_answers_its_health_checks_while_others_hold_connections(
    server: WorkflowEnvironment, services: Services
) -> None:
    """A worker must not be restarted because of strangers."""
    health, port = Health(server.client, services.engine), free_port()
    health.ready = True
    async with serve_health(health, f"127.0.0.1:{port}"), AsyncExitStack() as stack:
        for _ in range(500):
            await stack.enter_async_context(connected(port, GOOD[:-4]))
        for path in (b"/healthz", b"/readyz"):
            answer = await asked(port, GOOD.replace(b"/healthz", path), "127.0.0.1")
            assert status_of(answer) == 200


# --- log lines


async def test_an_unexpected_error_is_a_500_and_one_log_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The stack trace is in the log, not in the answer."""
    written = CapturingLogger()
    monkeypatch.setattr("temporal.http_limits.log", written)
    async with serving(HttpLimits()) as port:
        answer = await asked(port, GOOD.replace(b"/healthz", b"/broken"))
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert answer.endswith(b"\r\n\r\nInternal Server Error")
    assert [(call.method_name, call.args) for call in written.calls] == [
        ("exception", ("request_failed",))
    ]
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


@pytest.fixture
async def codec() -> AsyncIterator[HttpProcess]:
    """A codec server as a process."""
    async with codec_server(NEW, "http://localhost:8233") as running:
        yield running


async def test_hostile_and_broken_clients_fill_no_log(codec: HttpProcess) -> None:
    """2,000 rejected requests are 60 lines of each kind, and what was left out is counted. A client
    that leaves in the middle of its body is one line, without a stack trace."""
    port = int(codec.url.rpartition(":")[2])
    unauthorized = b"POST /decode HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
    left = f"POST /decode HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n".encode()
    for _ in range(3):
        async with connected(port, left + b"Content-Length: 900\r\n\r\nhalf"):
            await asyncio.sleep(0.1)
    for _ in range(10):
        await asyncio.gather(*(asked(port, b"rubbish\r\n\r\n") for _ in range(20)))
        async with connected(port, unauthorized * 200) as (reader, _):
            for _ in range(200):
                await reader.readuntil(b"}")
    assert status_of(await asked(port, GOOD)) == 200
    codec.process.terminate()
    await codec.process.wait()

    lines = [json.loads(line) for line in codec.lines]
    events = [line["event"] for line in lines]
    assert events.count("client_disconnected") == 3
    assert (
        events.count("codec_unauthorized") == events.count("Invalid HTTP request received.") == 60
    )
    assert "Traceback" not in str(codec.lines)
    (left_out,) = [line["lines"] for line in lines if line["event"] == "log_lines_left_out"]
    assert left_out["starter.codec:codec_unauthorized"] == 1_940
    assert sum(left_out.values()) == 1_940 + 140
    assert len(codec.lines) < 150
