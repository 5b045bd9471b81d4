"""Connections whose pipelined statements travel together, when somebody waits, instead of one by one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from psycopg import AsyncConnection, AsyncPipeline
from psycopg.abc import PQGen

from libs.outbox.transaction import Row


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
        yield from super()._sync_gen()
        self._settled = True

    def _exit_gen(self) -> PQGen[None]:
        """Learn how the server's transaction stands, if that was not learned by a commit."""
        if not self._settled:
            yield from super()._exit_gen()


class Connection(AsyncConnection[Row]):
    """psycopg's connection with a buffered pipeline."""

    @asynccontextmanager
    async def pipeline(self) -> AsyncIterator[AsyncPipeline]:
        """Enter pipeline mode; pipelines do not nest."""
        self._pipeline = BufferedPipeline(self)
        try:
            async with self._pipeline as pipeline:
                yield pipeline
        finally:
            self._pipeline = None
