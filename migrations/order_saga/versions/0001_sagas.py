"""Sagas and their journal"""

from alembic import op

from migrations.messaging import create_v1, drop_v1

revision: str = "0001"
down_revision: str | None = None
branch_labels: str | None = None
depends_on: str | None = None

# Every answer updates its saga's row once: room on the page, and vacuum by count, not by share. What such an
# update changes is in no index, the deadline included: so it is heap-only (HOT), and writes to no index until
# the saga ends. Those under way are few (admission), so their earliest deadline is found among them.
_SAGAS = """
CREATE TABLE sagas (
    id uuid NOT NULL,
    type text NOT NULL,
    version integer NOT NULL,
    business_key uuid NOT NULL,
    partition integer NOT NULL,
    status text NOT NULL,
    parked_at timestamptz,
    step text NOT NULL,
    attempt integer NOT NULL,
    awaiting uuid,
    data jsonb NOT NULL,
    deadline timestamptz,
    revision integer NOT NULL,
    reason_code text,
    started_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    finished_at timestamptz,
    CONSTRAINT pk_sagas PRIMARY KEY (id),
    CONSTRAINT uq_sagas_business_key_type UNIQUE (business_key, type),
    CONSTRAINT ck_sagas_status CHECK (status IN ('running', 'compensating', 'completed', 'compensated')),
    CONSTRAINT ck_sagas_in_flight_has_deadline
        CHECK ((status IN ('running', 'compensating')) = (deadline IS NOT NULL)),
    CONSTRAINT ck_sagas_ended_has_finished_at
        CHECK ((status IN ('running', 'compensating')) = (finished_at IS NULL)),
    CONSTRAINT ck_sagas_only_unfinished_is_parked CHECK (parked_at IS NULL OR deadline IS NOT NULL),
    CONSTRAINT ck_sagas_creates_its_own_order CHECK (type <> 'create_order' OR id = business_key),
    CONSTRAINT ck_sagas_counts CHECK (revision >= 1 AND version >= 1 AND attempt >= 0)
) WITH (
    fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000,
    autovacuum_analyze_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 1
);
CREATE INDEX ix_sagas_under_way ON sagas (partition) WHERE finished_at IS NULL;
COMMENT ON COLUMN sagas.business_key IS 'the order''s id';
COMMENT ON COLUMN sagas.partition IS 'of every topic of its order';
COMMENT ON COLUMN sagas.step IS 'in flight; after the end where the way forward stopped';
COMMENT ON COLUMN sagas.awaiting IS 'the id of the command sent last';
COMMENT ON COLUMN sagas.deadline IS 'the earliest moment at which something is due';

CREATE TABLE saga_journal (
    saga_id uuid NOT NULL,
    revision integer NOT NULL,
    seq integer NOT NULL,
    at timestamptz NOT NULL,
    kind text NOT NULL,
    step text,
    attempt integer,
    message_id uuid,
    detail jsonb NOT NULL,
    CONSTRAINT pk_saga_journal PRIMARY KEY (saga_id, revision, seq)
);
"""

# The runtime role has the owner's name with another ending: prefixes keep systems on one server apart.
_APPEND_ONLY = """
DO $$
DECLARE
    runtime text := regexp_replace(current_user, '_owner$', '') || '_runtime';
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = runtime) THEN
        EXECUTE format('REVOKE UPDATE, DELETE, TRUNCATE ON saga_journal FROM %I', runtime);
        EXECUTE format('REVOKE DELETE, TRUNCATE ON sagas FROM %I', runtime);
    END IF;
END
$$
"""


def upgrade() -> None:
    create_v1(consumer=True)
    op.execute(_SAGAS)
    op.execute(_APPEND_ONLY)


def downgrade() -> None:
    op.execute("DROP TABLE saga_journal, sagas")
    drop_v1(consumer=True)
