"""Orders and cancellations that were answered for, until the read model shows their effect."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from gateway.domain.orders import CANCEL, CREATE
from libs.contracts.order_saga import SagaCancelOrder, SagaCreateOrder
from libs.contracts.values import MessageId, OrderId, UserId
from libs.messaging.message import Trace
from libs.outbox.transaction import Asked, Row, Transaction

CLAIM: Final = """
    INSERT INTO idempotency_keys AS known (user_id, route, key, fingerprint, order_id)
    SELECT user_id, %s, key, fingerprint, order_id
    FROM unnest(%s::uuid[], %s::text[], %s::bytea[], %s::uuid[]) AS new (user_id, key, fingerprint, order_id)
    ORDER BY user_id, key
    ON CONFLICT (user_id, route, key) DO UPDATE
    SET fingerprint = excluded.fingerprint, order_id = excluded.order_id, created_at = clock_timestamp()
    WHERE known.created_at < clock_timestamp() - %s::bigint * interval '1 second'
    RETURNING order_id
"""
KNOWN: Final = """
    SELECT user_id, key, fingerprint, order_id FROM idempotency_keys
    WHERE route = %s AND (user_id, key) IN (SELECT * FROM unnest(%s::uuid[], %s::text[]))
"""
OPEN: Final = """
    INSERT INTO order_intents (order_id, kind, user_id, message_id, body)
    SELECT order_id, 'create', user_id, message_id, body::jsonb
    FROM unnest(%s::uuid[], %s::uuid[], %s::uuid[], %s::text[]) AS new (order_id, user_id, message_id, body)
"""
OPEN_CANCEL: Final = """
    INSERT INTO order_intents (order_id, kind, user_id, message_id, body)
    VALUES (%s, 'cancel', %s, %s, %s::text::jsonb)
    ON CONFLICT (order_id, kind) DO NOTHING
    RETURNING 1
"""
OF_ORDER: Final = """
    SELECT order_id, kind, user_id, message_id, body::text, created_at FROM order_intents
    WHERE order_id = %s AND user_id = %s
"""
OF_USER: Final = """
    SELECT order_id, kind, user_id, message_id, body::text, created_at FROM order_intents
    WHERE user_id = %s AND (%s::uuid IS NULL OR order_id < %s::uuid OR kind = 'cancel')
    ORDER BY order_id DESC LIMIT %s
"""
UNSETTLED: Final = """
    SELECT order_id, kind, created_at FROM order_intents
    WHERE (order_id, kind) > (%s::uuid, %s::text) AND created_at < clock_timestamp() - %s::interval
    ORDER BY order_id, kind LIMIT %s
"""
CLOSE: Final = """
    DELETE FROM order_intents
    WHERE (order_id, kind) IN (SELECT * FROM unnest(%s::uuid[], %s::text[]))
"""
DUE: Final = """
    SELECT order_id, kind, user_id, message_id, body::text, created_at FROM order_intents AS intent
    WHERE sent_at < clock_timestamp() - least(%s::interval * (2 ^ least(sends - 1, 20)), %s::interval)
      AND NOT EXISTS (SELECT 1 FROM outbox WHERE outbox.message_id = intent.message_id)
    ORDER BY sent_at LIMIT %s FOR UPDATE SKIP LOCKED
"""
SENT: Final = """
    UPDATE order_intents SET sent_at = clock_timestamp(), sends = sends + 1 WHERE message_id = ANY(%s::uuid[])
"""
FORGET_KEYS: Final = """
    DELETE FROM idempotency_keys WHERE created_at < clock_timestamp() - %s::bigint * interval '1 second'
"""
BACKLOG: Final = """
    SELECT (SELECT count(*) FROM (SELECT 1 FROM outbox LIMIT %s) AS waiting),
           coalesce(extract(epoch FROM clock_timestamp() - (SELECT created_at FROM outbox ORDER BY id LIMIT 1)), 0)::float8
"""


@dataclass(frozen=True, slots=True)
class Intent:
    """Something that a customer was answered 202 for and that nobody else may have seen yet."""

    order_id: OrderId
    kind: str
    user_id: UserId
    message_id: MessageId
    body: SagaCreateOrder | SagaCancelOrder
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Claim:
    """A request to be the one that its idempotency key stands for."""

    user_id: UserId
    key: str
    fingerprint: bytes
    order: SagaCreateOrder
    message_id: MessageId
    trace: Trace | None = None


@dataclass(frozen=True, slots=True)
class Stored:
    """What an idempotency key stands for."""

    fingerprint: bytes
    order_id: OrderId


async def claim(tx: Transaction, route: str, claims: Sequence[Claim], keep_seconds: int) -> set[OrderId]:
    """Enter idempotency keys; the orders whose keys were free, or long enough ago.

    `claims` are sorted by user and key, each once. Waits for another process that is entering the same key.
    """
    rows = await tx.fetch(
        CLAIM,
        [
            route,
            [one.user_id for one in claims],
            [one.key for one in claims],
            [one.fingerprint for one in claims],
            [one.order.order_id for one in claims],
            keep_seconds,
        ],
    )
    return {OrderId(row[0]) for row in rows}


async def known(tx: Transaction, route: str, claims: Sequence[Claim]) -> dict[tuple[UserId, str], Stored]:
    """What the keys of these claims stand for."""
    rows = await tx.fetch(KNOWN, [route, [one.user_id for one in claims], [one.key for one in claims]])
    return {
        (UserId(user_id), key): Stored(bytes(fingerprint), OrderId(order_id))
        for user_id, key, fingerprint, order_id in rows
    }


async def open_orders(tx: Transaction, claims: Sequence[Claim]) -> None:
    """Keep the orders as open intents."""
    await tx.queue(
        OPEN,
        [
            [one.order.order_id for one in claims],
            [one.user_id for one in claims],
            [one.message_id for one in claims],
            [one.order.model_dump_json() for one in claims],
        ],
    )


async def open_cancel(tx: Transaction, cancel: SagaCancelOrder, message_id: MessageId) -> bool:
    """Keep a cancellation as an open intent; whether there was none yet."""
    rows = await tx.fetch(
        OPEN_CANCEL, [cancel.order_id, cancel.user_id, message_id, cancel.model_dump_json()]
    )
    return bool(rows)


async def of_order(asked: Asked, order_id: OrderId, user_id: UserId) -> list[Intent]:
    """The open intents of an order, if it is this user's."""
    return [_intent(row) for row in await asked.fetch(OF_ORDER, [order_id, user_id])]


async def of_user(asked: Asked, user_id: UserId, before: OrderId | None, limit: int) -> list[Intent]:
    """A user's open intents, the newest order first; orders from `before` on are left out."""
    return [_intent(row) for row in await asked.fetch(OF_USER, [user_id, before, before, limit])]


async def unsettled(
    tx: Transaction, after: tuple[OrderId, str], age: timedelta, limit: int
) -> list[tuple[OrderId, str, datetime]]:
    """Open intents of at least this age by order id and kind, after these, and since when each is open."""
    rows = await tx.fetch(UNSETTLED, [*after, age, limit])
    return [(OrderId(order_id), kind, created_at) for order_id, kind, created_at in rows]


async def close(tx: Transaction, settled: Sequence[tuple[OrderId, str]]) -> None:
    """Drop intents whose effect is there."""
    ordered = sorted(settled)
    await tx.queue(CLOSE, [[order_id for order_id, _ in ordered], [kind for _, kind in ordered]])


async def due(tx: Transaction, after: timedelta, at_most: timedelta, limit: int) -> list[Intent]:
    """Intents without effect to be sent again, locked: after `after`, then twice as long each time.

    One that still waits in the outbox is not due.
    """
    return [_intent(row) for row in await tx.fetch(DUE, [after, at_most, limit])]


async def sent(tx: Transaction, message_ids: Sequence[MessageId]) -> None:
    """Count a sending."""
    await tx.queue(SENT, [sorted(message_ids)])


async def forget_keys(tx: Transaction, keep_seconds: int) -> None:
    """Drop idempotency keys that are kept long enough."""
    await tx.queue(FORGET_KEYS, [keep_seconds])


async def backlog(tx: Transaction, at_most: int) -> tuple[int, float]:
    """How many rows wait in the outbox, counted up to `at_most`, and the age of the oldest in seconds."""
    rows = await tx.fetch(BACKLOG, [at_most])
    return int(rows[0][0]), float(rows[0][1])


_BODIES: Final[dict[str, type[SagaCreateOrder] | type[SagaCancelOrder]]] = {
    CREATE: SagaCreateOrder,
    CANCEL: SagaCancelOrder,
}


def _intent(row: Row) -> Intent:
    order_id, kind, user_id, message_id, body, created_at = row
    return Intent(
        OrderId(order_id),
        kind,
        UserId(user_id),
        MessageId(message_id),
        _BODIES[kind].model_validate_json(body),
        created_at,
    )
