"""One database transaction, with its statements pipelined."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, LiteralString, Protocol, TypeAlias

from psycopg import AsyncConnection, AsyncCursor
from psycopg.sql import Composed

from libs.outbox.pipeline import Connection, StatementResult

Row: TypeAlias = tuple[Any, ...]


class Asked(Protocol):
    """What answers a statement: a transaction, or a database, where the statement is a transaction of its own."""

    async def fetch(self, statement: LiteralString, parameters: Sequence[object] = ()) -> list[Row]:
        """The statement's rows."""


class Result:
    """The answer to a statement that has been sent, and may not have arrived yet."""

    __slots__ = ("_cursor", "_rows", "_transaction")

    def __init__(self, transaction: "Transaction", cursor: AsyncCursor[Row] | StatementResult) -> None:
        self._transaction = transaction
        self._cursor = cursor
        self._rows: list[Row] | None = None

    @property
    def status(self) -> str | None:
        """What the server called the statement that it executed; None before anything has arrived."""
        return self._cursor.statusmessage

    async def rows(self) -> list[Row]:
        """All rows; waits for this statement and for all that were queued before it."""
        rows = await self.fetched()
        await self._transaction.arrived()
        return rows

    async def fetched(self) -> list[Row]:
        """All rows, without a look at the transaction's clock."""
        if self._rows is None:
            self._rows = await self._cursor.fetchall()
        return self._rows


class Transaction:
    """A transaction in pipeline mode (libpq, "Pipeline Mode"): statements travel together.

    `queue` sends without waiting; `fetch` waits. Two loads queued together cost one round trip.
    A statement's error surfaces at the next wait, at the latest at commit. Statements are prepared
    and their results binary; integers travel as bigint.
    """

    __slots__ = ("_clock", "_committed", "_connection", "_doubted", "_now")

    def __init__(self, connection: AsyncConnection[Row]) -> None:
        self._connection = connection
        self._clock: Result | None = None
        self._now: datetime | None = None
        self._committed: list[Callable[[], Awaitable[None]]] = []
        self._doubted: list[Callable[[], None]] = []

    @property
    def now(self) -> datetime:
        """The database's clock at the transaction's first statements, in UTC; known after the first wait."""
        if self._now is None:
            raise LookupError("the clock is known once something of the transaction was fetched")
        return self._now

    async def read_clock(self) -> None:
        """Ask for the database's clock along with the statements that follow."""
        self.take_clock(await self.queue("SELECT clock_timestamp()"))

    def take_clock(self, result: Result) -> None:
        """Let the first column of the one row that the first statement returns be the clock."""
        self._clock = result

    async def arrived(self) -> None:
        """Take the clock, which was asked for before anything else, once something has arrived."""
        if self._clock is not None:
            clock, self._clock = self._clock, None
            (row,) = await clock.fetched()
            self._now = row[0]

    def after_commit(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do this once the transaction is known to be committed; it may read results of its statements."""
        self._committed.append(work)

    def in_doubt(self, work: Callable[[], None]) -> None:
        """Do this when the commit has failed: it may have happened all the same."""
        self._doubted.append(work)

    def doubted(self) -> None:
        """Do what is to be done about a commit that nobody knows of."""
        for work in self._doubted:
            work()

    async def committed(self) -> None:
        """Do what waits for the commit, and forget it: what reads results knows the transaction, and all that was sent."""
        await self.arrived()
        works, self._committed = self._committed, []
        for work in works:
            await work()

    async def queue(self, statement: LiteralString, parameters: Sequence[object] = ()) -> Result:
        """Send a statement and go on."""
        connection = self._connection
        if isinstance(connection, Connection):
            return Result(self, connection.send(statement, parameters))
        cursor = connection.cursor(binary=True)
        await cursor.execute(statement, parameters, prepare=True)
        return Result(self, cursor)

    async def fetch(self, statement: LiteralString, parameters: Sequence[object] = ()) -> list[Row]:
        """Send a statement and wait for its rows."""
        return await (await self.queue(statement, parameters)).rows()

    async def select(self, query: Composed, parameters: Mapping[str, object]) -> list[Row]:
        """Run a query whose shape depends on what is asked; it is not kept prepared."""
        cursor = self._connection.cursor(binary=True)
        await cursor.execute(query, parameters)
        return await Result(self, cursor).rows()
