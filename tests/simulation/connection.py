"""psycopg's connection, as much of it as the platform uses, and the pool, to a simulated server over a simulated network."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final, Self, cast

import psycopg
from psycopg import AsyncConnection
from psycopg_pool import PoolTimeout

from libs.outbox import writers
from libs.outbox.connection import transaction
from libs.outbox.pipeline import Connection as PipelinedConnection
from libs.outbox.transaction import Row, Transaction
from libs.service.database import Database as PooledDatabase
from tests.simulation.clock import Process
from tests.simulation.server import BEGIN, COMMIT, ROLLBACK, Database, Request, Session
from tests.simulation.store import Rows
from tests.simulation.world import World

POOL_SIZE: Final = 4
POOL_WAIT_SECONDS: Final = 5.0
GIVE_UP_SECONDS: Final = 5.0
"""tcp_user_timeout, and the connect_timeout: so long a client waits for a server that it cannot reach."""


class Cursor:
    """A statement's rows, once they are there."""

    __slots__ = ("_connection", "rows", "statusmessage")

    def __init__(self, connection: "Connection") -> None:
        self._connection = connection
        self.rows: Rows | None = None
        self.statusmessage: str | None = None

    async def fetchall(self) -> Rows:
        """All rows."""
        if self.rows is None:
            await self._connection.sync()
        if self.rows is None:
            raise psycopg.errors.PipelineAborted("pipeline aborted")
        return self.rows

    async def fetchone(self) -> tuple[Any, ...] | None:
        """The first row."""
        rows = await self.fetchall()
        return rows[0] if rows else None


class _Pipeline:
    def __init__(self, connection: "Connection") -> None:
        self._connection = connection

    async def __aenter__(self) -> Self:
        self._connection.pipelined = True
        return self

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        self._connection.pipelined = False
        if error is None:
            await self._connection.sync()

    async def sync(self) -> None:
        """Wait for the answers to all that was sent."""
        await self._connection.sync()


class Connection:
    """A client's end of a session."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._world = session.world
        self._cursors: list[Cursor] = []
        self._statements: list[tuple[str, Sequence[Any]]] = []
        self._open = False
        self._closed = False
        self.pipelined = False

    @property
    def closed(self) -> bool:
        """Whether nothing can be asked any more."""
        return self._closed

    async def execute(
        self,
        statement: str,
        parameters: Sequence[Any] = (),
        *,
        prepare: bool | None = None,
        binary: bool = False,
    ) -> Cursor:
        """Send a statement; outside of a pipeline, wait for it. Results are Python objects either way."""
        del prepare, binary
        cursor = self.send(statement, parameters)
        if not self.pipelined:
            await self.sync()
        return cursor

    async def ask(self, statement: str, parameters: Sequence[Any] = ()) -> Rows:
        """The rows of a statement that is a transaction of its own."""
        return await (await self.execute(statement, parameters)).fetchall()

    def pipeline(self) -> _Pipeline:
        """Until its end, statements are sent without waiting."""
        return _Pipeline(self)

    def send(self, statement: str, parameters: Sequence[Any]) -> Cursor:
        """Queue a statement for the next trip."""
        if self._closed:
            raise psycopg.OperationalError("the connection is closed")
        cursor = Cursor(self)
        self._cursors.append(cursor)
        self._statements.append((statement, parameters))
        if statement == BEGIN:
            self._open = True
        return cursor

    async def sync(self) -> None:
        """Bring what is queued to the server, and wait for its answers."""
        if self._closed:
            raise psycopg.OperationalError("the connection is closed")
        statements = self._statements
        if not statements:
            return
        cursors, self._cursors, self._statements = self._cursors, [], []
        process = self._session.process
        if process is not None and (process.ambush is not None or not process.alive):
            await self._hindered(process)
        answers = await self._answers(statements)
        for cursor, rows in zip(cursors, answers, strict=True):
            cursor.rows = rows
        if statements[-1][0] == COMMIT:
            cursors[-1].statusmessage, self._open = COMMIT, False

    async def _answers(self, statements: list[tuple[str, Sequence[Any]]]) -> list[Rows]:
        session, world = self._session, self._world
        trip = Trip(statements, session)
        world.later(world.delay(), trip.arrive)
        timeout = None
        if not (world.network.whole or world.network.between(session.process, session.database.name)):
            timeout = world.loop.call_later(GIVE_UP_SECONDS, trip.give_up)
        try:
            return await trip.end
        except psycopg.Error:
            if session.dead or timeout is not None:
                self._lose(None)
            raise
        except asyncio.CancelledError:
            self._lose(None)
            raise
        finally:
            if timeout is not None:
                timeout.cancel()

    async def _hindered(self, process: Process) -> None:
        if not process.alive:
            self._closed = True
            raise psycopg.OperationalError("the process is dead")
        if process.ambush is not None and self._session.name.endswith("consumer"):
            process.ambush()
            await asyncio.sleep(0)  # a process that has been stopped here sends nothing until it goes on

    async def rollback(self) -> None:
        """Undo what the transaction did."""
        self._forget()
        if self._closed:
            raise psycopg.OperationalError("the connection is closed")
        if self._open:
            self._open = False
            self.send(ROLLBACK, ())
            await self.sync()

    async def close(self) -> None:
        """Close; the server ends the session when it hears of it."""
        self._lose(None)

    def _forget(self) -> None:
        """Send nothing of what is queued."""
        self._cursors, self._statements = [], []

    def _lose(self, _error: object) -> None:
        self._closed = True
        self._forget()
        session, world = self._session, self._world
        world.later(
            world.delay(),
            world.network.pass_on,
            session.process,
            session.database.name,
            session.die,
        )


class Trip(Request):
    """A request on its way to the server and back."""

    __slots__ = ("end", "session")

    def __init__(self, statements: Sequence[tuple[str, Sequence[Any]]], session: Session) -> None:
        super().__init__(statements)
        self.session = session
        self.end: asyncio.Future[list[Rows]] = session.world.loop.create_future()

    def arrive(self) -> None:
        """Be at the server, unless something holds it back."""
        session = self.session
        if session.world.network.whole:
            session.arrive(self)
        else:
            self._pass_on(partial(session.arrive, self))

    def answer(self, result: list[Rows] | BaseException) -> None:
        """Go back."""
        self.result = result
        if self.session.world.network.whole:
            self.settle()
        else:
            self._pass_on(self.settle)

    def _pass_on(self, deliver: Callable[[], None]) -> None:
        session = self.session
        session.world.network.pass_on(session.process, session.database.name, deliver)

    def settle(self) -> None:
        """Be back."""
        if self.end.done():
            return
        if isinstance(self.result, BaseException):
            self.end.set_exception(self.result)
        elif self.result is not None:
            self.end.set_result(self.result)

    def give_up(self) -> None:
        """Be awaited no longer."""
        if not self.end.done():
            lost = "could not receive data from server: Connection timed out"
            self.end.set_exception(psycopg.OperationalError(lost))


class Client:
    """A process's way to its database: the pool, and connections of their own."""

    def __init__(self, world: World, database: Database, process: Process) -> None:
        self._world = world
        self._database = database
        self._process = process
        self.process = process.number
        self._idle: list[Connection] = []
        self._room = asyncio.Semaphore(POOL_SIZE)
        process.at_end.append(self._gone)

    def port(self) -> PooledDatabase:
        """As the platform calls it."""
        return cast("PooledDatabase", self)

    async def open(self) -> None:
        """Nothing: connections are made as they are needed."""

    async def close(self) -> None:
        """Close what is idle."""
        for connection in self._idle:
            await connection.close()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """A pipelined transaction on a pooled connection."""
        async with self._pooled() as connection, transaction(cast("AsyncConnection[Row]", connection)) as tx:
            await tx.read_clock()
            yield tx

    async def fetch(self, statement: str, parameters: Sequence[Any] = ()) -> Rows:
        """The rows of a statement that is a transaction of its own, on a pooled connection."""
        async with self._pooled() as connection:
            return await connection.ask(statement, parameters)

    async def dedicated(self, purpose: str, **_session: str) -> PipelinedConnection:
        """A connection of its own."""
        return cast("PipelinedConnection", await self._connected(purpose))

    async def writing(self, purpose: str) -> PipelinedConnection:
        """A connection of its own that may write to the outbox."""
        return cast("PipelinedConnection", await self._entered(purpose))

    @asynccontextmanager
    async def _pooled(self) -> AsyncIterator[Connection]:
        connection = await self._taken()
        try:
            yield connection
        finally:
            self._room.release()
            if not connection.closed:
                self._idle.append(connection)

    async def _taken(self) -> Connection:
        if self._room.locked():
            try:
                async with asyncio.timeout(POOL_WAIT_SECONDS):
                    await self._room.acquire()
            except TimeoutError:
                raise PoolTimeout("couldn't get a connection") from None
        else:
            await self._room.acquire()
        try:
            while self._idle:
                connection = self._idle.pop()
                if not connection._session.dead and not connection.closed:
                    return connection
            try:
                async with asyncio.timeout(POOL_WAIT_SECONDS):
                    return await self._eventually_connected()
            except TimeoutError:
                raise PoolTimeout("couldn't get a connection") from None
        except BaseException:
            self._room.release()
            raise

    async def _eventually_connected(self) -> Connection:
        while True:
            try:
                return await self._entered("pool")
            except psycopg.OperationalError:
                await asyncio.sleep(0.25)

    async def _entered(self, purpose: str) -> Connection:
        connection = await self._connected(purpose)
        try:
            await writers.enter(cast("AsyncConnection[Row]", connection), self.process)
        except BaseException:
            await connection.close()
            raise
        return connection

    async def _connected(self, purpose: str) -> Connection:
        await asyncio.sleep(self._world.delay() * 2)
        if not self._process.alive:
            raise psycopg.OperationalError("the process is dead")
        if not self._world.network.between(self._process, self._database.name):
            await asyncio.sleep(GIVE_UP_SECONDS)
            raise psycopg.OperationalError("connection timeout expired")
        session = self._database.open(self._process, f"{self._process.name} {purpose}")
        return Connection(session)

    def _gone(self) -> None:
        """The process is dead: the server notices that its connections are closed, unless it cannot be reached."""
        for session in list(self._database.sessions):
            if session.process is self._process:
                self._world.network.pass_on(self._process, self._database.name, session.die)
