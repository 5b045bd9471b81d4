"""First tables"""

from alembic import op

from migrations.messaging import create_v1, drop_v1

revision: str = "0001"
down_revision: str | None = None
branch_labels: str | None = None
depends_on: str | None = None

# casefold and pg_unicode_fast fold case by Unicode's rules whatever the database's locale is.
_TABLES = """
CREATE TABLE categories (
    id uuid NOT NULL,
    name text NOT NULL,
    folded text NOT NULL GENERATED ALWAYS AS (casefold(name COLLATE pg_unicode_fast)) STORED,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT pk_categories PRIMARY KEY (id),
    CONSTRAINT ck_categories_name_length CHECK (char_length(name) BETWEEN 1 AND 200),
    CONSTRAINT ck_categories_name_is_trimmed CHECK (name = btrim(name)),
    CONSTRAINT ck_categories_name_is_normalised CHECK (name IS NFC NORMALIZED)
);
CREATE UNIQUE INDEX uq_categories_folded ON categories (folded);

CREATE TABLE products (
    id uuid NOT NULL,
    name text NOT NULL,
    folded text NOT NULL GENERATED ALWAYS AS (casefold(name COLLATE pg_unicode_fast)) STORED,
    category_id uuid NOT NULL,
    price_minor bigint NOT NULL,
    currency text NOT NULL,
    active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT pk_products PRIMARY KEY (id),
    CONSTRAINT fk_products_category_id FOREIGN KEY (category_id) REFERENCES categories (id),
    CONSTRAINT ck_products_name_length CHECK (char_length(name) BETWEEN 1 AND 200),
    CONSTRAINT ck_products_name_is_trimmed CHECK (name = btrim(name)),
    CONSTRAINT ck_products_name_is_normalised CHECK (name IS NFC NORMALIZED),
    CONSTRAINT ck_products_price_minor CHECK (price_minor BETWEEN 0 AND 9007199254740991),
    CONSTRAINT ck_products_currency CHECK (currency ~ '^[A-Z]{3}$')
);
CREATE INDEX ix_products_category_id ON products (category_id);
CREATE INDEX ix_products_folded_id ON products (folded, id);
CREATE INDEX ix_products_price_minor_id ON products (price_minor, id);
CREATE INDEX ix_products_created_at_id ON products (created_at, id);
"""


def upgrade() -> None:
    create_v1(consumer=True)
    op.execute(_TABLES)


def downgrade() -> None:
    op.execute("DROP TABLE products, categories")
    drop_v1(consumer=True)
