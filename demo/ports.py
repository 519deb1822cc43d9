"""Free ports for servers that run for a while: of the demo, the tests and the benchmarks."""

import socket


def free_port(wished: int = 0) -> int:
    """Return `wished` if it is free, else another free port."""
    for port in (wished, 0):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            found: int = probe.getsockname()[1]
            return found
    raise OSError("no free port")
