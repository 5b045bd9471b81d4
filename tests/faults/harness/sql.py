"""The harness's own sessions on the stack's databases, as the superuser and past the proxies."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import psycopg
from psycopg.rows import TupleRow

from tests.faults.platform import databases_at

Session = psycopg.AsyncConnection[TupleRow]


@asynccontextmanager
async def session(admin_dsn: str, service: str, *, autocommit: bool = True) -> AsyncIterator[Session]:
    """One session on a service's database."""
    dsn = databases_at(admin_dsn)[service]
    connection = await psycopg.AsyncConnection.connect(dsn, autocommit=autocommit, connect_timeout=10)
    try:
        yield connection
    finally:
        await connection.close()


async def rows(admin_dsn: str, service: str, query: str, parameters: Sequence[object] = ()) -> list[TupleRow]:
    """Run one statement and commit it; no rows from one that returns none."""
    async with session(admin_dsn, service) as connection:
        cursor = await connection.execute(query.encode(), parameters or None)
        return await cursor.fetchall() if cursor.description is not None else []
