"""Ports of this machine: find a free one, or say who has one."""

import socket
from contextlib import suppress
from pathlib import Path

from activities.services import WrongSetting

LOOPBACK = "127.0.0.1"
LISTENING = "0A"
"""The state of a listening socket in `/proc/net/tcp`."""


def free_port(wished: int = 0) -> int:
    """Return `wished` if it is free, else another free port. For a minute no process gets it that
    asks for any port: a closed connection keeps it, and a server may still listen on it."""
    for port in (wished, 0):
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((LOOPBACK, port))
                listener.listen()
            except OSError:
                continue
            with socket.create_connection(listener.getsockname()):
                listener.accept()[0].close()  # the side that closes first keeps the port
            found: int = listener.getsockname()[1]
            return found
    raise OSError("no free port")


def check_free(port: int, advice: str) -> None:
    """Raise WrongSetting, which names the process that listens on the port and gives `advice`,
    unless the port is free."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # closing connections are free
        try:
            probe.bind((LOOPBACK, port))
            return
        except OSError as error:
            if port < 1024 and isinstance(error, PermissionError):
                raise WrongSetting(f"Port {port} needs a privileged user. {advice}") from None
    who = listener(port) or "another process"
    raise WrongSetting(f"Port {port} is taken by {who}. {advice}")


def listener(port: int) -> str | None:
    """The process that listens on a port, such as `temporal (process 1234)`; None if it cannot be
    determined: it belongs to another user, or this is not Linux."""
    if not (wanted := {f"socket:[{inode}]" for inode in _inodes(port)}):
        return None
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended, or belongs to another user
            if any(str(file.readlink()) in wanted for file in (process / "fd").iterdir()):
                return f"{(process / 'comm').read_text().strip()} (process {process.name})"
    return None


def _inodes(port: int) -> list[str]:
    """The sockets that listen on a port, over IPv4 and IPv6."""
    found = []
    for table in ("tcp", "tcp6"):
        with suppress(OSError):
            rows = [row.split() for row in Path("/proc/net", table).read_text().splitlines()[1:]]
            found += [
                row[9]
                for row in rows
                if row[3] == LISTENING and int(row[1].rpartition(":")[2], 16) == port
            ]
    return found
