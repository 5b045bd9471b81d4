"""All SQL of the inventory: holds are locked before stock, each in key order, so that no two batches deadlock."""

from collections.abc import Sequence
from typing import Final

from pydantic import TypeAdapter

from inventory.domain import Hold, HoldState, Refused, Shelves, Stock
from libs.contracts.inventory import ReserveInventory
from libs.contracts.values import OrderId, ProductId, Shortage
from libs.messaging.message import Message
from libs.outbox.transaction import Asked, Row, Transaction

LOCK_HOLDS: Final = """
    SELECT holds.order_id, holds.state, holds.reason, holds.detail::text, reservations.product_id, reservations.quantity
    FROM holds LEFT JOIN reservations ON reservations.order_id = holds.order_id
    WHERE holds.order_id = ANY(%s::uuid[])
    ORDER BY holds.order_id, reservations.product_id
    FOR UPDATE OF holds
"""
LOCK_STOCK: Final = """
    SELECT stock.product_id, stock.on_hand, stock.reserved, stock.sold
    FROM stock
    JOIN (
        SELECT unnest(%s::uuid[]) AS product_id
        UNION
        SELECT product_id FROM reservations WHERE order_id = ANY(%s::uuid[])
    ) AS touched ON touched.product_id = stock.product_id
    ORDER BY stock.product_id
    FOR UPDATE OF stock
"""
MOVE_STOCK: Final = """
    UPDATE stock SET on_hand = moved.on_hand, reserved = moved.reserved, sold = moved.sold
    FROM unnest(%s::uuid[], %s::bigint[], %s::bigint[], %s::bigint[]) AS moved (product_id, on_hand, reserved, sold)
    WHERE stock.product_id = moved.product_id
"""
# A hold that is there already is an error here, not a conflict to pass over: it would mean that its
# lock was missed, and the batch is decided anew.
ADD_HOLDS: Final = """
    WITH added AS (
        INSERT INTO holds (order_id, state, reason, detail, created_at, updated_at)
        SELECT order_id, state, reason, detail::jsonb, %s::timestamptz, %s::timestamptz
        FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::text[]) AS hold (order_id, state, reason, detail)
    )
    INSERT INTO reservations (order_id, product_id, quantity, state)
    SELECT order_id, product_id, quantity, state
    FROM unnest(%s::uuid[], %s::uuid[], %s::bigint[], %s::text[]) AS line (order_id, product_id, quantity, state)
"""
MOVE_HOLDS: Final = """
    WITH moved AS (
        UPDATE holds SET state = hold.state, updated_at = %s::timestamptz
        FROM unnest(%s::uuid[], %s::text[]) AS hold (order_id, state)
        WHERE holds.order_id = hold.order_id
        RETURNING holds.order_id, holds.state
    )
    UPDATE reservations SET state = moved.state
    FROM moved WHERE reservations.order_id = moved.order_id
"""
STOCK_OF: Final = "SELECT product_id, on_hand, reserved, sold FROM stock WHERE product_id = %s::uuid"
ADD_STOCK: Final = "INSERT INTO stock (product_id) VALUES (%s::uuid) ON CONFLICT (product_id) DO NOTHING"
LOCK_ONE: Final = """
    SELECT product_id, on_hand, reserved, sold FROM stock WHERE product_id = %s::uuid FOR UPDATE
"""
COUNT_ONE: Final = "UPDATE stock SET on_hand = %s::bigint WHERE product_id = %s::uuid"

_SHORTAGES: Final = TypeAdapter(tuple[Shortage, ...])


async def load(tx: Transaction, messages: Sequence[Message[object]]) -> Shelves:
    """The holds of the messages' orders, and the stock that they have or ask for, all locked."""
    orders = sorted({message.key for message in messages})
    asked = {
        line.product_id
        for message in messages
        if isinstance(message.body, ReserveInventory)
        for line in message.body.lines
    }
    held = await tx.queue(LOCK_HOLDS, [orders])
    stocked = await tx.queue(LOCK_STOCK, [sorted(asked), orders])
    holds = _holds(await held.rows())
    return Shelves({stock.product_id: stock for stock in map(_stock, await stocked.rows())}, holds)


async def save(tx: Transaction, shelves: Shelves) -> None:
    """Write the stock that moved, the new holds, and those that changed their state."""
    if shelves.changed_stock:
        moved = [shelves.stock[product_id] for product_id in sorted(shelves.changed_stock)]
        await tx.queue(
            MOVE_STOCK,
            [
                [stock.product_id for stock in moved],
                [stock.on_hand for stock in moved],
                [stock.reserved for stock in moved],
                [stock.sold for stock in moved],
            ],
        )
    if shelves.new_holds:
        await _add_holds(tx, [shelves.holds[order_id] for order_id in sorted(shelves.new_holds)])
    if changed := sorted(shelves.changed_holds - shelves.new_holds):
        states = [shelves.holds[order_id].state for order_id in changed]
        await tx.queue(MOVE_HOLDS, [tx.now, changed, states])


async def stock_of(asked: Asked, product_id: ProductId) -> Stock | None:
    """The stock of one product as it is, not locked; None where none was ever entered."""
    rows = await asked.fetch(STOCK_OF, [product_id])
    return _stock(rows[0]) if rows else None


async def lock_stock(tx: Transaction, product_id: ProductId) -> Stock:
    """The stock of one product, locked; made, with nothing in it, where it is not there yet."""
    await tx.queue(ADD_STOCK, [product_id])
    (row,) = await tx.fetch(LOCK_ONE, [product_id])
    return _stock(row)


async def save_count(tx: Transaction, stock: Stock) -> None:
    """Write what is on hand of a product whose stock this transaction has locked."""
    await tx.queue(COUNT_ONE, [stock.on_hand, stock.product_id])


async def _add_holds(tx: Transaction, holds: Sequence[Hold]) -> None:
    lines = [
        (hold.order_id, product_id, quantity, hold.state)
        for hold in holds
        for product_id, quantity in hold.quantities
    ]
    await tx.queue(
        ADD_HOLDS,
        [
            tx.now,
            tx.now,
            [hold.order_id for hold in holds],
            [hold.state for hold in holds],
            [hold.refused and hold.refused.reason for hold in holds],
            [hold.refused and _SHORTAGES.dump_json(hold.refused.shortages).decode() for hold in holds],
            [line[0] for line in lines],
            [line[1] for line in lines],
            [line[2] for line in lines],
            [line[3] for line in lines],
        ],
    )


def _stock(row: Row) -> Stock:
    product_id, on_hand, reserved, sold = row
    return Stock(ProductId(product_id), on_hand, reserved, sold)


def _holds(rows: Sequence[Row]) -> dict[OrderId, Hold]:
    """One hold from its rows, one for each product; in the rows' order."""
    states: dict[OrderId, tuple[HoldState, Refused | None]] = {}
    lines: dict[OrderId, list[tuple[ProductId, int]]] = {}
    for order_id, state, reason, detail, product_id, quantity in rows:
        states[order_id] = (
            state,
            None if reason is None else Refused(reason, _SHORTAGES.validate_json(detail)),
        )
        if product_id is not None:
            lines.setdefault(order_id, []).append((product_id, quantity))
    return {
        order_id: Hold(order_id, state, tuple(lines.get(order_id, ())), refused)
        for order_id, (state, refused) in states.items()
    }
