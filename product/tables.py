"""The tables of the catalogue."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    DateTime,
    ForeignKey,
    Index,
    Table,
    Text,
    Uuid,
    func,
    true,
)

from libs.outbox.tables import new_metadata

metadata = new_metadata(consumer=True)


def _folded() -> Column[str]:
    """The name as it is searched and sorted by, without regard to case."""
    return Column(
        "folded", Text, Computed("casefold(name COLLATE pg_unicode_fast)", persisted=True), nullable=False
    )


def _moment(name: str) -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp())


categories = Table(
    "categories",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("name", Text, nullable=False),
    _folded(),
    _moment("created_at"),
    CheckConstraint("char_length(name) BETWEEN 1 AND 200", name="name_length"),
    CheckConstraint("name = btrim(name)", name="name_is_trimmed"),
    CheckConstraint("name IS NFC NORMALIZED", name="name_is_normalised"),
    Index("uq_categories_folded", "folded", unique=True),
)

products = Table(
    "products",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("name", Text, nullable=False),
    _folded(),
    Column("category_id", Uuid, ForeignKey("categories.id"), nullable=False),
    Column("price_minor", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    Column("active", Boolean, nullable=False, server_default=true()),
    _moment("created_at"),
    _moment("updated_at"),
    CheckConstraint("char_length(name) BETWEEN 1 AND 200", name="name_length"),
    CheckConstraint("name = btrim(name)", name="name_is_trimmed"),
    CheckConstraint("name IS NFC NORMALIZED", name="name_is_normalised"),
    CheckConstraint("price_minor BETWEEN 0 AND 9007199254740991", name="price_minor"),
    CheckConstraint("currency ~ '^[A-Z]{3}$'", name="currency"),
    Index("ix_products_category_id", "category_id"),
    Index("ix_products_folded_id", "folded", "id"),
    Index("ix_products_price_minor_id", "price_minor", "id"),
    Index("ix_products_created_at_id", "created_at", "id"),
)
