"""First tables"""

from alembic import op

from migrations.messaging import create_v1, drop_v1

revision: str = "0001"
down_revision: str | None = None
branch_labels: str | None = None
depends_on: str | None = None

_TABLES = """
CREATE TABLE users (
    id uuid NOT NULL,
    email text NOT NULL,
    name text NOT NULL,
    phone text,
    locale text,
    role text NOT NULL,
    password_hash text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT pk_users PRIMARY KEY (id),
    CONSTRAINT uq_users_email UNIQUE (email),
    CONSTRAINT ck_users_role CHECK (role IN ('customer', 'operator', 'admin')),
    CONSTRAINT ck_users_email_length CHECK (char_length(email) BETWEEN 3 AND 254),
    CONSTRAINT ck_users_name_length CHECK (char_length(name) BETWEEN 1 AND 200),
    CONSTRAINT ck_users_password_is_hashed CHECK (password_hash LIKE '$argon2id$%')
);
COMMENT ON COLUMN users.email IS 'lower case, the form that is unique';

CREATE TABLE refresh_tokens (
    token_hash bytea NOT NULL,
    family_id uuid NOT NULL,
    user_id uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz NOT NULL,
    used_at timestamptz,
    revoked_at timestamptz,
    CONSTRAINT pk_refresh_tokens PRIMARY KEY (token_hash),
    CONSTRAINT fk_refresh_tokens_user_id FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT ck_refresh_tokens_hash_length CHECK (octet_length(token_hash) = 32),
    CONSTRAINT ck_refresh_tokens_expires_later CHECK (expires_at > created_at)
);
CREATE INDEX ix_refresh_tokens_family_id ON refresh_tokens (family_id);
CREATE INDEX ix_refresh_tokens_user_id ON refresh_tokens (user_id);
CREATE INDEX ix_refresh_tokens_expires_at ON refresh_tokens (expires_at);
COMMENT ON COLUMN refresh_tokens.token_hash IS 'SHA-256 of the opaque token';
COMMENT ON COLUMN refresh_tokens.family_id IS 'one per login; the sid of its access tokens';

CREATE TABLE signing_keys (
    kid text NOT NULL,
    public_key bytea NOT NULL,
    private_key bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    retires_at timestamptz,
    CONSTRAINT pk_signing_keys PRIMARY KEY (kid),
    CONSTRAINT ck_signing_keys_public_key_length CHECK (octet_length(public_key) = 32),
    CONSTRAINT ck_signing_keys_private_key_is_sealed CHECK (octet_length(private_key) = 60)
);
COMMENT ON COLUMN signing_keys.public_key IS 'Ed25519, raw';
COMMENT ON COLUMN signing_keys.private_key IS 'AES-256-GCM: nonce, then ciphertext';

CREATE TABLE idempotency_keys (
    user_id uuid NOT NULL,
    route text NOT NULL,
    key text NOT NULL,
    fingerprint bytea NOT NULL,
    order_id uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT pk_idempotency_keys PRIMARY KEY (user_id, route, key),
    CONSTRAINT ck_idempotency_keys_key_length CHECK (char_length(key) BETWEEN 1 AND 255),
    CONSTRAINT ck_idempotency_keys_fingerprint_length CHECK (octet_length(fingerprint) = 32)
);
CREATE INDEX ix_idempotency_keys_created_at ON idempotency_keys USING brin (created_at);
COMMENT ON COLUMN idempotency_keys.fingerprint IS 'SHA-256 of the request''s body';
COMMENT ON COLUMN idempotency_keys.order_id IS 'what the stored answer is about';

CREATE TABLE order_intents (
    order_id uuid NOT NULL,
    kind text NOT NULL,
    user_id uuid NOT NULL,
    message_id uuid NOT NULL,
    body jsonb NOT NULL,
    sends integer NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    sent_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT pk_order_intents PRIMARY KEY (order_id, kind),
    CONSTRAINT ck_order_intents_kind CHECK (kind IN ('create', 'cancel')),
    CONSTRAINT ck_order_intents_sends CHECK (sends >= 1)
) WITH (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
    autovacuum_vacuum_cost_delay = 1
);
CREATE INDEX ix_order_intents_user_id_order_id ON order_intents (user_id, order_id);
COMMENT ON COLUMN order_intents.body IS 'what the customer asked for';
"""


def upgrade() -> None:
    create_v1(consumer=False)
    op.execute(_TABLES)


def downgrade() -> None:
    op.execute("DROP TABLE order_intents, idempotency_keys, signing_keys, refresh_tokens, users")
    drop_v1(consumer=False)
