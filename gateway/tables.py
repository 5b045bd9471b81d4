"""The gateway's tables: accounts, tokens, keys, and the orders that it has answered for."""

from sqlalchemy import (
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
)
from sqlalchemy.dialects.postgresql import JSONB

from libs.outbox.tables import new_metadata

metadata = new_metadata(consumer=False)


def _moment(name: str, *, nullable: bool = False, now: bool = False) -> Column[object]:
    return Column(
        name,
        DateTime(timezone=True),
        nullable=nullable,
        server_default=func.clock_timestamp() if now else None,
    )


users = Table(
    "users",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("email", Text, nullable=False, comment="lower case, the form that is unique"),
    Column("name", Text, nullable=False),
    Column("phone", Text),
    Column("locale", Text),
    Column("role", Text, nullable=False),
    Column("password_hash", Text, nullable=False),
    _moment("created_at", now=True),
    _moment("updated_at", now=True),
    UniqueConstraint("email"),
    CheckConstraint("role IN ('customer', 'operator', 'admin')", name="role"),
    CheckConstraint("char_length(email) BETWEEN 3 AND 254", name="email_length"),
    CheckConstraint("char_length(name) BETWEEN 1 AND 200", name="name_length"),
    CheckConstraint("password_hash LIKE '$argon2id$%'", name="password_is_hashed"),
)

refresh_tokens = Table(
    "refresh_tokens",
    metadata,
    Column("token_hash", LargeBinary, primary_key=True, comment="SHA-256 of the opaque token"),
    Column("family_id", Uuid, nullable=False, comment="one per login; the sid of its access tokens"),
    Column("user_id", Uuid, ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    _moment("created_at", now=True),
    _moment("expires_at"),
    _moment("used_at", nullable=True),
    _moment("revoked_at", nullable=True),
    CheckConstraint("octet_length(token_hash) = 32", name="hash_length"),
    CheckConstraint("expires_at > created_at", name="expires_later"),
    Index("ix_refresh_tokens_family_id", "family_id"),
    Index("ix_refresh_tokens_user_id", "user_id"),
    Index("ix_refresh_tokens_expires_at", "expires_at"),
)

signing_keys = Table(
    "signing_keys",
    metadata,
    Column("kid", Text, primary_key=True),
    Column("public_key", LargeBinary, nullable=False, comment="Ed25519, raw"),
    Column("private_key", LargeBinary, nullable=False, comment="AES-256-GCM: nonce, then ciphertext"),
    _moment("created_at", now=True),
    _moment("retires_at", nullable=True),
    CheckConstraint("octet_length(public_key) = 32", name="public_key_length"),
    CheckConstraint("octet_length(private_key) = 60", name="private_key_is_sealed"),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("user_id", Uuid, primary_key=True),
    Column("route", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("fingerprint", LargeBinary, nullable=False, comment="SHA-256 of the request's body"),
    Column("order_id", Uuid, nullable=False, comment="what the stored answer is about"),
    _moment("created_at", now=True),
    CheckConstraint("char_length(key) BETWEEN 1 AND 255", name="key_length"),
    CheckConstraint("octet_length(fingerprint) = 32", name="fingerprint_length"),
    Index("ix_idempotency_keys_created_at", "created_at", postgresql_using="brin"),
)

order_intents = Table(
    "order_intents",
    metadata,
    Column("order_id", Uuid, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("user_id", Uuid, nullable=False),
    Column("message_id", Uuid, nullable=False),
    Column("body", JSONB, nullable=False, comment="what the customer asked for"),
    Column("sends", Integer, nullable=False, server_default="1"),
    _moment("created_at", now=True),
    _moment("sent_at", now=True),
    CheckConstraint("kind IN ('create', 'cancel')", name="kind"),
    CheckConstraint("sends >= 1", name="sends"),
    Index("ix_order_intents_user_id_order_id", "user_id", "order_id"),
)
