"""The tables that every database has, as migrations create them; a change is a new function here.

The inbox is partitioned by the time inside the UUIDv7 message ids (RFC 9562, section 5.7), a day
each. Its partitions are made and dropped by `inbox_maintain()`, which runs with its owner's
rights because services have none to create tables.
"""

from collections.abc import Mapping, Sequence

from alembic import op

_OUTBOX = """
CREATE TABLE outbox (
    id bigint GENERATED ALWAYS AS IDENTITY,
    message_id uuid NOT NULL,
    topic text NOT NULL,
    key text NOT NULL,
    key_hash integer NOT NULL,
    type text NOT NULL,
    headers jsonb NOT NULL,
    payload bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT pk_outbox PRIMARY KEY (id),
    CONSTRAINT ck_outbox_payload_size CHECK (octet_length(payload) <= 900000)
) WITH (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
    autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 100000,
    autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 100000,
    autovacuum_vacuum_cost_delay = 1
)
"""

_INBOX = """
CREATE TABLE inbox (
    message_id uuid NOT NULL,
    received_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT pk_inbox PRIMARY KEY (message_id)
) PARTITION BY RANGE (message_id);
CREATE TABLE inbox_default PARTITION OF inbox DEFAULT;

CREATE FUNCTION inbox_bound(day date) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT (substr(hex, 1, 8) || '-' || substr(hex, 9, 4) || '-0000-0000-000000000000')::uuid
    FROM (SELECT lpad(to_hex((extract(epoch FROM day) * 1000)::bigint), 12, '0') AS hex) AS time
$$;

CREATE FUNCTION inbox_maintain() RETURNS integer LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp AS $$
DECLARE
    today date := (clock_timestamp() AT TIME ZONE 'UTC')::date;
    day date;
    name text;
    made integer := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('inbox_maintain'));
    FOR day IN SELECT today + n FROM generate_series(-1, 2) AS n LOOP
        name := 'inbox_' || to_char(day, 'YYYYMMDD');
        IF to_regclass(name) IS NULL THEN
            EXECUTE format('CREATE TABLE %I PARTITION OF inbox FOR VALUES FROM (%L) TO (%L)',
                           name, inbox_bound(day), inbox_bound(day + 1));
            made := made + 1;
        END IF;
    END LOOP;
    FOR name IN
        SELECT relname FROM pg_class JOIN pg_inherits ON inhrelid = pg_class.oid
        WHERE inhparent = 'inbox'::regclass AND relname ~ '^inbox_[0-9]{8}$'
          AND relname < 'inbox_' || to_char(today - 8, 'YYYYMMDD')
    LOOP
        EXECUTE format('DROP TABLE %I', name);
    END LOOP;
    DELETE FROM inbox_default WHERE received_at < clock_timestamp() - interval '8 days';
    RETURN made;
END
$$;
SELECT inbox_maintain();
"""

_CONSUMER = """
CREATE TABLE consumer_offsets (
    topic text NOT NULL,
    partition integer NOT NULL,
    next_offset bigint NOT NULL,
    last_message_id uuid,
    caught_up_at timestamptz,
    CONSTRAINT pk_consumer_offsets PRIMARY KEY (topic, partition)
) WITH (fillfactor = 50);

CREATE TABLE parked_messages (
    id bigint GENERATED ALWAYS AS IDENTITY,
    message_id uuid NOT NULL,
    topic text NOT NULL,
    partition integer NOT NULL,
    "offset" bigint NOT NULL,
    key text NOT NULL,
    headers jsonb NOT NULL,
    payload bytea,
    attempts integer NOT NULL,
    next_at timestamptz NOT NULL,
    error text,
    parked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT pk_parked_messages PRIMARY KEY (id),
    CONSTRAINT uq_parked_messages_message_id UNIQUE (message_id)
);
CREATE INDEX ix_parked_messages_key_id ON parked_messages (key, id);

CREATE TABLE dead_letters (
    id bigint GENERATED ALWAYS AS IDENTITY,
    message_id uuid,
    topic text NOT NULL,
    partition integer NOT NULL,
    "offset" bigint NOT NULL,
    key bytea,
    headers jsonb NOT NULL,
    payload bytea,
    reason text NOT NULL,
    error text NOT NULL,
    attempts integer NOT NULL,
    died_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    redriven_at timestamptz,
    CONSTRAINT pk_dead_letters PRIMARY KEY (id),
    CONSTRAINT uq_dead_letters_topic_partition_offset UNIQUE (topic, partition, "offset")
);
"""


def create_v1(*, consumer: bool) -> None:
    """Create the outbox, and the inbox, offsets, parked and dead messages of a service that consumes."""
    op.execute(_OUTBOX)
    if consumer:
        op.execute(_INBOX)
        op.execute(_CONSUMER)


def unanalyze(documents: Mapping[str, Sequence[str]]) -> None:
    """Gather no statistics on a service's columns, by table, that are never searched by, nor on the outbox's.

    Comparing thousands of documents with each other is most of what ANALYZE costs, and a young
    database is analysed every minute.
    """
    _statistics(documents, "0")


def analyze_again(documents: Mapping[str, Sequence[str]]) -> None:
    """Undo `unanalyze`."""
    _statistics(documents, "DEFAULT")


def _statistics(documents: Mapping[str, Sequence[str]], target: str) -> None:
    for table, columns in {"outbox": ("headers", "payload"), **documents}.items():
        altered = ", ".join(f"ALTER {name} SET STATISTICS {target}" for name in columns)
        op.execute(f"ALTER TABLE {table} {altered}")


def drop_v1(*, consumer: bool) -> None:
    """Undo `create_v1`."""
    if consumer:
        op.execute("DROP TABLE dead_letters, parked_messages, consumer_offsets, inbox")
        op.execute("DROP FUNCTION inbox_maintain(), inbox_bound(date)")
    op.execute("DROP TABLE outbox")
