"""The tables of the inventory: stock by product, and holds by order with their reservations."""

from sqlalchemy import BigInteger, CheckConstraint, Column, DateTime, ForeignKey, Table, Text, Uuid
from sqlalchemy.dialects.postgresql import JSONB

from libs.outbox.tables import new_metadata

metadata = new_metadata(consumer=True)

stock = Table(
    "stock",
    metadata,
    Column("product_id", Uuid, primary_key=True),
    Column("on_hand", BigInteger, nullable=False, server_default="0", comment="includes what is reserved"),
    Column("reserved", BigInteger, nullable=False, server_default="0"),
    Column("sold", BigInteger, nullable=False, server_default="0"),
    CheckConstraint("reserved >= 0", name="reserved"),
    CheckConstraint("on_hand >= reserved", name="on_hand_covers_reserved"),
    CheckConstraint("sold >= 0", name="sold"),
)

holds = Table(
    "holds",
    metadata,
    Column("order_id", Uuid, primary_key=True),
    Column("state", Text, nullable=False),
    Column("reason", Text, comment="why it was refused, for a person"),
    Column("detail", JSONB, comment="the shortages of a refused order, as they were answered"),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False),
    CheckConstraint("state IN ('held', 'released', 'sold', 'refused')", name="state"),
    CheckConstraint("(state = 'refused') = (reason IS NOT NULL)", name="refused_has_reason"),
    CheckConstraint("(state = 'refused') = (detail IS NOT NULL)", name="refused_has_detail"),
    CheckConstraint("jsonb_typeof(detail) = 'array' AND detail <> '[]'", name="detail_names_lines"),
)

reservations = Table(
    "reservations",
    metadata,
    Column("order_id", Uuid, ForeignKey("holds.order_id"), primary_key=True),
    Column("product_id", Uuid, primary_key=True),
    Column("quantity", BigInteger, nullable=False),
    Column("state", Text, nullable=False, comment="its hold's"),
    CheckConstraint("quantity BETWEEN 1 AND 50000", name="quantity"),
    CheckConstraint("state IN ('held', 'released', 'sold')", name="state"),
)
