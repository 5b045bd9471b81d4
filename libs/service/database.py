"""The connections of one service: a small pool for HTTP and workers, dedicated ones for consumer and relay."""

import secrets
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final, LiteralString

from psycopg_pool import AsyncConnectionPool

from libs.outbox import writers
from libs.outbox.connection import connect, parameters, prepare, transaction
from libs.outbox.pipeline import Connection, Statements
from libs.outbox.transaction import Row, Transaction

POOL_SIZE: Final = 4
POOL_WAIT_SECONDS: Final = 5.0
TRUSTED_SECONDS: Final = 1.0
"""How long a pooled connection is taken for alive after it was last seen to be: a busy one costs no round trip."""


class _Pooled(Connection):
    alive_at = float("-inf")


class Database:
    """Where a service keeps its rows. Everything raises psycopg.Error when the server is away.

    `statements` counts what all of its connections send; `process` is the number under which those that
    may write to the outbox are known as this process's.
    """

    def __init__(self, dsn: str, service: str) -> None:
        self._dsn = dsn
        self._service = service
        self.process = secrets.randbelow(1 << 31)
        self.statements = Statements()
        self._pool: AsyncConnectionPool[_Pooled] = AsyncConnectionPool(
            dsn,
            connection_class=_Pooled,
            min_size=1,
            max_size=POOL_SIZE,
            open=False,
            timeout=POOL_WAIT_SECONDS,
            check=_see_alive,
            configure=self._configure,
            kwargs=parameters(f"{service} pool"),
            name=service,
        )

    async def open(self) -> None:
        """Open the pool; connections are made as they are needed."""
        await self._pool.open()

    async def close(self) -> None:
        """Close the pool."""
        await self._pool.close()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """A pipelined transaction on a pooled connection; committed at the end, rolled back on error."""
        async with self._pool.connection() as connection, transaction(connection) as tx:
            await tx.read_clock()
            yield tx

    async def fetch(self, statement: LiteralString, parameters: Sequence[object] = ()) -> list[Row]:
        """The rows of a statement that is a transaction of its own, on a pooled connection."""
        async with self._pool.connection() as connection:
            return await connection.ask(statement, parameters)

    async def dedicated(self, purpose: str, **session: str) -> Connection:
        """A connection of its own, to be closed by the caller, on which nobody writes to the outbox."""
        connection = await connect(self._dsn, name=f"{self._service} {purpose}", **session)
        connection.statements = self.statements
        return connection

    async def writing(self, purpose: str) -> Connection:
        """A connection of its own, to be closed by the caller, that may write to the outbox."""
        connection = await self.dedicated(purpose)
        try:
            await writers.enter(connection, self.process)
        except BaseException:
            await connection.close()
            raise
        return connection

    async def _configure(self, connection: _Pooled) -> None:
        prepare(connection)
        connection.statements = self.statements
        await writers.enter(connection, self.process)


async def _see_alive(connection: _Pooled) -> None:
    if time.monotonic() - connection.alive_at >= TRUSTED_SECONDS:
        await AsyncConnectionPool.check_connection(connection)
        connection.alive_at = time.monotonic()
