"""The SQL of a rebuild: tables that are filled beside the live ones, held against them, and put in their place.

The shadow tables have the live ones' names, in a schema of their own: so the fold's statements fill them
unchanged, and moving them takes their indexes and constraints along under the right names.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, LiteralString

from psycopg import AsyncConnection, sql
from sqlalchemy import MetaData, Table
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.schema import CreateIndex, CreateTable, SetColumnComment

from libs.messaging.record import TopicPartition
from libs.outbox.transaction import Row
from order_history.tables import metadata, order_timeline, orders

SCHEMA: Final = "rebuild"

OWNER: Final = "SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = 'public.orders'::regclass"
ONLY_ONE: Final = "SELECT pg_try_advisory_lock(hashtext('order_history rebuild'))"
OFFSETS: Final = "SELECT topic, partition, next_offset FROM public.consumer_offsets"
HOLD: Final = "LOCK TABLE public.consumer_offsets, public.orders, public.order_timeline IN EXCLUSIVE MODE"
"""Offsets first, as a batch takes them; from then on reading goes on and folding waits."""
GRANTS: Final = """
    SELECT privilege_type, pg_get_userbyid(grantee) FROM pg_class, aclexplode(relacl)
    WHERE oid = %s::regclass AND grantee <> relowner AND grantee <> 0
"""
COMPARE: Final = """
    SELECT count(*) FILTER (WHERE live.order_id IS NULL),
           count(*) FILTER (WHERE shadow.order_id IS NULL OR {behind}),
           count(*) FILTER (WHERE live.order_id = shadow.order_id AND NOT {behind}),
           (array_agg(DISTINCT coalesce(live.order_id, shadow.order_id)::text))[1:5]
    FROM (SELECT {columns} FROM public.{table}) AS live
    FULL JOIN (SELECT {columns} FROM rebuild.{table}) AS shadow USING ({key})
    WHERE live IS DISTINCT FROM shadow
"""
KEEP_ARRIVALS: Final = """
    UPDATE rebuild.order_timeline AS shadow SET arrived = live.arrived
    FROM public.order_timeline AS live JOIN public.orders AS theirs USING (order_id)
    WHERE shadow.order_id = live.order_id AND shadow.event = live.event
      AND (theirs.rank NOT IN (5, 7) OR theirs.updated_at > clock_timestamp() - interval '1 minute')
"""
"""Streams that go on after the swap find their place: only orders under way or just ended have any."""
GO_ON_COUNTING: Final = """
    SELECT setval('rebuild.order_timeline_arrived_seq', greatest(
        (SELECT last_value FROM public.order_timeline_arrived_seq),
        (SELECT last_value FROM rebuild.order_timeline_arrived_seq)
    ))
"""
SWAP: Final[tuple[LiteralString, ...]] = (
    "DROP TABLE public.orders, public.order_timeline",
    "ALTER TABLE rebuild.orders SET SCHEMA public",
    "ALTER TABLE rebuild.order_timeline SET SCHEMA public",
    "DROP SCHEMA rebuild",
)
_BEHIND: Final[dict[str, LiteralString]] = {
    "orders": "coalesce(shadow.rank < live.rank, false)",
    "order_timeline": "coalesce(shadow.ce_id > live.ce_id, false)",
}
_KEYS: Final[dict[str, LiteralString]] = {"orders": "order_id", "order_timeline": "order_id, event"}


@dataclass(frozen=True, slots=True)
class Difference:
    """How a shadow table differs from the live one: rows that it adds, would take away or back, and changes."""

    table: str
    added: int
    lost: int
    changed: int
    examples: Sequence[str]

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self.added or self.lost or self.changed)


async def act_as_owner(session: AsyncConnection[Row]) -> None:
    """Whoever is signed in: what this session makes belongs to the owner of the live tables."""
    [(owner,)] = await _fetch(session, OWNER)
    await session.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(owner)))


async def claim(session: AsyncConnection[Row]) -> bool:
    """Take the lock that keeps a second rebuild out, for as long as the session lives."""
    [(free,)] = await _fetch(session, ONLY_ONE)
    return bool(free)


async def create(session: AsyncConnection[Row]) -> None:
    """Make empty shadow tables that the live ones' readers and writers may use as they do those."""
    await drop(session)
    await session.execute("CREATE SCHEMA rebuild")
    twin = MetaData(schema=SCHEMA, naming_convention=metadata.naming_convention)
    for table in (orders, order_timeline):
        for statement in _definition(table.to_metadata(twin, schema=SCHEMA)):
            await session.execute(statement.encode())
        for privilege, grantee in await _fetch(session, GRANTS, [f"public.{table.name}"]):
            grant = sql.SQL("GRANT {} ON rebuild.{} TO {}").format(
                sql.SQL(privilege), sql.Identifier(table.name), sql.Identifier(grantee)
            )
            await session.execute(grant)


async def drop(session: AsyncConnection[Row]) -> None:
    """Remove the shadow tables, if there are any."""
    await session.execute("DROP SCHEMA IF EXISTS rebuild CASCADE")


async def live_offsets(session: AsyncConnection[Row]) -> dict[TopicPartition, int]:
    """How far the live tables go in each partition."""
    return {TopicPartition(topic, n): offset for topic, n, offset in await _fetch(session, OFFSETS)}


async def hold(session: AsyncConnection[Row]) -> None:
    """Keep the live tables as they are until the transaction ends; they can be read all the while."""
    await session.execute(HOLD)


async def compare(session: AsyncConnection[Row]) -> list[Difference]:
    """Hold both tables against their shadows, row for row; the counter of arrivals is no part of a row."""
    found = []
    for table in (orders, order_timeline):
        columns = [column.name for column in table.columns if column.name != "arrived"]
        query = sql.SQL(COMPARE).format(
            behind=sql.SQL(_BEHIND[table.name]),
            columns=sql.SQL(", ").join(map(sql.Identifier, columns)),
            table=sql.Identifier(table.name),
            key=sql.SQL(_KEYS[table.name]),
        )
        [(added, lost, changed, examples)] = await (await session.execute(query)).fetchall()
        found.append(Difference(table.name, added, lost, changed, examples or ()))
    return found


async def analyze(session: AsyncConnection[Row]) -> None:
    """Let the planner know the new tables before they are asked."""
    await session.execute("ANALYZE rebuild.orders, rebuild.order_timeline")


async def swap(session: AsyncConnection[Row]) -> None:
    """Put the shadow tables in the place of the live ones; part of the transaction that holds those."""
    await session.execute(KEEP_ARRIVALS)
    await session.execute(GO_ON_COUNTING)
    for statement in SWAP:
        await session.execute(statement)


def _definition(table: Table) -> Iterator[str]:
    dialect = PGDialect_psycopg()  # type: ignore[no-untyped-call]
    yield str(CreateTable(table).compile(dialect=dialect))
    for index in sorted(table.indexes, key=lambda one: str(one.name)):
        yield str(CreateIndex(index).compile(dialect=dialect))
    for column in table.columns:
        if column.comment:
            yield str(SetColumnComment(column).compile(dialect=dialect))


async def _fetch(
    session: AsyncConnection[Row], statement: LiteralString, parameters: Sequence[object] = ()
) -> list[Row]:
    return await (await session.execute(statement, parameters)).fetchall()
