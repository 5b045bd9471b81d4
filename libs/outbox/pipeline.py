"""Connections whose pipelined statements travel together, when somebody waits, instead of one by one; and are counted."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from psycopg import AsyncConnection, AsyncCursor, AsyncPipeline
from psycopg.abc import Params, PQGen, Query
from psycopg.generators import send
from psycopg.pq.abc import PGconn

from libs.outbox.transaction import Row


@dataclass(slots=True)
class Statements:
    """How many statements were sent, BEGIN and COMMIT among them; several connections may share a count."""

    sent: int = 0


class BufferedPipeline(AsyncPipeline):
    """Hands statements to libpq, which keeps them until an answer is asked for.

    psycopg's own pipeline writes to the socket at every statement, and each write wakes the
    server's process: on a busy machine that was a third of what a small batch cost. libpq sends by
    itself what grows beyond 64 KiB.
    """

    _settled = True

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

    def _exit_gen(self) -> PQGen[None]:
        """Learn how the server's transaction stands, if that was not learned by a commit."""
        if not self._settled:
            yield from super()._exit_gen()


class CountedCursor(AsyncCursor[Row]):
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


class Connection(AsyncConnection[Row]):
    """psycopg's connection with a buffered pipeline; `statements` is where it counts."""

    def __init__(self, pgconn: PGconn) -> None:
        super().__init__(pgconn)
        self.cursor_factory = CountedCursor
        self.statements = Statements()

    @asynccontextmanager
    async def pipeline(self) -> AsyncIterator[AsyncPipeline]:
        """Enter pipeline mode; pipelines do not nest."""
        self._pipeline = BufferedPipeline(self)
        try:
            async with self._pipeline as pipeline:
                yield pipeline
        finally:
            self._pipeline = None
