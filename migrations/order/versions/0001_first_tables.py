"""First tables"""

from alembic import op

from migrations.messaging import create_v1, drop_v1

revision: str = "0001"
down_revision: str | None = None
branch_labels: str | None = None
depends_on: str | None = None

# Orders and lines change in place; the room that the fill factors leave keeps these updates on the
# row's page (heap-only tuples).
_TABLES = """
CREATE TABLE orders (
    id uuid NOT NULL,
    user_id uuid NOT NULL,
    status text NOT NULL,
    payment_method_id uuid,
    total_minor bigint,
    currency text,
    payment_id uuid,
    reason_code text,
    reason text,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT pk_orders PRIMARY KEY (id),
    CONSTRAINT ck_orders_status CHECK (status IN ('pending', 'completed', 'cancelling', 'cancelled')),
    CONSTRAINT ck_orders_tombstone_is_cancelled CHECK (payment_method_id IS NOT NULL OR status = 'cancelled'),
    CONSTRAINT ck_orders_tombstone_is_not_charged CHECK (payment_method_id IS NOT NULL OR total_minor IS NULL),
    CONSTRAINT ck_orders_charged_whole CHECK (num_nulls(total_minor, currency, payment_id) IN (0, 3)),
    CONSTRAINT ck_orders_completed_is_charged CHECK (status <> 'completed' OR total_minor IS NOT NULL),
    CONSTRAINT ck_orders_pending_is_not_charged CHECK (status <> 'pending' OR total_minor IS NULL),
    CONSTRAINT ck_orders_total_minor CHECK (total_minor BETWEEN 0 AND 9007199254740991),
    CONSTRAINT ck_orders_currency CHECK (currency ~ '^[A-Z]{3}$'),
    CONSTRAINT ck_orders_reason_whole CHECK (num_nulls(reason_code, reason) IN (0, 2)),
    CONSTRAINT ck_orders_cancelled_has_reason
        CHECK ((status IN ('cancelling', 'cancelled')) = (reason_code IS NOT NULL))
) WITH (fillfactor = 60);
COMMENT ON COLUMN orders.payment_method_id IS 'null: cancelled before it was created';
COMMENT ON COLUMN orders.total_minor IS 'from the completion on';
COMMENT ON COLUMN orders.reason_code IS 'from the begin of the cancellation on';

CREATE TABLE order_lines (
    order_id uuid NOT NULL,
    line_no integer NOT NULL,
    product_id uuid NOT NULL,
    quantity integer NOT NULL,
    name text,
    price_minor bigint,
    CONSTRAINT pk_order_lines PRIMARY KEY (order_id, line_no),
    CONSTRAINT fk_order_lines_order_id FOREIGN KEY (order_id) REFERENCES orders (id),
    CONSTRAINT ck_order_lines_line_no CHECK (line_no BETWEEN 1 AND 50),
    CONSTRAINT ck_order_lines_quantity CHECK (quantity BETWEEN 1 AND 1000),
    CONSTRAINT ck_order_lines_priced_whole CHECK (num_nulls(name, price_minor) IN (0, 2)),
    CONSTRAINT ck_order_lines_price_minor CHECK (price_minor BETWEEN 0 AND 9007199254740991)
) WITH (fillfactor = 60);
COMMENT ON COLUMN order_lines.line_no IS 'from 1, in the customer''s order';
COMMENT ON COLUMN order_lines.name IS 'as charged, in the order''s currency';
COMMENT ON COLUMN order_lines.price_minor IS 'of one, as charged';
"""


def upgrade() -> None:
    create_v1(consumer=True)
    op.execute(_TABLES)


def downgrade() -> None:
    op.execute("DROP TABLE order_lines, orders")
    drop_v1(consumer=True)
