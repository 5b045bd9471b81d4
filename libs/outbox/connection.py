"""Connections to PostgreSQL that a hung process cannot keep anything with."""

import select
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection, AsyncPipeline
from psycopg.types.numeric import Int8BinaryDumper
from psycopg.types.string import StrBinaryDumper

from libs.crash_points import reach
from libs.outbox.arrays import ColumnDumper
from libs.outbox.pipeline import Connection
from libs.outbox.transaction import Row, Transaction

SESSION: Final = {
    "idle_in_transaction_session_timeout": "5s",
    "lock_timeout": "2s",
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
    "TimeZone": "UTC",
    "jit": "off",
    # Everything asked here is a lookup by key, whatever the parameters: it is planned once. Left to itself, the
    # server finds for small batches that a plan made to measure is cheaper, and plans each time.
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
}

_HALF_CLOSED: Final[int] = getattr(select, "POLLRDHUP", 0)
"""What Linux has to be asked for, to tell of a peer that sends nothing more; other systems call that POLLHUP (poll(2))."""


def parameters(name: str, **session: str) -> dict[str, Any]:
    """How every connection of a service is opened; `session` adds to the server settings of `SESSION`."""
    return {
        "application_name": name,
        "autocommit": True,  # `transaction` says itself where one begins
        # What psycopg prepares by itself it deallocates after a rollback, and all other statements with it.
        "prepare_threshold": None,
        "options": " ".join(f"-c {key}={value}" for key, value in (SESSION | session).items()),
        "connect_timeout": 5,
    }


async def connect(dsn: str, *, name: str, **session: str) -> Connection:
    """Open a connection in autocommit mode; `session` adds to the server settings of `SESSION`.

    Raises psycopg.OperationalError.
    """
    connection = await Connection.connect(
        dsn,
        keepalives=1,
        keepalives_idle=5,
        keepalives_interval=2,
        keepalives_count=3,
        tcp_user_timeout=10_000,
        **parameters(name, **session),
    )
    prepare(connection)
    return connection


def prepare(connection: AsyncConnection[Row]) -> None:
    """Make parameters travel in binary, and every int as bigint, so that a statement is prepared once.

    Arrays are what batches are made of, so they have a dumper of their own.
    """
    connection.adapters.register_dumper(int, Int8BinaryDumper)
    connection.adapters.register_dumper(str, StrBinaryDumper)
    connection.adapters.register_dumper(list, ColumnDumper)


def hung_up(connection: AsyncConnection[Row]) -> bool:
    """Tell whether the server has closed the connection, though nobody has asked it anything since."""
    if connection.closed:
        return True
    sockets = select.poll()
    sockets.register(connection.fileno(), _HALF_CLOSED)
    return bool(sockets.poll(0))


@asynccontextmanager
async def transaction(connection: AsyncConnection[Row]) -> AsyncIterator[Transaction]:
    """A pipelined transaction on the connection: committed at the end, rolled back on any error.

    When the commit raises, nothing is known: it may have happened or not.
    """
    try:
        async with connection.pipeline() as pipeline:
            tx = Transaction(connection)
            await tx.queue("BEGIN")  # waits for nothing, unlike psycopg's own
            yield tx
            reach("commit.before")
            try:
                await _commit(tx, pipeline)
            except BaseException:
                tx.doubted()
                raise
            reach("commit.done")
            await tx.committed()
    except BaseException:
        # Outside of the pipeline: within, what it still has to answer would fail the rollback.
        await _roll_back(connection)
        raise


async def _commit(tx: Transaction, pipeline: AsyncPipeline) -> None:
    """Commit and wait; a transaction that had failed before cannot pass for a committed one."""
    commit = await tx.queue("COMMIT")
    await pipeline.sync()
    if commit.status != "COMMIT":
        raise psycopg.errors.InFailedSqlTransaction(f"COMMIT was answered with {commit.status}")


async def _roll_back(connection: AsyncConnection[Row]) -> None:
    """Roll back, or close a connection that cannot."""
    try:
        await connection.rollback()
    except psycopg.Error:
        await connection.close()
