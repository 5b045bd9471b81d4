"""The tables that every database has, as SQLAlchemy Core sees them."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
)
from sqlalchemy.dialects.postgresql import JSONB

MAX_PAYLOAD_BYTES = 900_000
"""Below the broker's message.max.bytes (1 MiB) with room for headers."""

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


def new_metadata(*, consumer: bool) -> MetaData:
    """A service's metadata with the outbox in it, and the consumer's tables where it reads topics."""
    metadata = MetaData(naming_convention=NAMING)
    _outbox(metadata)
    if consumer:
        _inbox(metadata)
        _consumer_offsets(metadata)
        _parked_messages(metadata)
        _dead_letters(metadata)
    return metadata


def _timestamp(name: str, *, nullable: bool = False, default: bool = False) -> Column[object]:
    return Column(
        name,
        DateTime(timezone=True),
        nullable=nullable,
        server_default=func.clock_timestamp() if default else None,
    )


def _outbox(metadata: MetaData) -> Table:
    """Messages that are committed and not yet acknowledged by the broker, oldest id first."""
    return Table(
        "outbox",
        metadata,
        Column("id", BigInteger, Identity(always=True), primary_key=True),
        Column("message_id", Uuid, nullable=False),
        Column("topic", Text, nullable=False),
        Column("key", Text, nullable=False),
        Column("key_hash", Integer, nullable=False),
        Column("type", Text, nullable=False),
        Column("headers", JSONB, nullable=False),
        Column("payload", LargeBinary, nullable=False),
        _timestamp("created_at", default=True),
        CheckConstraint(f"octet_length(payload) <= {MAX_PAYLOAD_BYTES}", name="payload_size"),
    )


def _inbox(metadata: MetaData) -> Table:
    """Ids of the messages that were handled; range-partitioned by the time inside the UUIDv7."""
    return Table(
        "inbox",
        metadata,
        Column("message_id", Uuid, primary_key=True),
        _timestamp("received_at", default=True),
        postgresql_partition_by="RANGE (message_id)",
    )


def _consumer_offsets(metadata: MetaData) -> Table:
    """How far each partition was handled: the truth, of which Kafka's committed offset is a copy."""
    return Table(
        "consumer_offsets",
        metadata,
        Column("topic", Text, primary_key=True),
        Column("partition", Integer, primary_key=True),
        Column("next_offset", BigInteger, nullable=False),
        Column("last_message_id", Uuid),
        _timestamp("caught_up_at", nullable=True),
    )


def _parked_messages(metadata: MetaData) -> Table:
    """Messages whose handling failed, and those of the same key behind them, oldest id first."""
    return Table(
        "parked_messages",
        metadata,
        Column("id", BigInteger, Identity(always=True), primary_key=True),
        Column("message_id", Uuid, nullable=False),
        Column("topic", Text, nullable=False),
        Column("partition", Integer, nullable=False),
        Column("offset", BigInteger, nullable=False),
        Column("key", Text, nullable=False),
        Column("headers", JSONB, nullable=False),
        Column("payload", LargeBinary),
        Column("attempts", Integer, nullable=False),
        _timestamp("next_at"),
        Column("error", Text),
        _timestamp("parked_at", default=True),
        UniqueConstraint("message_id"),
        Index("ix_parked_messages_key_id", "key", "id"),
    )


def _dead_letters(metadata: MetaData) -> Table:
    """Messages that were given up, whole; `redriven_at` is set when one is run again."""
    return Table(
        "dead_letters",
        metadata,
        Column("id", BigInteger, Identity(always=True), primary_key=True),
        Column("message_id", Uuid),
        Column("topic", Text, nullable=False),
        Column("partition", Integer, nullable=False),
        Column("offset", BigInteger, nullable=False),
        Column("key", LargeBinary),
        Column("headers", JSONB, nullable=False),
        Column("payload", LargeBinary),
        Column("reason", Text, nullable=False),
        Column("error", Text, nullable=False),
        Column("attempts", Integer, nullable=False),
        _timestamp("died_at", default=True),
        _timestamp("redriven_at", nullable=True),
        UniqueConstraint("topic", "partition", "offset"),
    )
