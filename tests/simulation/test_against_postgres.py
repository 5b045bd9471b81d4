"""What the simulated servers were told in a whole seed, told to the real PostgreSQL: same rows, same errors, same tables."""

import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Final
from uuid import UUID

import psycopg
import pytest
from psycopg import AsyncConnection, sql

from libs.outbox import writers
from libs.outbox.connection import connect
from libs.outbox.transaction import Row as Values
from tests.simulation.platform import SERVICES
from tests.simulation.running import Recording, recorded, simulating
from tests.simulation.server import Played, Session
from tests.simulation.store import Row
from tests.support.databases import Database

pytestmark = pytest.mark.integration

SEEDS: Final = (700002, 700010)
CLOCK: Final = """
    CREATE SCHEMA simulated;
    CREATE FUNCTION simulated.clock_timestamp() RETURNS timestamptz STABLE LANGUAGE sql
        AS $$ SELECT current_setting('simulated.now')::timestamptz $$;
    CREATE FUNCTION simulated.statement_timestamp() RETURNS timestamptz STABLE LANGUAGE sql
        AS $$ SELECT current_setting('simulated.now')::timestamptz $$;
    GRANT USAGE ON SCHEMA simulated TO PUBLIC;
    DO $$ DECLARE it record; BEGIN
        FOR it IN SELECT table_name, column_name FROM information_schema.columns
                  WHERE table_schema = 'public' AND column_default = 'clock_timestamp()' LOOP
            EXECUTE format('ALTER TABLE %I ALTER COLUMN %I SET DEFAULT simulated.clock_timestamp()',
                           it.table_name, it.column_name);
        END LOOP;
    END $$;
"""
"""A clock that shows what it is set to, in the place of the server's own."""

SETTINGS: Final = {
    "search_path": "simulated,public,pg_catalog",
    "idle_in_transaction_session_timeout": "0",
}
SKIPPED: Final = frozenset({"SELECT inbox_maintain()"})
"""Statements about partitions, of which a simulated table has none."""
UNCERTAIN: Final = frozenset({writers.SOMEBODY_WAITS})
"""Who waits is told here only when its wait is over."""

MISSING: Final[Mapping[str, Row]] = {
    "products": {"category_id": UUID(int=1)},
    "payment_methods": {"label": "Card"},
}
"""What a real row needs and no order ever reads."""


class Replay:
    """Sessions on the real server that do what the simulated ones did, one statement after the other."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connections: dict[Session, AsyncConnection[Values]] = {}
        self.compared = 0

    async def play(self, played: Played) -> None:
        """Do it again, and see that the same comes of it."""
        match played.statement:
            case "BEGIN" | "COMMIT" | "ROLLBACK" as statement:
                await (await self._connection(played)).execute(statement)
            case "CLOSE":
                if (gone := self._connections.pop(played.session, None)) is not None:
                    await gone.close()
            case other if other not in SKIPPED:
                await self._compare(played)

    async def close(self) -> None:
        """Close what is open."""
        for connection in self._connections.values():
            await connection.close()

    async def _compare(self, played: Played) -> None:
        connection = await self._connection(played)
        meant = played.rows
        if isinstance(meant, psycopg.Error):
            with pytest.raises(type(meant)):
                await self._execute(connection, played)
            return
        found = await self._execute(connection, played)
        if played.waited or played.statement in UNCERTAIN:
            return
        self.compared += 1
        ordered = "ORDER BY" in played.statement and played.statement.lstrip().startswith("SELECT")
        assert _plain(found, ordered=ordered) == _plain(meant, ordered=ordered), played.statement

    async def _execute(self, connection: AsyncConnection[Values], played: Played) -> list[Values]:
        await connection.execute("SELECT set_config('simulated.now', %s, false)", [played.at.isoformat()])
        statement = played.statement.encode()
        cursor = await connection.execute(statement, played.parameters, prepare=True, binary=True)
        return await cursor.fetchall() if cursor.description else []

    async def _connection(self, played: Played) -> AsyncConnection[Values]:
        session = played.session
        if session not in self._connections:
            self._connections[session] = await connect(
                self._database.runtime_dsn,
                name=session.name,
                **SETTINGS,
            )
        return self._connections[session]


def _plain(rows: list[Values], *, ordered: bool) -> list[list[object]]:
    plain = [[_value(value) for value in row] for row in rows]
    return plain if ordered else sorted(plain, key=lambda row: json.dumps(row, sort_keys=True, default=repr))


def _value(value: object) -> object:
    """A value in a form in which both sides' are equal: JSON read, floats rounded."""
    match value:
        case str() if value[:1] in {"{", "["}:
            return json.loads(value)
        case b"":
            return None  # what a function returns that returns nothing
        case float():
            return round(value, 3)
        case datetime():
            return value.timestamp()
        case _:
            return value


async def _furnish(database: Database, tables: Mapping[str, list[Row]]) -> None:
    """Put the rows that a world begins with into the real tables."""
    async with await AsyncConnection.connect(database.admin_dsn, autocommit=True) as session:
        if "products" in tables:
            await session.execute("INSERT INTO categories (id, name) VALUES (%s, 'All')", [UUID(int=1)])
        for name, rows in tables.items():
            for row in rows:
                whole = {**row, **MISSING.get(name, {})}
                statement = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
                    sql.Identifier(name),
                    sql.SQL(", ").join(map(sql.Identifier, whole)),
                    sql.SQL(", ").join([sql.Placeholder()] * len(whole)),
                )
                await session.execute(statement, list(whole.values()))
        await session.execute(CLOCK)


async def _contents(database: Database, table: str, columns: list[str]) -> list[list[object]]:
    names = ", ".join(f'"{column}"' for column in columns)
    return _plain(await database.rows(f"SELECT {names} FROM {table}"), ordered=False)  # noqa: S608 - our own names


@pytest.fixture(scope="module")
def recordings() -> dict[int, Recording]:
    with simulating():
        return {seed: recorded(seed) for seed in SEEDS}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("service", SERVICES)
async def test_postgres_gives_the_same_rows_and_errors_and_is_left_with_the_same_tables(
    recordings: dict[int, Recording],
    database: Callable[[str], Awaitable[Database]],
    service: str,
    seed: int,
) -> None:
    recording = recordings[seed]
    real = await database(service)
    await _furnish(real, recording.beginning[service])
    replay = Replay(real)
    try:
        for played in recording.tapes[service]:
            await replay.play(played)
    finally:
        await replay.close()
    assert replay.compared > 40
    for name, rows in recording.end[service].items():
        query = f"SELECT column_name FROM information_schema.columns WHERE table_name = '{name}'"  # noqa: S608
        real_columns = {column for (column,) in await real.rows(query)}
        columns = sorted(real_columns & rows[0].keys()) if rows else []
        if columns:
            simulated = [tuple(row[column] for column in columns) for row in rows]
            assert await _contents(real, name, columns) == _plain(simulated, ordered=False), name
