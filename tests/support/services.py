"""A service as a child process of the test, as it runs in production: `python -m libs.service <name>`."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from devstack import processes
from devstack.processes import ProcessId
from devstack.readiness import free_port
from tests.support.databases import Database
from tests.support.http import is_ready
from tests.support.topics import Topics
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[2]
START_SECONDS = 180.0
"""As long as its process lives: a busy machine starts slowly."""


class ServiceEndedError(Exception):
    """A service ended instead of becoming ready; the message has the end of its log."""


class ServiceProcess:
    """One service on one database and one set of topics; it can be killed and started again."""

    def __init__(
        self,
        service: str,
        database: Database,
        topics: Topics,
        folder: Path,
        environment: Mapping[str, str],
    ) -> None:
        self.service = service
        self.database = database
        self.port = int(environment.get("HTTP_PORT", free_port()))
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / f"{service}-{self.port}.log"
        self._environment = {
            **os.environ,
            "PROFILE": "dev",
            "DATABASE_URL": database.runtime_dsn,
            "KAFKA_BOOTSTRAP_SERVERS": topics.bootstrap_servers,
            "TOPIC_PREFIX": topics.prefix,
            "TOPIC_PARTITIONS": str(topics.partitions),
            "HTTP_HOST": "127.0.0.1",
            "HTTP_PORT": str(self.port),
            "LOG_FORMAT": "json",
            "PYTHONUNBUFFERED": "1",
            **environment,
        }
        self._process: ProcessId | None = None

    @property
    def pid(self) -> int:
        """The process's id; it must run."""
        assert self._process is not None, f"{self.service} does not run"
        return self._process.pid

    async def start(self) -> None:
        """Start it, and return once it says that it is ready."""
        self.launch()

        async def ready() -> bool:
            assert self._process is not None
            if not self._process.alive:
                raise ServiceEndedError(f"{self.service} ended:\n{self.tail()}")
            return await is_ready(self.url)

        await eventually(ready, within=START_SECONDS, every=0.05, what=f"{self.service} ready")

    def launch(self) -> None:
        """Start it without waiting."""
        self._process = processes.launch(
            [sys.executable, "-m", "libs.service", self.service],
            log=self.log,
            cwd=ROOT,
            env=self._environment,
        )

    async def stop(self) -> bool:
        """SIGTERM, and wait for its end; false when it had to be killed."""
        process, self._process = self._process, None
        return process is None or await processes.stop(process)

    async def kill(self) -> None:
        """SIGKILL, and wait for its end."""
        process, self._process = self._process, None
        if process is not None:
            await processes.stop(process, by=signal.SIGKILL)

    def signal(self, number: signal.Signals) -> None:
        """Send it any signal, for instance SIGSTOP."""
        os.kill(self.pid, number)

    def tail(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-4_000:] if self.log.exists() else ""


@asynccontextmanager
async def running(*services: ServiceProcess) -> AsyncIterator[None]:
    """All of them, started side by side, stopped at the end whatever happened."""
    try:
        async with asyncio.TaskGroup() as group:
            for service in services:
                group.create_task(service.start())
        yield
    finally:
        await asyncio.gather(*(service.stop() for service in services))
