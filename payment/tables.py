"""The payment service's tables.

The books, for whoever reads them with SQL of their own:

- `ledger_entries` is double entry: each transaction has two entries whose amounts add up to zero, so the table
  does too. `amount_minor` is how the balance of `account` changes. Accounts are `wallet:<user id>` (what a
  customer has), `revenue` (what was earned), `card_clearing` (what the card provider owes us, as a negative
  balance) and `deposits` (what came in from outside, likewise). Kinds are `deposit`, `capture` and `refund`; a void
  of something captured is a refund too. What an order brought is the sum of its entries in `revenue`.
- `wallets.balance_minor` is the sum of the entries of the wallet's account.
- `payments` has a row per order for ever: it answers repeated commands, whatever the inbox has forgotten. A refund
  that came before its payment leaves a tombstone: cancelled, without payment, user and method.
- `payment_attempts` has a row per card payment: what is due at the provider, and the headers of those who wait.
"""

from typing import Final

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from libs.outbox.tables import new_metadata

MAX_MINOR: Final = 9_007_199_254_740_991
"""2^53 - 1: exact in every JSON reader."""

metadata = new_metadata(consumer=True)


def _moment(name: str, *, nullable: bool = False, now: bool = False) -> Column[object]:
    return Column(
        name,
        DateTime(timezone=True),
        nullable=nullable,
        server_default=func.clock_timestamp() if now else None,
    )


def _currency() -> CheckConstraint:
    return CheckConstraint("currency ~ '^[A-Z]{3}$'", name="currency")


wallets = Table(
    "wallets",
    metadata,
    Column("user_id", Uuid, primary_key=True),
    Column("currency", Text, nullable=False),
    Column("balance_minor", BigInteger, nullable=False),
    _moment("created_at", now=True),
    _moment("updated_at", now=True),
    _currency(),
    CheckConstraint(f"balance_minor BETWEEN 0 AND {MAX_MINOR}", name="balance"),
)

payment_methods = Table(
    "payment_methods",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("user_id", Uuid, nullable=False),
    Column("kind", Text, nullable=False),
    Column("token", Text, comment="the card provider's name for a card; never a card number"),
    Column("label", Text, nullable=False),
    _moment("created_at", now=True),
    UniqueConstraint("user_id", "token"),
    CheckConstraint("kind IN ('wallet', 'card')", name="kind"),
    CheckConstraint("(kind = 'card') = (token IS NOT NULL)", name="token_of_card"),
    CheckConstraint("token ~ '^tok_[A-Za-z0-9_]{1,64}$' AND token !~ '[0-9]{12}'", name="token"),
    CheckConstraint("char_length(label) BETWEEN 1 AND 60 AND label !~ '[0-9]{12}'", name="label"),
)

payments = Table(
    "payments",
    metadata,
    Column("order_id", Uuid, primary_key=True),
    Column("payment_id", Uuid),
    Column("user_id", Uuid),
    Column("method_id", Uuid, comment="as it was asked for; it may be nobody's"),
    Column("method_kind", Text),
    Column("amount_minor", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("provider_reference", Text),
    Column("reason_code", Text),
    Column("reason", Text),
    _moment("captured_at", nullable=True),
    _moment("refunded_at", nullable=True),
    _moment("created_at", now=True),
    _moment("updated_at", now=True),
    _currency(),
    CheckConstraint(f"amount_minor BETWEEN 0 AND {MAX_MINOR}", name="amount"),
    CheckConstraint("status IN ('pending', 'completed', 'failed', 'refunded', 'cancelled')", name="status"),
    CheckConstraint("method_kind IN ('wallet', 'card')", name="method_kind"),
    CheckConstraint(
        "num_nonnulls(payment_id, user_id, method_id) IN (0, 3)"
        " AND (payment_id IS NOT NULL OR status = 'cancelled')",
        name="tombstone",
    ),
    CheckConstraint("(status = 'failed') = (reason_code IS NOT NULL)", name="reason_code"),
    CheckConstraint("(reason_code IS NULL) = (reason IS NULL)", name="reason"),
    CheckConstraint("refunded_at IS NULL OR captured_at IS NOT NULL", name="refunded_after_capture"),
    CheckConstraint(
        "CASE status WHEN 'pending' THEN captured_at IS NULL"
        " WHEN 'completed' THEN captured_at IS NOT NULL AND refunded_at IS NULL"
        " WHEN 'refunded' THEN refunded_at IS NOT NULL ELSE true END",
        name="status_tells_money",
    ),
)

payment_attempts = Table(
    "payment_attempts",
    metadata,
    Column("order_id", Uuid, ForeignKey("payments.order_id"), primary_key=True),
    Column("kind", Text, nullable=False, comment="what is due at the provider, or was last"),
    Column("state", Text, nullable=False),
    Column("token", Text, comment="kept while a charge may have to be sent"),
    _moment("first_sent_at", nullable=True),
    _moment("next_at"),
    Column("attempts", Integer, nullable=False, comment="calls since the charge, or its undo, began"),
    _moment("claimed_until", nullable=True),
    Column("last_error", Text),
    Column("waiters", JSONB, nullable=False, comment="the headers that the answers will carry"),
    _moment("created_at", now=True),
    _moment("updated_at", now=True),
    CheckConstraint("kind IN ('charge', 'query', 'void', 'refund')", name="kind"),
    CheckConstraint("state IN ('due', 'parked', 'done')", name="state"),
    CheckConstraint("attempts >= 0", name="attempts"),
    CheckConstraint("jsonb_typeof(waiters) = 'array'", name="waiters"),
    CheckConstraint("kind <> 'charge' OR state = 'done' OR token IS NOT NULL", name="charge_has_token"),
    CheckConstraint(
        "state <> 'done' OR (token IS NULL AND claimed_until IS NULL AND waiters = '[]')", name="done_is_done"
    ),
    Index("ix_payment_attempts_next_at", "next_at", postgresql_where=text("state = 'due'")),
    Index("ix_payment_attempts_parked", "order_id", postgresql_where=text("state = 'parked'")),
)

ledger_entries = Table(
    "ledger_entries",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("transaction_id", Uuid, nullable=False, comment="the message or the deposit that caused it"),
    Column("order_id", Uuid),
    Column("account", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    _moment("at"),
    _currency(),
    CheckConstraint("kind IN ('deposit', 'capture', 'refund')", name="kind"),
    CheckConstraint("(kind = 'deposit') = (order_id IS NULL)", name="order_id"),
    CheckConstraint("amount_minor <> 0", name="amount"),
    CheckConstraint("account ~ '^(wallet:[0-9a-f-]{36}|revenue|card_clearing|deposits)$'", name="account"),
    Index(
        "uq_ledger_entries_order_id_kind_account",
        "order_id",
        "kind",
        "account",
        unique=True,
        postgresql_where=text("order_id IS NOT NULL"),
    ),
    Index(
        "ix_ledger_entries_account_id",
        "account",
        "id",
        postgresql_where=text("starts_with(account, 'wallet:')"),
    ),
    comment="append-only; one statement inserts all entries of a transaction, which must balance",
)

deposits = Table(
    "deposits",
    metadata,
    Column("user_id", Uuid, primary_key=True),
    Column("idempotency_key", Text, primary_key=True),
    Column("deposit_id", Uuid, nullable=False, comment="the ledger transaction"),
    Column("amount_minor", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    Column("balance_minor", BigInteger, nullable=False, comment="the wallet's, right after it"),
    _moment("made_at"),
    UniqueConstraint("deposit_id"),
    _currency(),
    CheckConstraint("amount_minor > 0", name="amount"),
    CheckConstraint("char_length(idempotency_key) BETWEEN 1 AND 255", name="key_length"),
)
