"""One database transaction, with its statements pipelined."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, LiteralString, TypeAlias

from psycopg import AsyncConnection, AsyncCursor

Row: TypeAlias = tuple[Any, ...]


class Result:
    """The answer to a statement that has been sent, and may not have arrived yet."""

    __slots__ = ("_cursor",)

    def __init__(self, cursor: AsyncCursor[Row]) -> None:
        self._cursor = cursor

    async def rows(self) -> list[Row]:
        """All rows; waits for this statement and for all that were queued before it."""
        return await self._cursor.fetchall()

    async def row(self) -> Row:
        """The one row of a statement that always has one."""
        row = await self._cursor.fetchone()
        if row is None:
            raise LookupError("a statement that always has a row had none")
        return row

    async def count(self) -> int:
        """How many rows the statement touched; waits like `rows`."""
        await self._cursor.fetchone() if self._cursor.description else None
        return self._cursor.rowcount


class Transaction:
    """A transaction in pipeline mode (libpq, "Pipeline Mode"): statements travel together.

    `queue` sends without waiting; `fetch` waits. Two loads queued together cost one round trip.
    A statement's error surfaces at the next wait, at the latest at commit. Statements are prepared
    and their results binary; integers travel as bigint.
    """

    __slots__ = ("_clock", "_connection")

    def __init__(self, connection: AsyncConnection[Row]) -> None:
        self._connection = connection
        self._clock: datetime | None = None

    @property
    def now(self) -> datetime:
        """The database's clock at the batch's first statement, in UTC; known after the first wait."""
        if self._clock is None:
            raise LookupError("the clock is known once something of the transaction was fetched")
        return self._clock

    async def queue(self, statement: LiteralString, parameters: Sequence[object] = ()) -> Result:
        """Send a statement and go on."""
        cursor = self._connection.cursor(binary=True)
        await cursor.execute(statement, parameters, prepare=True)
        return Result(cursor)

    async def fetch(self, statement: LiteralString, parameters: Sequence[object] = ()) -> list[Row]:
        """Send a statement and wait for its rows."""
        return await (await self.queue(statement, parameters)).rows()
