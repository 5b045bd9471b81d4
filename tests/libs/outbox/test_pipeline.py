"""Statements travel together, and what fails among them is told to those who wait."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from uuid import uuid4

import psycopg
import pytest
from psycopg.sql import SQL, Composed

from libs.outbox.connection import connect, transaction
from libs.outbox.pipeline import Connection, numbered
from tests.support.backing import Backing
from tests.support.databases import Database
from tests.support.waiting import eventually

pytestmark = pytest.mark.integration

SMALL_BUFFER = 4_096
LARGE = "x" * 32_000_000


@pytest.fixture
async def connection(database: Callable[[str], Awaitable[Database]]) -> AsyncIterator[Connection]:
    fresh = await database("product")
    await fresh.rows("CREATE TABLE noted (n bigint PRIMARY KEY)")
    await fresh.rows("GRANT ALL ON noted TO PUBLIC")
    made = await connect(fresh.runtime_dsn, name="test")
    assert isinstance(made, Connection)
    yield made
    await made.close()


async def note(connection: Connection, *values: int) -> None:
    async with transaction(connection) as tx:
        for value in values:
            await tx.queue("INSERT INTO noted VALUES (%s::bigint)", [value])


async def noted(connection: Connection) -> list[int]:
    async with transaction(connection) as tx:
        return [row[0] for row in await tx.fetch("SELECT n FROM noted ORDER BY n")]


def test_placeholders_are_numbered_and_percents_kept() -> None:
    assert numbered("SELECT %s, 5 %% 3, %s") == b"SELECT $1, 5 % 3, $2"


async def test_results_come_in_any_order_that_they_are_asked_for(connection: Connection) -> None:
    async with transaction(connection) as tx:
        first = await tx.queue("SELECT %s::bigint", [1])
        second = await tx.queue("SELECT %s::text", ["two"])
        again = await tx.queue("SELECT %s::bigint", [3])
        assert await again.rows() == [(3,)]
        assert await first.rows() == [(1,)]
        assert await second.rows() == [("two",)]
        assert await second.rows() == [("two",)]


async def test_a_statement_by_itself_is_one_statement_and_a_transaction(connection: Connection) -> None:
    before = connection.statements.sent
    assert await connection.ask("INSERT INTO noted VALUES (%s::bigint) RETURNING n", [1]) == [(1,)]
    assert await connection.ask("DELETE FROM noted WHERE n = ANY(%s::bigint[])", [[2, 3]]) == []
    assert connection.statements.sent == before + 2
    assert await noted(connection) == [1]


async def test_statements_by_themselves_wait_for_each_other_and_for_cursors(connection: Connection) -> None:
    async def asked(n: int) -> list[tuple[int]]:
        if n % 2:
            return await (await connection.execute("SELECT %s::bigint", [n])).fetchall()
        return await connection.ask("SELECT %s::bigint", [n])

    assert await asyncio.gather(*map(asked, range(8))) == [[(n,)] for n in range(8)]


async def test_a_statement_by_itself_that_fails_leaves_nothing_behind(connection: Connection) -> None:
    await note(connection, 1)
    with pytest.raises(psycopg.errors.UniqueViolation):
        await connection.ask("INSERT INTO noted VALUES (%s::bigint)", [1])
    await note(connection, 2)
    assert await noted(connection) == [1, 2]


async def test_a_statement_by_itself_that_is_given_up_leaves_nothing_behind(connection: Connection) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await connection.ask("INSERT INTO noted SELECT 1 FROM pg_sleep(5)")
    await note(connection, 2)
    assert await noted(connection) == [2]


async def test_a_statement_is_prepared_once_for_each_types_of_its_parameters(connection: Connection) -> None:
    for value in (1, 2, 3):
        await note(connection, value)
    async with transaction(connection) as tx:
        rows = await tx.fetch(
            "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE 'INSERT INTO noted%%'"
        )
    assert rows == [(1,)]
    assert await noted(connection) == [1, 2, 3]


ENTER = (
    "INSERT INTO named SELECT * FROM unnest(%s::uuid[], %s::text[], %s::timestamptz[]) AS new (id, name, at)"
)


async def test_a_batch_of_one_writes_what_it_would_have_written_as_a_set(connection: Connection) -> None:
    async with transaction(connection) as tx:
        await tx.queue("CREATE TEMPORARY TABLE named (id uuid, name text, at timestamptz)")
    now, ids = datetime.now(UTC), [uuid4() for _ in range(5)]
    async with transaction(connection) as tx:
        await tx.queue(ENTER, [ids[:1], ["alone"], [now]])
        await tx.queue(ENTER, [ids[1:3], ["first", None], [None, now]])
        await tx.queue(ENTER, [ids[3:4], [None], [now]])
        await tx.queue(ENTER, [[], [], []])
    async with transaction(connection) as tx:
        await tx.queue(ENTER, [ids[4:], [None], [None]])
        rows = await tx.fetch("SELECT id, name, at FROM named")
    assert rows == [
        (ids[0], "alone", now),
        (ids[1], "first", None),
        (ids[2], None, now),
        (ids[3], None, now),
        (ids[4], None, None),
    ]


async def test_a_batch_of_one_is_prepared_once_whatever_of_it_is_null(connection: Connection) -> None:
    async with transaction(connection) as tx:
        await tx.queue("CREATE TEMPORARY TABLE named (id uuid, name text, at timestamptz)")
    for name, at in (("full", datetime.now(UTC)), (None, None), ("half", None), (None, datetime.now(UTC))):
        async with transaction(connection) as tx:
            await tx.queue(ENTER, [[uuid4()], [name], [at]])
    async with transaction(connection) as tx:
        rows = await tx.fetch(
            "SELECT parameter_types::text FROM pg_prepared_statements WHERE statement LIKE 'INSERT INTO named%%'"
        )
    assert rows == [('{uuid,text,"timestamp with time zone"}',)]


async def test_an_error_undoes_the_transaction_and_the_connection_goes_on(connection: Connection) -> None:
    with pytest.raises(psycopg.errors.UniqueViolation):
        await note(connection, 7, 7, 8)
    assert await noted(connection) == []
    await note(connection, 7)
    assert await noted(connection) == [7]


async def test_an_error_in_the_midst_is_told_where_somebody_waits(connection: Connection) -> None:
    await note(connection, 1)
    with pytest.raises(psycopg.errors.UniqueViolation):  # noqa: PT012
        async with transaction(connection) as tx:
            await tx.queue("INSERT INTO noted VALUES (%s::bigint)", [1])
            after = await tx.queue("SELECT 1")
            await after.rows()
    assert await noted(connection) == [1]


async def test_an_exception_of_the_caller_undoes_what_was_only_queued(connection: Connection) -> None:
    with pytest.raises(KeyError):  # noqa: PT012
        async with transaction(connection) as tx:
            await tx.queue("INSERT INTO noted VALUES (%s::bigint)", [1])
            raise KeyError
    assert await noted(connection) == []


async def test_a_swallowed_error_cannot_pass_for_a_commit(connection: Connection) -> None:
    with pytest.raises(psycopg.Error):  # noqa: PT012
        async with transaction(connection) as tx:
            await tx.queue("INSERT INTO noted VALUES (1)")
            broken = await tx.queue("SELECT 1 / %s::bigint", [0])
            with pytest.raises(psycopg.errors.DivisionByZero):
                await broken.rows()
    assert await noted(connection) == []


async def test_a_statement_that_could_not_be_prepared_is_prepared_anew(connection: Connection) -> None:
    with pytest.raises(psycopg.errors.UndefinedTable):
        async with transaction(connection) as tx:
            await tx.queue("SELECT * FROM later WHERE n = %s::bigint", [1])
    async with transaction(connection) as tx:
        await tx.queue("CREATE TEMPORARY TABLE later (n bigint)")
        assert await tx.fetch("SELECT * FROM later WHERE n = %s::bigint", [1]) == []


async def test_a_transaction_larger_than_the_networks_buffers_is_committed(backing: Backing) -> None:
    connection = await connect(backing.postgres_admin, name="a large transaction")
    async with connection:
        narrow = socket.socket(fileno=connection.fileno())
        try:
            narrow.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BUFFER)
        finally:
            narrow.detach()
        async with asyncio.timeout(120), transaction(connection) as tx:
            length = await tx.queue("SELECT length(%s::text)", [LARGE])
        assert await length.fetched() == [(len(LARGE),)]


async def test_statements_outlive_a_rollback_whatever_else_was_asked(connection: Connection) -> None:
    for _ in range(7):  # so often that psycopg would prepare it
        async with transaction(connection) as tx:
            await tx.select(Composed([SQL("SELECT 1")]), {})
    await note(connection, 1)
    with pytest.raises(psycopg.errors.UniqueViolation):
        await note(connection, 1)
    await note(connection, 2)
    assert await noted(connection) == [1, 2]


async def test_statements_that_somebody_deallocated_are_prepared_anew(connection: Connection) -> None:
    await note(connection, 1)
    await connection.execute("DEALLOCATE ALL")
    with pytest.raises(psycopg.errors.InvalidSqlStatementName):
        await note(connection, 2)
    await note(connection, 2)
    assert await noted(connection) == [1, 2]


async def test_a_wait_that_is_given_up_ends_the_statement_and_the_connection_goes_on(
    connection: Connection,
) -> None:
    async def sleep() -> None:
        async with transaction(connection) as tx:
            await tx.queue("INSERT INTO noted VALUES (1)")
            await tx.fetch("SELECT pg_sleep(60)")

    async with asyncio.timeout(20):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(sleep(), 0.2)
        await note(connection, 2)
    assert await noted(connection) == [2]


async def test_a_session_that_the_server_ends_is_noticed_and_its_socket_may_be_anothers(
    database: Callable[[str], Awaitable[Database]], connection: Connection
) -> None:
    fresh = await database("product")
    for _ in range(3):
        other = await connect(fresh.runtime_dsn, name="test")
        [[pid]] = await (await other.execute("SELECT pg_backend_pid()")).fetchall()
        await fresh.rows("SELECT pg_terminate_backend(%s)", pid)
        with pytest.raises(psycopg.OperationalError):
            async with transaction(other) as tx:
                await tx.fetch("SELECT 1")
        await other.close()
        await note(connection)
        assert await noted(connection) == []


async def test_a_session_that_ends_while_nobody_asks_does_not_keep_the_loop_busy(
    database: Callable[[str], Awaitable[Database]],
) -> None:
    fresh = await database("product")
    other = await connect(fresh.runtime_dsn, name="test")
    [[pid]] = await (await other.execute("SELECT pg_backend_pid()")).fetchall()
    assert other.listening.registered
    await fresh.rows("SELECT pg_terminate_backend(%s)", pid)
    await eventually(lambda: _deaf(other))
    await other.close()


async def _deaf(connection: Connection) -> bool:
    return not connection.listening.registered


async def test_who_hangs_within_a_transaction_keeps_no_lock(
    database: Callable[[str], Awaitable[Database]],
) -> None:
    fresh = await database("product")
    await fresh.rows("CREATE TABLE noted (n bigint PRIMARY KEY)")
    await fresh.rows("INSERT INTO noted VALUES (1)")
    await fresh.rows("GRANT ALL ON noted TO PUBLIC")
    hung = await connect(fresh.runtime_dsn, name="hung", idle_in_transaction_session_timeout="100ms")
    other = await connect(fresh.runtime_dsn, name="other", lock_timeout="10s")

    async def lock(connection: Connection) -> list[int]:
        async with transaction(connection) as tx:
            return [row[0] for row in await tx.fetch("SELECT n FROM noted FOR UPDATE")]

    async def hang() -> None:
        async with transaction(hung) as tx:
            assert await tx.fetch("SELECT n FROM noted FOR UPDATE") == [(1,)]
            # Nobody goes on with this transaction: another gets the row once the server has ended it.
            assert await lock(other) == [1]
            await tx.fetch("SELECT 1")

    with pytest.raises(psycopg.OperationalError, match=r"server closed the connection|idle-in-transaction"):
        await hang()
    await hung.close()
    await other.close()
