"""The read model's tables: a row per order, and the lines of its timeline."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Identity,
    Index,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    Uuid,
    func,
)
from sqlalchemy.dialects.postgresql import JSONB

from libs.outbox.tables import new_metadata

metadata = new_metadata(consumer=True)


def _provenance(field: str, *, nullable: bool = True) -> Column[bytes]:
    return Column(
        f"{field}_from",
        LargeBinary,
        nullable=nullable,
        comment=f"who told {field}: a byte of precedence, then the ce_id; the lowest stays",
    )


orders = Table(
    "orders",
    metadata,
    Column("order_id", Uuid, primary_key=True),
    Column("user_id", Uuid, comment="null until an order event has told it"),
    Column("status", Text, nullable=False),
    Column("rank", SmallInteger, nullable=False, comment="how far the order has come; it never falls"),
    Column("lines", JSONB),
    Column("total_minor", BigInteger),
    Column("currency", Text),
    Column("reason_code", Text),
    Column("reason", Text),
    Column("payment_id", Uuid),
    Column("payment_method_id", Uuid),
    Column("payment_rank", SmallInteger, comment="1 failed, 2 completed, 3 cancelled, 4 refunded"),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False, comment="ce_time of the latest event"),
    _provenance("origin", nullable=False),
    _provenance("lines"),
    _provenance("reason"),
    _provenance("payment_id"),
    CheckConstraint(
        "status = CASE rank WHEN 5 THEN 'completed' WHEN 6 THEN 'cancelling'"
        " WHEN 7 THEN 'cancelled' ELSE 'pending' END",
        name="status",
    ),
    CheckConstraint("rank BETWEEN 1 AND 7", name="rank"),
    CheckConstraint("jsonb_typeof(lines) = 'array'", name="lines"),
    CheckConstraint("total_minor >= 0 AND (total_minor IS NULL) = (currency IS NULL)", name="total"),
    CheckConstraint("currency ~ '^[A-Z]{3}$'", name="currency"),
    CheckConstraint("(reason_code IS NULL) = (reason IS NULL)", name="reason"),
    CheckConstraint("payment_rank BETWEEN 1 AND 4", name="payment_rank"),
    # The owner is in every query, so these two serve all filters and both sorts.
    Index("ix_orders_user_id_created_at_order_id", "user_id", "created_at", "order_id"),
    Index("ix_orders_user_id_total", "user_id", func.coalesce(Column("total_minor"), 0), "order_id"),
    postgresql_with={"fillfactor": 70},
)

order_timeline = Table(
    "order_timeline",
    metadata,
    Column("order_id", Uuid, primary_key=True),
    Column("event", Text, primary_key=True),
    Column("ce_id", Uuid, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("detail", JSONB),
    Column("arrived", BigInteger, Identity(), nullable=False, comment="the order in which streams tell it"),
    CheckConstraint(
        "event IN ('created', 'validated', 'reserved', 'paid', 'completed',"
        " 'cancelling', 'released', 'refunded', 'cancelled')",
        name="event",
    ),
)
