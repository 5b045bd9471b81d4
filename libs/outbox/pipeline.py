"""Connections whose statements travel together, when somebody waits, instead of one by one; and are counted."""

import asyncio
from collections.abc import Sequence
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

from libs.outbox.listening import Listening
from libs.outbox.shape import PLACEHOLDER, set_statement

_BINARY: Final = Format.BINARY
WAIT_INTERVAL: Final = 0.1
"""How often psycopg looks up from a wait that is left to it, in seconds."""
_Value = TypeVar("_Value")


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
    _conn: "Connection"

    async def __aenter__(self) -> Self:
        """Enter without a wait: nothing has to be said to the server."""
        self.pgconn.enter_pipeline_mode()
        self.level += 1
        self._conn.enter(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave; unless that was done by a commit, learn first how the server's transaction stands."""
        try:
            if self._settled:
                self._exit(error)
            else:
                await super().__aexit__(kind, error, trace)
        finally:
            self._conn.enter(None)

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
        self.listening = Listening()

    def pipeline(self) -> BufferedPipeline:  # type: ignore[override]
        """What enters pipeline mode and leaves it, by `async with`; pipelines do not nest."""
        return BufferedPipeline(self)

    def enter(self, pipeline: BufferedPipeline | None) -> None:
        """Let statements travel in this pipeline from now on, or in none."""
        self._pipeline = self._buffered = pipeline

    def send(self, statement: LiteralString, parameters: Sequence[object]) -> StatementResult:
        """Put a statement into the pipeline; it is prepared once for each types of its parameters."""
        pipeline = self._buffered
        if pipeline is None:
            raise LookupError("statements are sent within a pipeline")
        text: str = statement
        casts: tuple[int, ...] = ()
        if (columns := set_statement(statement)) is not None:
            (text, casts), parameters = columns.fitted(parameters)
        given = self._transformer
        values = given.dump_sequence(parameters, [PyFormat.AUTO] * len(parameters))
        types = tuple(given.types or ())
        name = self.prepared.get((text, types)) or self._statement_name(pipeline, text, types, casts)
        self.pgconn.send_query_prepared(name, values, param_formats=given.formats, result_format=_BINARY)
        self.statements.sent += 1
        result = StatementResult(self)
        pipeline.expect(result)
        return result

    def _statement_name(
        self, pipeline: BufferedPipeline, text: str, types: tuple[int, ...], casts: tuple[int, ...]
    ) -> bytes:
        """Prepare a statement whose parameters have these types, and of those that are null the types of casts."""
        key = text, tuple(given or cast for given, cast in zip(types, casts, strict=True)) if casts else types
        name = self.prepared.get(key)
        if name is not None:
            self.prepared[text, types] = name
        else:
            # Until the server has said that it has the statement, each time a new name.
            name = b"s%d" % next(self._numbers)
            self.pgconn.send_prepare(name, numbered(text), param_types=key[1])
            pipeline.expect(StatementResult(self, (key, name)))
        return name

    async def ask(self, statement: LiteralString, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """The rows of a statement that is a transaction of its own; waits for whoever uses the connection.

        It is prepared, as in a pipeline; and without BEGIN and COMMIT the server is waited for once.
        """
        async with self.lock, BufferedPipeline(self, _no_lock=True):
            return await self.send(statement, parameters).fetchall()

    async def wait(
        self,
        gen: PQGen[_Value],
        interval: float = WAIT_INTERVAL,
        timeout: float | None = None,  # noqa: ASYNC109 - psycopg's signature
    ) -> _Value:
        """Let a generator of psycopg work until it is done, as psycopg does; but the socket stays registered.

        Whatever is not merely waiting for an answer is left to psycopg.
        """
        if timeout is not None:
            self.listening.end()
            return await super().wait(gen, interval, timeout)
        state = Wait.R
        try:
            state = next(gen)
            while state == Wait.R:
                await self.listening.readable(self.pgconn.socket)
                state = gen.send(Ready.R)
        except StopIteration as end:
            if self.pgconn.status != ConnStatus.OK:
                self.listening.end()
            value: _Value = end.value
            return value
        except asyncio.CancelledError as cancelled:
            self.listening.end()
            return await super().wait(cast("PQGen[_Value]", _Resumed(gen, state, cancelled)), interval)
        except BaseException:
            self.listening.end()
            raise
        self.listening.end()
        return await super().wait(cast("PQGen[_Value]", _Resumed(gen, state)), interval)

    async def close(self) -> None:
        """Close the connection; one that belongs to a pool goes back to it."""
        self.listening.end()
        await super().close()

    async def fetch(self) -> None:
        """Wait for the results of all that was sent. Raises the first error among them.

        The server is told that nothing more is under way (Sync). Asked only to send what it has (Flush), it believes
        to be in the midst of a pipeline, and no idle_in_transaction_session_timeout ends the session of a client that
        hangs (PostgresMain, src/backend/tcop/postgres.c).
        """
        if self._buffered is not None:
            await self._buffered.sync()

    def rows(self, result: PGresult) -> list[tuple[Any, ...]]:
        """A result's rows."""
        self._loading.set_pgresult(result)
        return self._loading.load_rows(0, result.ntuples, tuple)


@lru_cache
def numbered(statement: str) -> bytes:
    """The statement with the server's placeholders."""
    numbers = count(1)
    return PLACEHOLDER.sub(lambda m: "%" if m[0] == "%%" else f"${next(numbers)}", statement).encode()
