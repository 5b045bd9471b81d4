"""Connections whose statements travel together, when somebody waits, instead of one by one; and are counted."""

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from types import TracebackType
from typing import Any, Final, LiteralString, Self, TypeAlias, TypeVar, cast

from psycopg import AsyncConnection, AsyncCursor, AsyncPipeline
from psycopg.abc import Params, PQGen, Query
from psycopg.adapt import PyFormat, Transformer
from psycopg.errors import InvalidSqlStatementName, PipelineAborted, error_from_result
from psycopg.generators import send
from psycopg.pq import ConnStatus, ExecStatus, Format
from psycopg.pq.abc import PGconn, PGresult
from psycopg.waiting import Ready, Wait

_BINARY: Final = Format.BINARY
WAIT_INTERVAL: Final = 0.1
"""How often psycopg looks up from a wait that is left to it, in seconds."""
_Value = TypeVar("_Value")
_PLACEHOLDER: Final = re.compile("%[s%]")


@dataclass(slots=True)
class Statements:
    """How many statements were sent, BEGIN and COMMIT among them; several connections may share a count."""

    sent: int = 0


class StatementResult:
    """What a prepared statement gave, once that was asked for."""

    __slots__ = ("_connection", "_prepares", "_result")

    def __init__(self, connection: "Connection", prepares: "tuple[_Key, bytes] | None" = None) -> None:
        self._connection = connection
        self._prepares = prepares
        self._result: PGresult | None = None

    def settle(self, results: Sequence[PGresult]) -> None:
        """Take the result, or raise the error that it is."""
        (result,) = results
        if result.status == ExecStatus.FATAL_ERROR:
            error = error_from_result(result, encoding="utf-8")
            if isinstance(error, InvalidSqlStatementName):
                self._connection.prepared.clear()  # somebody has deallocated them: all are prepared anew
            raise error
        if result.status == ExecStatus.PIPELINE_ABORTED:
            raise PipelineAborted("a statement before this one failed")
        if self._prepares is not None:
            key, name = self._prepares
            self._connection.prepared[key] = name
        self._result = result

    @property
    def statusmessage(self) -> str | None:
        """The server's tag for the command; None before it has arrived."""
        return None if self._result is None else (self._result.command_status or b"").decode()

    async def fetchall(self) -> list[tuple[Any, ...]]:
        """All rows; waits for all that was sent before and after."""
        if self._result is None:
            await self._connection.fetch()
        if self._result is None:
            raise PipelineAborted("the answer was lost with another statement's")
        return self._connection.rows(self._result)


_Key: TypeAlias = tuple[str, tuple[int, ...]]


class BufferedPipeline(AsyncPipeline):
    """Hands statements to libpq, which keeps them until an answer is asked for.

    psycopg's own pipeline writes to the socket at every statement, and each write wakes the
    server's process: on a busy machine that was a third of what a small batch cost. libpq sends by
    itself what grows beyond 64 KiB.
    """

    _settled = True

    async def __aenter__(self) -> Self:
        """Enter without a wait: nothing has to be said to the server."""
        self.pgconn.enter_pipeline_mode()
        self.level += 1
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave; unless that was done by a commit, learn first how the server's transaction stands."""
        if self._settled:
            self._exit(error)
        else:
            await super().__aexit__(kind, error, trace)

    def _communicate_gen(self) -> PQGen[None]:
        while self.command_queue:
            self._settled = False
            self.command_queue.popleft()()
        yield from ()

    def _sync_gen(self) -> PQGen[None]:
        self._enqueue_sync()
        yield from self._communicate_gen()
        # libpq pushes at a sync, but waits for nobody: the rest would stay here while both sides wait for the other.
        yield from send(self.pgconn)
        yield from self._fetch_gen(flush=False)
        self._settled = True

    def expect(self, result: StatementResult) -> None:
        """Note that a statement has been handed to libpq, whose result is due next."""
        self._settled = False
        self.result_queue.append(result)  # type: ignore[arg-type]

    def collect(self) -> PQGen[None]:
        """Send what libpq keeps, and take the results of all that was sent. Raises the first error among them."""
        yield from self._fetch_gen(flush=True)

    def _process_results(self, queued: Any, results: list[PGresult]) -> None:
        if isinstance(queued, StatementResult):
            queued.settle(results)
        else:
            super()._process_results(queued, results)


class CountedCursor(AsyncCursor[tuple[Any, ...]]):
    """psycopg's cursor; what it executes is counted by its connection."""

    __slots__ = ()
    _conn: "Connection"

    def _execute_gen(
        self,
        query: Query,
        params: Params | None = None,
        *,
        prepare: bool | None = None,
        binary: bool | None = None,
    ) -> PQGen[None]:
        self._conn.statements.sent += 1
        return super()._execute_gen(query, params, prepare=prepare, binary=binary)


class _Resumed:
    """A generator of psycopg that has said already what it waits for; it says so again, once it is asked."""

    def __init__(self, gen: PQGen[Any], state: Wait, first: BaseException | None = None) -> None:
        self._gen = gen
        self._state = state
        self._first = first

    def __next__(self) -> Wait:
        if (first := self._first) is not None:
            self._first = None
            raise first
        return self._state

    def send(self, ready: Ready) -> Wait:
        """As the generator's own."""
        return self._gen.send(ready)


class Connection(AsyncConnection[tuple[Any, ...]]):
    """psycopg's connection with a buffered pipeline, and a short way for prepared statements.

    A cursor for each statement, with its own idea of how parameters are dumped, what is prepared
    and how rows are made, costs more than a small statement itself. `statements` is where it counts.
    """

    def __init__(self, pgconn: PGconn) -> None:
        super().__init__(pgconn)
        self.cursor_factory = CountedCursor
        self.statements = Statements()
        self.prepared: dict[_Key, bytes] = {}
        """What the server calls the statements that it has, by their text and their parameters' types."""
        self._numbers = count()
        self._buffered: BufferedPipeline | None = None
        self._transformer = Transformer(self)
        self._loading = Transformer(self)
        self._listening: int | None = None
        self._told_of: asyncio.Future[None] | None = None

    @asynccontextmanager
    async def pipeline(self) -> AsyncIterator[AsyncPipeline]:
        """Enter pipeline mode; pipelines do not nest."""
        self._pipeline = self._buffered = BufferedPipeline(self)
        try:
            async with self._buffered as pipeline:
                yield pipeline
        finally:
            self._pipeline = self._buffered = None

    def send(self, statement: LiteralString, parameters: Sequence[object]) -> StatementResult:
        """Put a statement into the pipeline; it is prepared once for each types of its parameters."""
        pipeline = self._buffered
        if pipeline is None:
            raise LookupError("statements are sent within a pipeline")
        given = self._transformer
        values = given.dump_sequence(parameters, [PyFormat.AUTO] * len(parameters))
        key = statement, tuple(given.types or ())
        name = self.prepared.get(key)
        if name is None:
            # Until the server has said that it has the statement, each time a new name.
            name = b"s%d" % next(self._numbers)
            self.pgconn.send_prepare(name, numbered(statement), param_types=key[1])
            pipeline.expect(StatementResult(self, (key, name)))
        self.pgconn.send_query_prepared(name, values, param_formats=given.formats, result_format=_BINARY)
        self.statements.sent += 1
        result = StatementResult(self)
        pipeline.expect(result)
        return result

    async def wait(
        self,
        gen: PQGen[_Value],
        interval: float = WAIT_INTERVAL,
        timeout: float | None = None,  # noqa: ASYNC109 - psycopg's signature
    ) -> _Value:
        """Let a generator of psycopg work until it is done, as psycopg does, but at less cost.

        The socket stays registered with the event loop from one answer to the next, where psycopg registers
        it anew, with a timer, at every wait. Whatever is not merely waiting for an answer is left to psycopg.
        """
        if timeout is not None:
            return await super().wait(gen, interval, timeout)
        state = Wait.R
        try:
            state = next(gen)
            while state == Wait.R:
                await self._readable()
                state = gen.send(Ready.R)
        except StopIteration as end:
            if self.pgconn.status != ConnStatus.OK:
                self._listen_no_more()
            value: _Value = end.value
            return value
        except asyncio.CancelledError as cancelled:
            self._listen_no_more()
            return await super().wait(cast("PQGen[_Value]", _Resumed(gen, state, cancelled)), interval)
        except BaseException:
            self._listen_no_more()
            raise
        self._listen_no_more()
        return await super().wait(cast("PQGen[_Value]", _Resumed(gen, state)), interval)

    async def close(self) -> None:
        """Close the connection; one that belongs to a pool goes back to it."""
        self._listen_no_more()
        await super().close()

    @property
    def listens(self) -> bool:
        """Whether the event loop watches the socket."""
        return self._listening is not None

    async def _readable(self) -> None:
        """Wait until the server has sent something, or has gone."""
        loop = asyncio.get_running_loop()
        if self._listening is None:
            socket = self.pgconn.socket
            loop.add_reader(socket, self._told)
            self._listening = socket
        self._told_of = loop.create_future()
        try:
            await self._told_of
        finally:
            self._told_of = None

    def _told(self) -> None:
        if self._told_of is None:
            self._listen_no_more()  # the server ends the session; whoever asks next will learn of it
        elif not self._told_of.done():
            self._told_of.set_result(None)

    def _listen_no_more(self) -> None:
        if self._listening is not None:
            asyncio.get_running_loop().remove_reader(self._listening)
            self._listening = None

    async def fetch(self) -> None:
        """Wait for the results of all that was sent. Raises the first error among them."""
        if self._buffered is not None:
            await self.wait(self._buffered.collect())

    def rows(self, result: PGresult) -> list[tuple[Any, ...]]:
        """A result's rows."""
        self._loading.set_pgresult(result)
        return self._loading.load_rows(0, result.ntuples, tuple)


@lru_cache
def numbered(statement: str) -> bytes:
    """The statement with the server's placeholders."""
    numbers = count(1)
    return _PLACEHOLDER.sub(lambda m: "%" if m[0] == "%%" else f"${next(numbers)}", statement).encode()
