"""Makes a stack old: copies orders that it really finished, with all their rows, until there are enough.

The copies have ids of their own whose time lies further and further back, as if the shop had been open
for long; stock and wallets are moved along, so that the books balance afterwards.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, LiteralString
from uuid import UUID

from psycopg import AsyncConnection, sql
from psycopg.rows import TupleRow

from bench.stack import Stack
from tests.faults.platform import databases_at

MODELS: Final = 2_000

COPY_ID: Final = """
    CREATE OR REPLACE FUNCTION bench_copy(id uuid, n integer) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
        SELECT (lpad(to_hex(('x' || translate(left(id::text, 13), '-', ''))::bit(48)::bigint - n * 20000::bigint),
                     12, '0')
                || '7' || substr(digest, 1, 3) || '8' || substr(digest, 4, 15))::uuid
        FROM (SELECT md5(id::text || n) AS digest) AS made
    $$
"""
FINISHED: Final = """
    SELECT s.id FROM sagas s
    WHERE s.type = 'create_order' AND s.finished_at IS NOT NULL
      AND NOT EXISTS (SELECT FROM sagas c WHERE c.business_key = s.id AND c.type <> s.type)
    ORDER BY s.id DESC LIMIT %s
"""
MOVE_STOCK: Final = """
    UPDATE stock SET on_hand = on_hand - more.sold, sold = stock.sold + more.sold
    FROM (SELECT product_id, sum(quantity) * %s AS sold FROM reservations
          WHERE state = 'sold' AND order_id = ANY(%s) GROUP BY product_id) AS more
    WHERE stock.product_id = more.product_id
"""
PAY_IN: Final = """
    WITH booked AS (
        SELECT gen_random_uuid() AS id, account, currency, sum(amount_minor) * %s AS minor FROM ledger_entries
        WHERE account LIKE 'wallet:%%' AND order_id = ANY(%s) GROUP BY account, currency HAVING sum(amount_minor) <> 0
    )
    INSERT INTO ledger_entries (transaction_id, account, kind, amount_minor, currency, at)
    SELECT id, account, 'deposit', -minor, currency, clock_timestamp() FROM booked
    UNION ALL
    SELECT id, 'deposits', 'deposit', minor, currency, clock_timestamp() FROM booked
"""
"""What the copies spent is paid in as well, so that wallets stay as they are: few have enough for a million orders."""


@dataclass(frozen=True, slots=True)
class Copied:
    """A table: the column that names the order, and those that get new ids or texts with each copy."""

    order: str
    ids: tuple[str, ...] = ()
    texts: Mapping[str, LiteralString] = field(default_factory=dict)


TABLES: Final[Mapping[str, Mapping[str, Copied]]] = MappingProxyType(
    {
        "order_saga": {
            "sagas": Copied(
                "id",
                ("business_key", "awaiting"),
                {"data": "replace(data::text, id::text, bench_copy(id, n)::text)::jsonb"},
            ),
            "saga_journal": Copied("saga_id", ("message_id",)),
        },
        "order": {
            "orders": Copied("id", ("payment_id",)),
            "order_lines": Copied("order_id"),
        },
        "inventory": {
            "holds": Copied("order_id"),
            "reservations": Copied("order_id"),
        },
        "payment": {
            "payments": Copied("order_id", ("payment_id",)),
            "ledger_entries": Copied("order_id", ("transaction_id",)),
        },
        "order_history": {
            "orders": Copied("order_id", ("payment_id",)),
            "order_timeline": Copied("order_id", ("ce_id",)),
        },
        "product": {},
        "gateway": {
            "idempotency_keys": Copied("order_id", texts={"key": "bench_copy(order_id, n)::text"}),
        },
    }
)
WITHOUT_INBOX: Final = frozenset({"gateway"})


async def grow(stack: Stack, orders: int) -> int:
    """Copy finished orders until there are about so many; returns how many were added."""
    dsns = databases_at(stack.info.postgres_admin)
    async with await AsyncConnection.connect(dsns["order_saga"]) as session:
        models = [row[0] for row in await (await session.execute(FINISHED.encode(), [MODELS])).fetchall()]
    copies = -(-orders // len(models))
    for service, tables in TABLES.items():
        async with await AsyncConnection.connect(dsns[service], autocommit=True) as session:
            await session.execute(COPY_ID)
            for table, copied in tables.items():
                await _copy(session, table, copied, models, copies)
            await _move(session, service, models, copies)
            if service not in WITHOUT_INBOX:
                await _copy_inbox(session, len(models), copies)
            await session.execute("DROP FUNCTION bench_copy")
            await session.execute("VACUUM ANALYZE")
    # Orders of years lie there settled: what was copied just now is not to be written out during the measurement.
    async with await AsyncConnection.connect(stack.info.postgres_admin, autocommit=True) as session:
        await session.execute("CHECKPOINT")
    return copies * len(models)


async def _copy(
    session: AsyncConnection[TupleRow], table: str, copied: Copied, models: list[UUID], copies: int
) -> None:
    columns = await _columns(session, table)
    expressions = [
        sql.SQL(copied.texts[column])
        if column in copied.texts
        else sql.SQL("bench_copy({}, n)").format(sql.Identifier(column))
        if column == copied.order or column in copied.ids
        else sql.Identifier(column)
        for column in columns
    ]
    statement = sql.SQL(
        "INSERT INTO {table} ({columns}) SELECT {expressions}"
        " FROM generate_series({copies}, 1, -1) AS n CROSS JOIN {table} WHERE {order} = ANY({models})"
    ).format(
        table=sql.Identifier(table),
        columns=sql.SQL(", ").join(map(sql.Identifier, columns)),
        expressions=sql.SQL(", ").join(expressions),
        copies=sql.Literal(copies),
        order=sql.Identifier(copied.order),
        models=sql.Literal(models),
    )
    await session.execute(statement)


async def _copy_inbox(session: AsyncConnection[TupleRow], models: int, copies: int) -> None:
    """One message per order at least: the inbox does not say whose its messages were."""
    statement = sql.SQL(
        "INSERT INTO inbox (message_id) SELECT bench_copy(message_id, n)"
        " FROM generate_series({copies}, 1, -1) AS n"
        " CROSS JOIN (SELECT message_id FROM inbox ORDER BY message_id DESC LIMIT {limit}) AS model"
        " ON CONFLICT DO NOTHING"
    )
    await session.execute(statement.format(copies=sql.Literal(copies), limit=sql.Literal(2 * models)))


async def _move(session: AsyncConnection[TupleRow], service: str, models: list[UUID], copies: int) -> None:
    statement = {"inventory": MOVE_STOCK, "payment": PAY_IN}.get(service)
    if statement is not None:
        await session.execute(statement.encode(), [copies, models])


async def _columns(session: AsyncConnection[TupleRow], table: str) -> list[str]:
    cursor = await session.execute(
        "SELECT column_name FROM information_schema.columns WHERE table_schema = 'public' AND table_name = %s"
        " AND is_identity = 'NO' AND is_generated = 'NEVER' ORDER BY ordinal_position",
        [table],
    )
    return [str(row[0]) for row in await cursor.fetchall()]
