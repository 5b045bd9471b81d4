"""The SQL of the fold: load what a batch touches, save what it changed."""

from collections.abc import Sequence
from typing import Final

from libs.contracts.values import Money, OrderId
from libs.messaging.message import Message
from libs.outbox.transaction import Row, Transaction
from order_history.domain.history import (
    Account,
    Contents,
    Histories,
    History,
    Origin,
    PaymentStage,
    Reason,
    Stage,
)

LOAD: Final = """
    SELECT order_id, rank, updated_at,
           origin_from, user_id, payment_method_id, created_at,
           lines_from, lines::text, total_minor, currency,
           reason_from, reason_code, reason,
           payment_id_from, payment_id, payment_rank
    FROM orders WHERE order_id = ANY(%s::uuid[]) ORDER BY order_id FOR UPDATE
"""
SAVE: Final = """
    WITH told AS (
        SELECT * FROM unnest(
            %s::uuid[], %s::boolean[], %s::text[], %s::bigint[], %s::timestamptz[],
            %s::bytea[], %s::uuid[], %s::uuid[], %s::timestamptz[],
            %s::bytea[], %s::text[], %s::bigint[], %s::text[],
            %s::bytea[], %s::text[], %s::text[],
            %s::bytea[], %s::uuid[], %s::bigint[]
        ) AS told (
            order_id, loaded, status, rank, updated_at,
            origin_from, user_id, payment_method_id, created_at,
            lines_from, lines, total_minor, currency,
            reason_from, reason_code, reason,
            payment_id_from, payment_id, payment_rank
        )
    ), updated AS (
        UPDATE orders AS mine
        SET status = told.status, rank = told.rank, updated_at = told.updated_at,
            origin_from = told.origin_from, user_id = told.user_id,
            payment_method_id = told.payment_method_id, created_at = told.created_at,
            lines = CASE WHEN mine.lines_from = told.lines_from THEN mine.lines ELSE told.lines::jsonb END,
            lines_from = told.lines_from, total_minor = told.total_minor, currency = told.currency,
            reason_from = told.reason_from, reason_code = told.reason_code, reason = told.reason,
            payment_id_from = told.payment_id_from, payment_id = told.payment_id,
            payment_rank = told.payment_rank
        FROM told WHERE told.loaded AND mine.order_id = told.order_id
    )
    INSERT INTO orders (
        order_id, status, rank, updated_at,
        origin_from, user_id, payment_method_id, created_at,
        lines_from, lines, total_minor, currency,
        reason_from, reason_code, reason,
        payment_id_from, payment_id, payment_rank
    )
    SELECT
        order_id, status, rank, updated_at,
        origin_from, user_id, payment_method_id, created_at,
        lines_from, lines::jsonb, total_minor, currency,
        reason_from, reason_code, reason,
        payment_id_from, payment_id, payment_rank
    FROM told WHERE NOT loaded ORDER BY order_id
"""
TELL: Final = """
    INSERT INTO order_timeline AS mine (order_id, event, ce_id, at, detail)
    SELECT order_id, event, ce_id, at, detail::jsonb
    FROM unnest(%s::uuid[], %s::text[], %s::uuid[], %s::timestamptz[], %s::text[])
         WITH ORDINALITY AS told (order_id, event, ce_id, at, detail, n)
    ORDER BY n
    ON CONFLICT (order_id, event) DO UPDATE
    SET ce_id = excluded.ce_id, at = excluded.at, detail = excluded.detail
    WHERE excluded.ce_id < mine.ce_id
"""


async def load(tx: Transaction, messages: Sequence[Message[object]]) -> Histories:
    """The orders that the messages are about, locked in the order of their ids; new ones have no row to lock."""
    rows = await tx.fetch(LOAD, [sorted({message.key for message in messages})])
    orders = {OrderId(row[0]): _history(row) for row in rows}
    return Histories(loaded=frozenset(orders), orders=orders)


async def save(tx: Transaction, histories: Histories) -> None:
    """Write the orders that changed, and their timelines' lines where none with a lower ce_id stands already.

    A new order is a plain INSERT: where another process was faster, the unique key refuses it, and the
    host runs the batch again, which then finds the row.
    """
    if changed := sorted(histories.changed):
        await tx.queue(SAVE, _columns(histories, changed))
    if histories.entries:
        entries = [(order_id, line) for (order_id, _), line in histories.entries.items()]
        await tx.queue(
            TELL,
            [
                [order_id for order_id, _ in entries],
                [line.event for _, line in entries],
                [line.ce_id for _, line in entries],
                [line.at for _, line in entries],
                [line.detail for _, line in entries],
            ],
        )


def _columns(histories: Histories, ids: Sequence[OrderId]) -> list[list[object]]:
    rows = [(order_id, order_id in histories.loaded, histories.orders[order_id]) for order_id in ids]
    return [
        list(column)
        for column in zip(*(_row(order_id, loaded, told) for order_id, loaded, told in rows), strict=True)
    ]


def _row(order_id: OrderId, loaded: bool, told: History) -> tuple[object, ...]:
    origin, contents, reason, payment_id = told.origin, told.contents, told.reason, told.payment_id
    total = contents.value.total if contents else None
    return (
        order_id,
        loaded,
        told.stage.status,
        int(told.stage),
        told.updated_at,
        origin.provenance,
        origin.value.user_id,
        origin.value.payment_method_id,
        origin.value.created_at,
        contents.provenance if contents else None,
        contents.value.lines if contents else None,
        total.amount_minor if total else None,
        total.currency if total else None,
        reason.provenance if reason else None,
        reason.value.code if reason else None,
        reason.value.text if reason else None,
        payment_id.provenance if payment_id else None,
        payment_id.value if payment_id else None,
        None if told.payment is None else int(told.payment),
    )


def _history(row: Row) -> History:
    (
        _order_id,
        rank,
        updated_at,
        origin_from,
        user_id,
        payment_method_id,
        created_at,
        lines_from,
        lines,
        total_minor,
        currency,
        reason_from,
        reason_code,
        reason,
        payment_id_from,
        payment_id,
        payment_rank,
    ) = row
    total = None if total_minor is None else Money(amount_minor=total_minor, currency=currency)
    return History(
        stage=Stage(rank),
        updated_at=updated_at,
        origin=Account(origin_from, Origin(user_id, payment_method_id, created_at)),
        contents=None if lines_from is None else Account(lines_from, Contents(lines, total)),
        reason=None if reason_from is None else Account(reason_from, Reason(reason_code, reason)),
        payment_id=None if payment_id_from is None else Account(payment_id_from, payment_id),
        payment=None if payment_rank is None else PaymentStage(payment_rank),
    )
