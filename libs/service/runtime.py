"""What the host gives a service's HTTP routes and workers to work with."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeAlias

import httpx
from prometheus_client import CollectorRegistry
from starlette.requests import Request
from structlog.typing import FilteringBoundLogger

from libs.contracts.values import MessageId
from libs.messaging.message import Message, Outgoing
from libs.outbox.transaction import Transaction
from libs.service.auth import Guard, Principal
from libs.service.database import Database
from libs.service.settings import Settings

Source: TypeAlias = Callable[[Transaction], Awaitable[Sequence[Message[object]]]]
"""Claims, inside the batch transaction, what the service has to tell itself."""


class Commits:
    """Tells those who wait that a batch was committed."""

    def __init__(self) -> None:
        self._next = asyncio.Event()

    def announce(self) -> None:
        """Wake everybody who waits."""
        before, self._next = self._next, asyncio.Event()
        before.set()

    async def wait(self, timeout_seconds: float) -> bool:
        """Wait for the next commit; whether there was one in time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                await self._next.wait()
                return True
        return False


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """One running service, seen from within."""

    name: str
    settings: Settings
    database: Database
    log: FilteringBoundLogger
    metrics: CollectorRegistry
    http: httpx.AsyncClient
    guard: Guard
    new_id: Callable[[], MessageId]
    feed_source: Callable[[Source], Awaitable[int]]
    put: Callable[[Transaction, Sequence[Outgoing]], Awaitable[None]]
    commits: Commits = field(default_factory=Commits)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the service begins to stop: streams end, long polls answer."""

    async def signed_in(self, request: Request) -> Principal:
        """FastAPI dependency: anyone with a valid token."""
        return await self.guard.signed_in(request)

    async def operator(self, request: Request) -> Principal:
        """FastAPI dependency: an operator or an admin."""
        return await self.guard.operator(request)

    async def service(self, request: Request) -> Principal:
        """FastAPI dependency: another service."""
        return await self.guard.service(request)

    async def feed(self, source: Source) -> int:
        """Run what `source` claims through load, decide and save in one transaction; how many that were.

        Raises what a decide function raises, and psycopg.Error; nothing is changed then.
        """
        return await self.feed_source(source)

    async def outbox(self, tx: Transaction, messages: Sequence[Outgoing]) -> None:
        """Put messages into the outbox within a transaction; the relay has them once it is committed."""
        await self.put(tx, messages)

    async def batch_committed(self, timeout_seconds: float) -> bool:
        """Wait until this process has committed a batch, at most so long; whether it did."""
        return await self.commits.wait(timeout_seconds)
