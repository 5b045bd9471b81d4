"""First tables"""

from alembic import op

from migrations.messaging import create_v1, drop_v1

revision: str = "0001"
down_revision: str | None = None
branch_labels: str | None = None
depends_on: str | None = None

_TABLES = """
CREATE TABLE wallets (
    user_id uuid NOT NULL,
    currency text NOT NULL,
    balance_minor bigint NOT NULL,
    created_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    updated_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT pk_wallets PRIMARY KEY (user_id),
    CONSTRAINT ck_wallets_currency CHECK (currency ~ '^[A-Z]{3}$'),
    CONSTRAINT ck_wallets_balance CHECK (balance_minor BETWEEN 0 AND 9007199254740991)
) WITH (fillfactor = 80);

CREATE TABLE payment_methods (
    id uuid NOT NULL,
    user_id uuid NOT NULL,
    kind text NOT NULL,
    token text,
    label text NOT NULL,
    created_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT pk_payment_methods PRIMARY KEY (id),
    CONSTRAINT uq_payment_methods_user_id_token UNIQUE (user_id, token),
    CONSTRAINT ck_payment_methods_kind CHECK (kind IN ('wallet', 'card')),
    CONSTRAINT ck_payment_methods_token_of_card CHECK ((kind = 'card') = (token IS NOT NULL)),
    CONSTRAINT ck_payment_methods_token CHECK (token ~ '^tok_[A-Za-z0-9_]{1,64}$' AND token !~ '[0-9]{12}'),
    CONSTRAINT ck_payment_methods_label CHECK (char_length(label) BETWEEN 1 AND 60 AND label !~ '[0-9]{12}')
);
COMMENT ON COLUMN payment_methods.token IS 'the card provider''s name for a card; never a card number';

CREATE TABLE payments (
    order_id uuid NOT NULL,
    payment_id uuid,
    user_id uuid,
    method_id uuid,
    method_kind text,
    amount_minor bigint NOT NULL,
    currency text NOT NULL,
    status text NOT NULL,
    provider_reference text,
    reason_code text,
    reason text,
    captured_at timestamptz,
    refunded_at timestamptz,
    created_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    updated_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT pk_payments PRIMARY KEY (order_id),
    CONSTRAINT ck_payments_currency CHECK (currency ~ '^[A-Z]{3}$'),
    CONSTRAINT ck_payments_amount CHECK (amount_minor BETWEEN 0 AND 9007199254740991),
    CONSTRAINT ck_payments_status CHECK (
        status IN ('pending', 'completed', 'failed', 'refunded', 'cancelled')
    ),
    CONSTRAINT ck_payments_method_kind CHECK (method_kind IN ('wallet', 'card')),
    CONSTRAINT ck_payments_tombstone CHECK (
        num_nonnulls(payment_id, user_id, method_id) IN (0, 3)
        AND (payment_id IS NOT NULL OR status = 'cancelled')
    ),
    CONSTRAINT ck_payments_reason_code CHECK ((status = 'failed') = (reason_code IS NOT NULL)),
    CONSTRAINT ck_payments_reason CHECK ((reason_code IS NULL) = (reason IS NULL)),
    CONSTRAINT ck_payments_refunded_after_capture CHECK (refunded_at IS NULL OR captured_at IS NOT NULL),
    CONSTRAINT ck_payments_status_tells_money CHECK (
        CASE status
        WHEN 'pending' THEN captured_at IS NULL
        WHEN 'completed' THEN captured_at IS NOT NULL AND refunded_at IS NULL
        WHEN 'refunded' THEN refunded_at IS NOT NULL
        ELSE true END
    )
);
COMMENT ON COLUMN payments.method_id IS 'as it was asked for; it may be nobody''s';

CREATE TABLE payment_attempts (
    order_id uuid NOT NULL,
    kind text NOT NULL,
    state text NOT NULL,
    token text,
    first_sent_at timestamptz,
    next_at timestamptz NOT NULL,
    attempts integer NOT NULL,
    claimed_until timestamptz,
    last_error text,
    waiters jsonb NOT NULL,
    created_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    updated_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT pk_payment_attempts PRIMARY KEY (order_id),
    CONSTRAINT ck_payment_attempts_kind CHECK (kind IN ('charge', 'query', 'void', 'refund')),
    CONSTRAINT ck_payment_attempts_state CHECK (state IN ('due', 'parked', 'done')),
    CONSTRAINT ck_payment_attempts_attempts CHECK (attempts >= 0),
    CONSTRAINT ck_payment_attempts_waiters CHECK (jsonb_typeof(waiters) = 'array'),
    CONSTRAINT ck_payment_attempts_charge_has_token CHECK (
        kind <> 'charge' OR state = 'done' OR token IS NOT NULL
    ),
    CONSTRAINT ck_payment_attempts_done_is_done CHECK (
        state <> 'done' OR (token IS NULL AND claimed_until IS NULL AND waiters = '[]')
    ),
    CONSTRAINT fk_payment_attempts_order_id FOREIGN KEY (order_id) REFERENCES payments (order_id)
) WITH (fillfactor = 80);
CREATE INDEX ix_payment_attempts_next_at ON payment_attempts (next_at) WHERE state = 'due';
CREATE INDEX ix_payment_attempts_parked ON payment_attempts (order_id) WHERE state = 'parked';
COMMENT ON COLUMN payment_attempts.kind IS 'what is due at the provider, or was last';
COMMENT ON COLUMN payment_attempts.token IS 'kept while a charge may have to be sent';
COMMENT ON COLUMN payment_attempts.attempts IS 'calls since the charge, or its undo, began';
COMMENT ON COLUMN payment_attempts.waiters IS 'the headers that the answers will carry';

CREATE TABLE ledger_entries (
    id bigint GENERATED ALWAYS AS IDENTITY,
    transaction_id uuid NOT NULL,
    order_id uuid,
    account text NOT NULL,
    kind text NOT NULL,
    amount_minor bigint NOT NULL,
    currency text NOT NULL,
    at timestamptz NOT NULL,
    CONSTRAINT pk_ledger_entries PRIMARY KEY (id),
    CONSTRAINT ck_ledger_entries_currency CHECK (currency ~ '^[A-Z]{3}$'),
    CONSTRAINT ck_ledger_entries_kind CHECK (kind IN ('deposit', 'capture', 'refund')),
    CONSTRAINT ck_ledger_entries_order_id CHECK ((kind = 'deposit') = (order_id IS NULL)),
    CONSTRAINT ck_ledger_entries_amount CHECK (amount_minor <> 0),
    CONSTRAINT ck_ledger_entries_account CHECK (
        account ~ '^(wallet:[0-9a-f-]{36}|revenue|card_clearing|deposits)$'
    )
);
CREATE INDEX ix_ledger_entries_account_id ON ledger_entries (account, id) WHERE starts_with(account, 'wallet:');
CREATE UNIQUE INDEX uq_ledger_entries_order_id_kind_account ON ledger_entries (order_id, kind, account) WHERE order_id IS NOT NULL;
COMMENT ON COLUMN ledger_entries.transaction_id IS 'the message or the deposit that caused it';
COMMENT ON TABLE ledger_entries IS 'append-only; one statement inserts all entries of a transaction, which must balance';

CREATE TABLE deposits (
    user_id uuid NOT NULL,
    idempotency_key text NOT NULL,
    deposit_id uuid NOT NULL,
    amount_minor bigint NOT NULL,
    currency text NOT NULL,
    balance_minor bigint NOT NULL,
    made_at timestamptz NOT NULL,
    CONSTRAINT pk_deposits PRIMARY KEY (user_id, idempotency_key),
    CONSTRAINT uq_deposits_deposit_id UNIQUE (deposit_id),
    CONSTRAINT ck_deposits_currency CHECK (currency ~ '^[A-Z]{3}$'),
    CONSTRAINT ck_deposits_amount CHECK (amount_minor > 0),
    CONSTRAINT ck_deposits_key_length CHECK (char_length(idempotency_key) BETWEEN 1 AND 255)
);
COMMENT ON COLUMN deposits.deposit_id IS 'the ledger transaction';
COMMENT ON COLUMN deposits.balance_minor IS 'the wallet''s, right after it';
"""

# The last guard of the books: a transaction that does not balance fails, whoever writes it.
_BALANCE = """
CREATE FUNCTION ledger_entries_balance() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM made GROUP BY transaction_id, currency HAVING sum(amount_minor) <> 0
    ) THEN
        RAISE EXCEPTION 'the entries of a ledger transaction do not add up to zero'
            USING ERRCODE = 'check_violation', TABLE = 'ledger_entries';
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER ledger_entries_balance AFTER INSERT ON ledger_entries
    REFERENCING NEW TABLE AS made FOR EACH STATEMENT EXECUTE FUNCTION ledger_entries_balance();
"""

# Whoever was granted rights on the table by the owner's default privileges, whatever the role is called.
_APPEND_ONLY = """
DO $$
DECLARE
    role regrole;
BEGIN
    FOR role IN
        SELECT DISTINCT grantee::regrole FROM pg_class, aclexplode(relacl)
        WHERE pg_class.oid = 'ledger_entries'::regclass AND grantee NOT IN (0, relowner)
    LOOP
        EXECUTE format('REVOKE UPDATE, DELETE, TRUNCATE ON ledger_entries FROM %s', role);
    END LOOP;
END
$$;
"""


def upgrade() -> None:
    create_v1(consumer=True)
    op.execute(_TABLES)
    op.execute(_BALANCE)
    op.execute(_APPEND_ONLY)


def downgrade() -> None:
    op.execute("DROP TABLE deposits, ledger_entries, payment_attempts, payments, payment_methods, wallets")
    op.execute("DROP FUNCTION ledger_entries_balance()")
    drop_v1(consumer=True)
