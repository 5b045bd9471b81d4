"""The tables of the orders and their lines."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Integer,
    Table,
    Text,
    Uuid,
)

from libs.outbox.tables import new_metadata

metadata = new_metadata(consumer=True)

orders = Table(
    "orders",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("user_id", Uuid, nullable=False),
    Column("status", Text, nullable=False),
    Column("payment_method_id", Uuid, comment="null: cancelled before it was created"),
    Column("total_minor", BigInteger, comment="from the completion on"),
    Column("currency", Text),
    Column("payment_id", Uuid),
    Column("reason_code", Text, comment="from the begin of the cancellation on"),
    Column("reason", Text),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False),
    CheckConstraint("status IN ('pending', 'completed', 'cancelling', 'cancelled')", name="status"),
    CheckConstraint("payment_method_id IS NOT NULL OR status = 'cancelled'", name="tombstone_is_cancelled"),
    CheckConstraint("payment_method_id IS NOT NULL OR total_minor IS NULL", name="tombstone_is_not_charged"),
    CheckConstraint("num_nulls(total_minor, currency, payment_id) IN (0, 3)", name="charged_whole"),
    CheckConstraint("status <> 'completed' OR total_minor IS NOT NULL", name="completed_is_charged"),
    CheckConstraint("status <> 'pending' OR total_minor IS NULL", name="pending_is_not_charged"),
    CheckConstraint("total_minor BETWEEN 0 AND 9007199254740991", name="total_minor"),
    CheckConstraint("currency ~ '^[A-Z]{3}$'", name="currency"),
    CheckConstraint("num_nulls(reason_code, reason) IN (0, 2)", name="reason_whole"),
    CheckConstraint(
        "(status IN ('cancelling', 'cancelled')) = (reason_code IS NOT NULL)", name="cancelled_has_reason"
    ),
)

order_lines = Table(
    "order_lines",
    metadata,
    Column("order_id", Uuid, ForeignKey("orders.id"), primary_key=True),
    Column("line_no", Integer, primary_key=True, comment="from 1, in the customer's order"),
    Column("product_id", Uuid, nullable=False),
    Column("quantity", Integer, nullable=False),
    Column("name", Text, comment="as charged, in the order's currency"),
    Column("price_minor", BigInteger, comment="of one, as charged"),
    CheckConstraint("line_no BETWEEN 1 AND 50", name="line_no"),
    CheckConstraint("quantity BETWEEN 1 AND 1000", name="quantity"),
    CheckConstraint("num_nulls(name, price_minor) IN (0, 2)", name="priced_whole"),
    CheckConstraint("price_minor BETWEEN 0 AND 9007199254740991", name="price_minor"),
)
