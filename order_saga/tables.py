"""The orchestrator's tables: sagas, and the journal of what was decided and why."""

from sqlalchemy import (
    CheckConstraint,
    Column,
    DateTime,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
)
from sqlalchemy.dialects.postgresql import JSONB

from libs.outbox.tables import new_metadata

metadata = new_metadata(consumer=True)

sagas = Table(
    "sagas",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("type", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("business_key", Uuid, nullable=False, comment="the order's id"),
    Column("partition", Integer, nullable=False, comment="of every topic of its order"),
    Column("status", Text, nullable=False),
    Column("parked_at", DateTime(timezone=True)),
    Column("step", Text, nullable=False, comment="in flight; after the end where the way forward stopped"),
    Column("attempt", Integer, nullable=False),
    Column("awaiting", Uuid, comment="the id of the command sent last"),
    Column("data", JSONB, nullable=False),
    Column("deadline", DateTime(timezone=True), comment="the earliest moment at which something is due"),
    Column("revision", Integer, nullable=False),
    Column("reason_code", Text),
    Column("started_at", DateTime(timezone=True), nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False),
    Column("finished_at", DateTime(timezone=True)),
    # The key comes first: messages name their order, and all its sagas are looked up by it.
    UniqueConstraint("business_key", "type"),
    CheckConstraint("status IN ('running', 'compensating', 'completed', 'compensated')", name="status"),
    CheckConstraint(
        "(status IN ('running', 'compensating')) = (deadline IS NOT NULL)", name="in_flight_has_deadline"
    ),
    CheckConstraint(
        "(status IN ('running', 'compensating')) = (finished_at IS NULL)", name="ended_has_finished_at"
    ),
    CheckConstraint("parked_at IS NULL OR deadline IS NOT NULL", name="only_unfinished_is_parked"),
    CheckConstraint("type <> 'create_order' OR id = business_key", name="creates_its_own_order"),
    CheckConstraint("revision >= 1 AND version >= 1 AND attempt >= 0", name="counts"),
    # What the update of a saga under way changes is in no index, so that it is heap-only (HOT).
    Index("ix_sagas_under_way", "partition", postgresql_where="finished_at IS NULL"),
    postgresql_with={"fillfactor": "70"},
)

saga_journal = Table(
    "saga_journal",
    metadata,
    Column("saga_id", Uuid, primary_key=True),
    Column("revision", Integer, primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("kind", Text, nullable=False),
    Column("step", Text),
    Column("attempt", Integer),
    Column("message_id", Uuid),
    Column("detail", JSONB, nullable=False),
)
