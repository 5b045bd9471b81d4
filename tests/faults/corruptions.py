"""What is planted to try the auditor: each is a small lie in one database, and the invariant that it breaks."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Corruption:
    """Statements that, run in one service's database, must be found as a breach of `invariant`."""

    name: str
    invariant: str
    service: str
    statements: tuple[str, ...]


def _plant(name: str, invariant: str, service: str, *statements: str) -> Corruption:
    return Corruption(name, invariant, service, statements)


CORRUPTIONS: Final = (
    _plant(
        "a ledger row dropped",
        "I1",
        "payment",
        "DELETE FROM ledger_entries WHERE id = (SELECT max(id) FROM ledger_entries WHERE kind = 'capture')",
    ),
    _plant(
        "captured twice",
        "I1",
        "payment",
        "DROP INDEX uq_ledger_entries_order_id_kind_account",
        """
        INSERT INTO ledger_entries (transaction_id, order_id, account, kind, amount_minor, currency, at)
        SELECT md5(transaction_id::text)::uuid, order_id, account, kind, amount_minor, currency, at
        FROM ledger_entries
        WHERE order_id = (SELECT order_id FROM payments WHERE status = 'completed' ORDER BY order_id DESC LIMIT 1)
        """,
    ),
    _plant(
        "a wallet lighter than its ledger",
        "I1",
        "payment",
        """
        UPDATE wallets SET balance_minor = balance_minor - 1
        WHERE user_id = (SELECT user_id FROM wallets WHERE balance_minor > 0 ORDER BY user_id LIMIT 1)
        """,
    ),
    _plant(
        "a payment without its entries",
        "I1",
        "payment",
        """
        DELETE FROM ledger_entries
        WHERE order_id = (SELECT order_id FROM payments WHERE status = 'completed' ORDER BY order_id DESC LIMIT 1)
        """,
    ),
    _plant(
        "stock added",
        "I2",
        "inventory",
        """
        UPDATE stock SET on_hand = on_hand + 1
        WHERE product_id = (SELECT product_id FROM reservations ORDER BY order_id DESC LIMIT 1)
        """,
    ),
    _plant(
        "reserved for nobody",
        "I2",
        "inventory",
        """
        UPDATE stock SET reserved = reserved + 1
        WHERE product_id = (SELECT product_id FROM reservations ORDER BY order_id DESC LIMIT 1)
        """,
    ),
    _plant(
        "a saga opened again",
        "I3",
        "order_saga",
        """
        UPDATE sagas SET status = 'running', deadline = now() + interval '1 hour', finished_at = NULL
        WHERE id = (SELECT id FROM sagas WHERE status = 'completed' ORDER BY id DESC LIMIT 1)
        """,
    ),
    _plant(
        "a booking without a payment",
        "I4",
        "payment",
        """
        WITH booked AS (
            SELECT order_id FROM payments WHERE status = 'completed' ORDER BY order_id DESC LIMIT 1
        ), attempts AS (
            DELETE FROM payment_attempts USING booked WHERE payment_attempts.order_id = booked.order_id
        )
        DELETE FROM payments USING booked WHERE payments.order_id = booked.order_id
        """,
    ),
    _plant(
        "a sale turned back into a hold",
        "I5",
        "inventory",
        """
        WITH one AS (SELECT order_id FROM holds WHERE state = 'sold' ORDER BY order_id DESC LIMIT 1),
        held AS (UPDATE holds SET state = 'held' WHERE order_id IN (TABLE one)),
        lines AS (
            UPDATE reservations SET state = 'held' WHERE order_id IN (TABLE one)
            RETURNING product_id, quantity
        )
        UPDATE stock SET on_hand = on_hand + quantity, reserved = reserved + quantity, sold = sold - quantity
        FROM lines WHERE lines.product_id = stock.product_id
        """,
    ),
    _plant(
        "an undo that never was",
        "I6",
        "order_saga",
        """
        UPDATE saga_journal SET kind = 'late'
        WHERE (saga_id, revision, seq) = (
            SELECT saga_id, revision, seq FROM saga_journal WHERE kind = 'undone' ORDER BY at DESC, seq LIMIT 1
        )
        """,
    ),
    _plant(
        "an end before the last command",
        "I6",
        "order_saga",
        """
        UPDATE sagas SET finished_at = started_at
        WHERE id = (SELECT id FROM sagas WHERE status = 'compensated' ORDER BY id DESC LIMIT 1)
        """,
    ),
    _plant(
        "versions swapped",
        "I7",
        "order_saga",
        """
        UPDATE saga_journal SET revision = 1000 - revision
        WHERE revision IN (2, 3)
          AND saga_id = (SELECT id FROM sagas WHERE status = 'completed' ORDER BY id DESC LIMIT 1)
        """,
        "UPDATE saga_journal SET revision = revision - 995 WHERE revision IN (997, 998)",
    ),
    _plant(
        "a revision lost",
        "I7",
        "order_saga",
        """
        DELETE FROM saga_journal
        WHERE revision = 3
          AND saga_id = (SELECT id FROM sagas WHERE status = 'completed' ORDER BY id DESC LIMIT 1)
        """,
    ),
    _plant(
        "a lost event",
        "I8",
        "order_history",
        """
        UPDATE orders SET status = 'pending', rank = 4
        WHERE order_id = (SELECT order_id FROM orders WHERE status = 'completed' ORDER BY order_id DESC LIMIT 1)
        """,
    ),
    _plant(
        "a line of a timeline lost",
        "I8",
        "order_history",
        """
        DELETE FROM order_timeline
        WHERE event = 'paid' AND order_id = (
            SELECT order_id FROM orders WHERE status = 'completed' ORDER BY order_id DESC LIMIT 1
        )
        """,
    ),
    _plant(
        "another price shown",
        "I8",
        "order_history",
        """
        UPDATE orders SET lines = jsonb_set(lines, '{0,price,amount_minor}', '1')
        WHERE order_id = (SELECT order_id FROM orders WHERE status = 'completed' ORDER BY order_id DESC LIMIT 1)
        """,
    ),
    _plant(
        "a payment shown that is another's",
        "I8",
        "order_history",
        """
        UPDATE orders SET payment_id = order_id
        WHERE order_id = (SELECT order_id FROM orders WHERE status = 'completed' ORDER BY order_id DESC LIMIT 1)
        """,
    ),
    _plant(
        "a message that is never sent",
        "I9",
        "inventory",
        """
        INSERT INTO outbox (message_id, topic, key, key_hash, type, headers, payload)
        VALUES (gen_random_uuid(), 'inventory-events', 'x', 1, 'x', '{}', '')
        """,
    ),
    _plant(
        "stock held for a cancelled order",
        "I10",
        "inventory",
        """
        WITH one AS (
            SELECT order_id FROM holds WHERE state = 'released' AND order_id IN (SELECT order_id FROM reservations)
            ORDER BY order_id DESC LIMIT 1
        ),
        held AS (UPDATE holds SET state = 'held' WHERE order_id IN (TABLE one)),
        lines AS (
            UPDATE reservations SET state = 'held' WHERE order_id IN (TABLE one)
            RETURNING product_id, quantity
        )
        UPDATE stock SET reserved = reserved + quantity FROM lines WHERE lines.product_id = stock.product_id
        """,
    ),
    _plant(
        "a dead letter that nobody sent",
        "I11",
        "payment",
        """
        INSERT INTO dead_letters (topic, partition, "offset", headers, reason, error, attempts)
        VALUES ('payment-commands', 0, 999999, '[]', 'not_json', 'x', 1)
        """,
    ),
    _plant(
        "two keys for one order",
        "I12",
        "gateway",
        """
        INSERT INTO idempotency_keys (user_id, route, key, fingerprint, order_id)
        SELECT user_id, route, 'another', fingerprint, order_id FROM idempotency_keys
        ORDER BY order_id DESC LIMIT 1
        """,
    ),
    _plant(
        "a record that was passed over",
        "I13",
        "order",
        "UPDATE consumer_offsets SET next_offset = next_offset - 1 WHERE topic = 'order-commands'",
    ),
    _plant(
        "an order shown to somebody else",
        "I14",
        "order_history",
        """
        UPDATE orders SET user_id = gen_random_uuid()
        WHERE order_id = (SELECT order_id FROM orders ORDER BY order_id DESC LIMIT 1)
        """,
    ),
    _plant(
        "an inbox that nobody empties",
        "I16",
        "inventory",
        "INSERT INTO inbox (message_id) SELECT gen_random_uuid() FROM generate_series(1, 5000)",
    ),
    _plant(
        "offsets of topics that are not there",
        "I16",
        "order_saga",
        """
        INSERT INTO consumer_offsets (topic, partition, next_offset)
        SELECT 'gone', n, 0 FROM generate_series(1, 500) AS n
        """,
    ),
)
"""By what they break; each is found by that invariant at least."""
