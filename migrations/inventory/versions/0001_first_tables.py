"""First tables"""

from alembic import op

from migrations.messaging import create_v1, drop_v1

revision: str = "0001"
down_revision: str | None = None
branch_labels: str | None = None
depends_on: str | None = None

# Rows of stock, holds and reservations change their state in place; the room that the fill factors
# leave keeps these updates on the row's page (heap-only tuples).
_TABLES = """
CREATE TABLE stock (
    product_id uuid NOT NULL,
    on_hand bigint NOT NULL DEFAULT 0,
    reserved bigint NOT NULL DEFAULT 0,
    sold bigint NOT NULL DEFAULT 0,
    CONSTRAINT pk_stock PRIMARY KEY (product_id),
    CONSTRAINT ck_stock_reserved CHECK (reserved >= 0),
    CONSTRAINT ck_stock_on_hand_covers_reserved CHECK (on_hand >= reserved),
    CONSTRAINT ck_stock_sold CHECK (sold >= 0)
) WITH (fillfactor = 50);
COMMENT ON COLUMN stock.on_hand IS 'includes what is reserved';

CREATE TABLE holds (
    order_id uuid NOT NULL,
    state text NOT NULL,
    reason text,
    detail jsonb,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT pk_holds PRIMARY KEY (order_id),
    CONSTRAINT ck_holds_state CHECK (state IN ('held', 'released', 'sold', 'refused')),
    CONSTRAINT ck_holds_refused_has_reason CHECK ((state = 'refused') = (reason IS NOT NULL)),
    CONSTRAINT ck_holds_refused_has_detail CHECK ((state = 'refused') = (detail IS NOT NULL)),
    CONSTRAINT ck_holds_detail_names_lines CHECK (jsonb_typeof(detail) = 'array' AND detail <> '[]')
) WITH (fillfactor = 70);
COMMENT ON COLUMN holds.reason IS 'why it was refused, for a person';
COMMENT ON COLUMN holds.detail IS 'the shortages of a refused order, as they were answered';

CREATE TABLE reservations (
    order_id uuid NOT NULL,
    product_id uuid NOT NULL,
    quantity bigint NOT NULL,
    state text NOT NULL,
    CONSTRAINT pk_reservations PRIMARY KEY (order_id, product_id),
    CONSTRAINT fk_reservations_order_id FOREIGN KEY (order_id) REFERENCES holds (order_id),
    CONSTRAINT ck_reservations_quantity CHECK (quantity BETWEEN 1 AND 50000),
    CONSTRAINT ck_reservations_state CHECK (state IN ('held', 'released', 'sold'))
) WITH (fillfactor = 70);
COMMENT ON COLUMN reservations.state IS 'its hold''s';
"""


def upgrade() -> None:
    create_v1(consumer=True)
    op.execute(_TABLES)


def downgrade() -> None:
    op.execute("DROP TABLE reservations, holds, stock")
    drop_v1(consumer=True)
