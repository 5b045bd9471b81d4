"""Money and stock, by SQL of the auditor's own: the ledger, the shelves, and what every order may have of both."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from tests.faults.platform import Platform
from tests.faults.violation import Violation

UNBALANCED_TRANSACTIONS: Final = """
    SELECT transaction_id::text, currency, sum(amount_minor)::bigint FROM ledger_entries
    GROUP BY transaction_id, currency HAVING sum(amount_minor) <> 0 OR count(*) <> 2
"""
WRONG_WALLETS: Final = """
    SELECT coalesce(w.user_id::text, l.account), coalesce(w.balance_minor, 0), coalesce(l.booked, 0)::bigint
    FROM wallets w
    FULL JOIN (
        SELECT account, sum(amount_minor) AS booked FROM ledger_entries
        WHERE account LIKE 'wallet:%' GROUP BY account
    ) l ON l.account = 'wallet:' || w.user_id
    WHERE coalesce(w.balance_minor, 0) <> coalesce(l.booked, 0)
"""
WRONG_CAPTURES: Final = """
    SELECT p.order_id::text, p.status, p.amount_minor, coalesce(l.earned, 0)::bigint, l.captures, l.refunds
    FROM payments p
    LEFT JOIN (
        SELECT order_id, sum(amount_minor) FILTER (WHERE account = 'revenue') AS earned,
               count(*) FILTER (WHERE account = 'revenue' AND kind = 'capture') AS captures,
               count(*) FILTER (WHERE account = 'revenue' AND kind = 'refund') AS refunds,
               max(amount_minor) FILTER (WHERE account = 'revenue' AND kind = 'capture') AS captured
        FROM ledger_entries WHERE order_id IS NOT NULL GROUP BY order_id
    ) l USING (order_id)
    WHERE coalesce(l.earned, 0) <> CASE p.status WHEN 'completed' THEN p.amount_minor ELSE 0 END
       OR coalesce(l.captures, 0) > 1 OR coalesce(l.refunds, 0) > coalesce(l.captures, 0)
       OR coalesce(l.captured, p.amount_minor) <> p.amount_minor
       OR (l.captures > 0) <> (p.captured_at IS NOT NULL)
       OR (l.refunds > 0) <> (p.refunded_at IS NOT NULL)
"""
BOOKED_WITHOUT_PAYMENT: Final = """
    SELECT DISTINCT order_id::text FROM ledger_entries l
    WHERE order_id IS NOT NULL AND NOT EXISTS (SELECT FROM payments p WHERE p.order_id = l.order_id)
"""
CARD_CLEARING: Final = """
    SELECT coalesce(-sum(amount_minor), 0)::bigint FROM ledger_entries WHERE account = 'card_clearing'
"""
WRONG_SHELVES: Final = """
    SELECT coalesce(s.product_id, r.product_id)::text, s.on_hand, s.reserved, s.sold,
           coalesce(r.held, 0)::bigint, coalesce(r.sold, 0)::bigint
    FROM stock s
    FULL JOIN (
        SELECT product_id, sum(quantity) FILTER (WHERE state = 'held') AS held,
               sum(quantity) FILTER (WHERE state = 'sold') AS sold
        FROM reservations GROUP BY product_id
    ) r USING (product_id)
    WHERE s.product_id IS NULL OR s.reserved <> coalesce(r.held, 0) OR s.sold <> coalesce(r.sold, 0)
       OR s.on_hand < s.reserved OR s.reserved < 0 OR s.sold < 0
"""
WRONG_HOLDS: Final = """
    SELECT h.order_id::text, h.state, string_agg(DISTINCT r.state, ', '), count(r.order_id)
    FROM holds h LEFT JOIN reservations r USING (order_id)
    GROUP BY h.order_id, h.state
    HAVING (h.state IN ('held', 'sold') AND count(r.order_id) = 0)
        OR (h.state = 'refused' AND count(r.order_id) > 0)
        OR count(*) FILTER (WHERE r.state <> h.state) > 0
"""


@dataclass(frozen=True, slots=True)
class Books:
    """How things stood at the start: what later ones are compared with.

    `stock` is on hand plus sold, by product, which only an operator's count may change; `rows` how many each table
    holds, by service and table.
    """

    since: datetime
    stock: Mapping[str, int]
    dead_letters: Mapping[str, int]
    rows: Mapping[str, int] = field(default_factory=dict)

    @property
    def first_order(self) -> UUID:
        """The smallest id that an order from then on can have: order ids are UUIDv7."""
        return UUID(int=int(self.since.timestamp() * 1_000) << 80)


async def read_stock(platform: Platform) -> dict[str, int]:
    """On hand plus sold, by product."""
    rows = await platform.rows("inventory", "SELECT product_id::text, on_hand + sold FROM stock")
    return {product: int(total) for product, total in rows}


async def money(platform: Platform) -> AsyncIterator[Violation]:
    """I1 and I4: the ledger balances, wallets are what is booked, one capture and one refund per order at most."""
    for transaction, currency, total in await platform.rows("payment", UNBALANCED_TRANSACTIONS):
        yield Violation("I1", f"transaction {transaction}", f"its entries add up to {total} {currency}")
    for wallet, balance, booked in await platform.rows("payment", WRONG_WALLETS):
        yield Violation("I1", f"wallet {wallet}", f"holds {balance}, booked are {booked}")
    for order, status, amount, earned, captures, refunds in await platform.rows("payment", WRONG_CAPTURES):
        finding = f"{status} payment of {amount} earned {earned} by {captures} captures and {refunds} refunds"
        yield Violation("I1", f"order {order}", finding)
    for (order,) in await platform.rows("payment", BOOKED_WITHOUT_PAYMENT):
        yield Violation("I4", f"order {order}", "booked without a payment")
    earned = await platform.scalar(
        "payment",
        "SELECT coalesce(sum(amount_minor), 0)::bigint FROM ledger_entries WHERE account = 'revenue'",
    )
    owed = await platform.scalar(
        "order", "SELECT coalesce(sum(total_minor), 0)::bigint FROM orders WHERE status = 'completed'"
    )
    if earned != owed:
        yield Violation("I1", "revenue", f"{earned} earned, completed orders add up to {owed}")


async def cards(platform: Platform, taken: int | None) -> AsyncIterator[Violation]:
    """I1, the card provider's half: what the ledger says that it owes is what it has taken, refunds taken off."""
    if taken is None:
        return
    owed = await platform.scalar("payment", CARD_CLEARING)
    if owed != taken:
        yield Violation("I1", "card provider", f"has taken {taken}, the ledger says {owed}")


async def stock(platform: Platform, before: Books) -> AsyncIterator[Violation]:
    """I2: nothing is made or lost on the shelves, and what is reserved is what is held."""
    for row in await platform.rows("inventory", WRONG_SHELVES):
        product, on_hand, reserved, sold, held, sales = row
        finding = f"on hand {on_hand}, reserved {reserved} of {held} held, sold {sold} of {sales}"
        yield Violation("I2", f"product {product}", finding)
    for order, state, states, lines in await platform.rows("inventory", WRONG_HOLDS):
        yield Violation("I2", f"order {order}", f"hold is {state}, its {lines} reservations are {states}")
    now = await read_stock(platform)
    for product, total in before.stock.items():
        if now.get(product) != total:
            finding = f"on hand and sold were {total}, are {now.get(product)}"
            yield Violation("I2", f"product {product}", finding)
