"""Columns of a batch arrive in PostgreSQL as they were."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, LiteralString
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.adapt import PyFormat, Transformer
from psycopg.types.array import ListBinaryDumper

from libs.outbox.arrays import ColumnDumper
from libs.outbox.connection import connect, transaction
from tests.support.databases import Database

MOMENT = datetime(1999, 12, 31, 23, 59, 59, 999_999, tzinfo=timezone(timedelta(hours=5, minutes=30)))


@pytest.mark.integration
@pytest.mark.parametrize(
    ("statement", "column"),
    [
        ("SELECT unnest(%s::uuid[])", [UUID(int=0), None, UUID(int=2**128 - 1)]),
        ("SELECT unnest(%s::bigint[])", [-(2**63), None, -1, 0, 2**63 - 1]),
        ("SELECT unnest(%s::boolean[])", [True, None, False]),
        ("SELECT unnest(%s::text[])", ["", None, "NULL", '{"a", b}\\', "größe €"]),
        ("SELECT unnest(%s::bytea[])", [b"", None, bytes(range(256))]),
        ("SELECT unnest(%s::timestamptz[])", [None, MOMENT, datetime(9999, 12, 31, 23, tzinfo=UTC)]),
        ("SELECT unnest(%s::uuid[])", [None, None]),
        ("SELECT unnest(%s::timestamptz[])", []),
    ],
)
async def test_a_column_arrives_as_it_was(
    database: Callable[[str], Awaitable[Database]], statement: LiteralString, column: list[Any]
) -> None:
    connection = await connect((await database("product")).runtime_dsn, name="test")
    try:
        for _ in range(7):  # prepared, and planned for any parameter, from the sixth on
            async with transaction(connection) as tx:
                assert [row[0] for row in await tx.fetch(statement, [column])] == column
    finally:
        await connection.close()


ELEMENTS = st.sampled_from(
    [
        st.uuids(),
        st.integers(-(2**63), 2**63 - 1),
        st.booleans(),
        st.binary(),
        st.datetimes(timezones=st.just(UTC)),
    ]
)


@given(ELEMENTS.flatmap(lambda each: st.lists(st.none() | each, min_size=1)))
def test_it_packs_what_psycopg_packs(column: list[Any]) -> None:
    if any(value is not None for value in column) and not isinstance(
        next(v for v in column if v is not None), int
    ):
        own = ListBinaryDumper(list, Transformer())
        theirs = own.upgrade(column, PyFormat.BINARY).dump(column)
        ours = ColumnDumper(list, Transformer()).dump(column)
        assert bytes(ours or b"") == bytes(theirs or b"")
