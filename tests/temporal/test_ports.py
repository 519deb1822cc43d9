"""A free port stays free for the one who asked, until a server listens on it."""

import socket
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from temporal.ports import LOOPBACK, free_port

MANY = 300


def several(count: int) -> list[int]:
    """Ask for that many ports, one after the other."""
    return [free_port() for _ in range(count)]


def test_processes_that_ask_for_any_port_get_different_ones() -> None:
    """Workers that start at the same time, while none of them listens yet."""
    with ProcessPoolExecutor(4, get_context("spawn")) as processes:
        asked = processes.map(several, [MANY] * 4)
        found = [port for ports in asked for port in ports]
    assert len(set(found)) == 4 * MANY


def test_a_server_listens_on_the_port_and_after_its_restart_again() -> None:
    """The links that it has given out stay valid."""
    port = free_port()
    for _ in range(2):
        assert free_port(port) == port
        with socket.create_server((LOOPBACK, port)) as server:
            assert free_port(port) != port
            with socket.create_connection((LOOPBACK, port)):
                server.accept()[0].close()
