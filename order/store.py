"""All SQL of the orders: rows are locked in the order of their ids, and written in sets."""

from collections.abc import Sequence
from typing import Final

from libs.contracts.values import Line, Money, OrderId, PaymentId, PaymentMethodId, PricedLine, UserId
from libs.messaging.message import Message
from libs.outbox.transaction import Row, Transaction
from order.domain import Charged, Order, Orders, Placed, Reason

LOCK_ORDERS: Final = """
    SELECT id, user_id, status, payment_method_id, total_minor, currency, payment_id, reason_code, reason
    FROM orders WHERE id = ANY(%s::uuid[]) ORDER BY id FOR UPDATE
"""
LINES: Final = """
    SELECT order_id, product_id, quantity, name, price_minor
    FROM order_lines WHERE order_id = ANY(%s::uuid[]) ORDER BY order_id, line_no
"""
# An order that is there already is an error here, not a conflict to pass over: it would mean that its
# lock was missed, and the batch is decided anew.
ADD_ORDERS: Final = """
    WITH added AS (
        INSERT INTO orders (id, user_id, status, payment_method_id, total_minor, currency, payment_id,
                            reason_code, reason, created_at, updated_at)
        SELECT *, %s::timestamptz, %s::timestamptz
        FROM unnest(%s::uuid[], %s::uuid[], %s::text[], %s::uuid[], %s::bigint[], %s::text[], %s::uuid[],
                    %s::text[], %s::text[])
    )
    INSERT INTO order_lines (order_id, line_no, product_id, quantity, name, price_minor)
    SELECT * FROM unnest(%s::uuid[], %s::bigint[], %s::uuid[], %s::bigint[], %s::text[], %s::bigint[])
"""
MOVE_ORDERS: Final = """
    UPDATE orders
    SET status = moved.status, total_minor = moved.total_minor, currency = moved.currency,
        payment_id = moved.payment_id, reason_code = moved.reason_code, reason = moved.reason,
        updated_at = %s::timestamptz
    FROM unnest(%s::uuid[], %s::text[], %s::bigint[], %s::text[], %s::uuid[], %s::text[], %s::text[])
        AS moved (id, status, total_minor, currency, payment_id, reason_code, reason)
    WHERE orders.id = moved.id
"""
PRICE_LINES: Final = """
    UPDATE order_lines SET name = priced.name, price_minor = priced.price_minor
    FROM unnest(%s::uuid[], %s::bigint[], %s::text[], %s::bigint[]) AS priced (order_id, line_no, name, price_minor)
    WHERE order_lines.order_id = priced.order_id AND order_lines.line_no = priced.line_no
"""


async def load(tx: Transaction, messages: Sequence[Message[object]]) -> Orders:
    """The orders that the messages are about, locked, with their lines."""
    ids = sorted({message.key for message in messages})
    locked = await tx.queue(LOCK_ORDERS, [ids])
    lined = await tx.queue(LINES, [ids])
    rows = await locked.rows()
    lines: dict[OrderId, list[Row]] = {}
    for order_id, *line in await lined.rows():
        lines.setdefault(order_id, []).append(tuple(line))
    return Orders({row[0]: _order(row, lines.get(row[0], [])) for row in rows})


async def save(tx: Transaction, orders: Orders) -> None:
    """Write the new orders with their lines, those that changed, and the prices of those just completed."""
    if orders.new:
        await _add(tx, [orders.by_id[order_id] for order_id in sorted(orders.new)])
    if changed := [orders.by_id[order_id] for order_id in sorted(orders.changed - orders.new)]:
        await _move(tx, changed)
    if priced := [orders.by_id[order_id] for order_id in sorted(orders.priced - orders.new)]:
        await _price(tx, priced)


async def _add(tx: Transaction, orders: Sequence[Order]) -> None:
    lines = [
        (order.id, number, line) for order in orders for number, line in enumerate(_lines(order), start=1)
    ]
    await tx.queue(
        ADD_ORDERS,
        [
            tx.now,
            tx.now,
            [order.id for order in orders],
            [order.user_id for order in orders],
            [order.status for order in orders],
            [order.placed and order.placed.payment_method_id for order in orders],
            *_outcome(orders),
            [order_id for order_id, _, _ in lines],
            [number for _, number, _ in lines],
            [line.product_id for _, _, line in lines],
            [line.quantity for _, _, line in lines],
            [line.name if isinstance(line, PricedLine) else None for _, _, line in lines],
            [line.price.amount_minor if isinstance(line, PricedLine) else None for _, _, line in lines],
        ],
    )


async def _move(tx: Transaction, orders: Sequence[Order]) -> None:
    await tx.queue(
        MOVE_ORDERS,
        [tx.now, [order.id for order in orders], [order.status for order in orders], *_outcome(orders)],
    )


async def _price(tx: Transaction, orders: Sequence[Order]) -> None:
    lines = [
        (order.id, number, line)
        for order in orders
        if order.charged is not None
        for number, line in enumerate(order.charged.lines, start=1)
    ]
    await tx.queue(
        PRICE_LINES,
        [
            [order_id for order_id, _, _ in lines],
            [number for _, number, _ in lines],
            [line.name for _, _, line in lines],
            [line.price.amount_minor for _, _, line in lines],
        ],
    )


def _outcome(orders: Sequence[Order]) -> tuple[Sequence[object], ...]:
    """The columns total_minor, currency, payment_id, reason_code and reason."""
    charges = [order.charged for order in orders]
    reasons = [order.reason for order in orders]
    return (
        [charge and charge.total.amount_minor for charge in charges],
        [charge and charge.total.currency for charge in charges],
        [charge and charge.payment_id for charge in charges],
        [reason and reason.code for reason in reasons],
        [reason and reason.text for reason in reasons],
    )


def _lines(order: Order) -> Sequence[Line]:
    if order.charged is not None:
        return order.charged.lines
    return order.placed.lines if order.placed is not None else ()


def _order(row: Row, lines: Sequence[Row]) -> Order:
    order_id, user_id, status, method, total_minor, currency, payment_id, reason_code, reason = row
    charged = None
    if total_minor is not None:
        charged = Charged(
            tuple(
                PricedLine(
                    product_id=product_id,
                    quantity=quantity,
                    name=name,
                    price=Money(amount_minor=price_minor, currency=currency),
                )
                for product_id, quantity, name, price_minor in lines
            ),
            Money(amount_minor=total_minor, currency=currency),
            PaymentId(payment_id),
        )
    placed = None
    if method is not None:
        asked = tuple(Line(product_id=product_id, quantity=quantity) for product_id, quantity, _, _ in lines)
        placed = Placed(PaymentMethodId(method), asked)
    return Order(
        OrderId(order_id),
        UserId(user_id),
        status,
        placed,
        charged,
        None if reason_code is None else Reason(reason_code, reason),
    )
