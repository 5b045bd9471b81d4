"""The statements of the batch transaction that every service shares: inbox, outbox, offsets, parked and dead messages."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Final, TypeAlias

import orjson
from psycopg.types.json import Jsonb

from libs.contracts.values import MessageId
from libs.crash_points import reach
from libs.messaging.codec import OutboxRow, raw_headers, readable_headers
from libs.messaging.record import Record, TopicPartition
from libs.outbox.transaction import Result, Transaction
from libs.outbox.writers import SOMEBODY_ALONE

PUT: Final = f"""
    INSERT INTO outbox (message_id, topic, key, key_hash, type, headers, payload)
    SELECT message_id, topic, key, key_hash, type, headers::jsonb, payload
    FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::bigint[], %s::text[], %s::text[], %s::bytea[])
         WITH ORDINALITY AS message (message_id, topic, key, key_hash, type, headers, payload, n)
    ORDER BY n
    RETURNING id, (SELECT {SOMEBODY_ALONE})
"""  # noqa: S608 - a constant
_MOVED: Final = """
    moved AS (
        UPDATE consumer_offsets AS mine
        SET next_offset = move.next_offset, last_message_id = move.last_message_id,
            caught_up_at = greatest(mine.caught_up_at, move.caught_up_at)
        FROM unnest(%s::text[], %s::bigint[], %s::bigint[], %s::bigint[], %s::uuid[], %s::timestamptz[])
             AS move (topic, partition, expected, next_offset, last_message_id, caught_up_at)
        WHERE mine.topic = move.topic AND mine.partition = move.partition AND mine.next_offset = move.expected
        RETURNING 1
    )"""
ADVANCE: Final = f"WITH {_MOVED} SELECT clock_timestamp(), (SELECT count(*) FROM moved)"  # noqa: S608 - a constant
# One statement, whose parts need not see each other's work: what matters is that the load is a later one, which sees
# everything that was committed while these waited for another owner.
TAKE: Final = f"""WITH {_MOVED}, admitted AS (
        INSERT INTO inbox (message_id) SELECT unnest(%s::uuid[]) ON CONFLICT DO NOTHING RETURNING message_id
    )
    SELECT clock_timestamp(), (SELECT count(*) FROM moved),
        (SELECT CASE WHEN count(*) < %s THEN coalesce(array_agg(message_id), '{{}}') END FROM admitted),
        (SELECT array_agg(key) FROM parked_messages WHERE key = ANY(%s::text[]))
"""  # noqa: S608 - constants
CATCH_UP: Final = """
    UPDATE consumer_offsets AS mine SET caught_up_at = greatest(mine.caught_up_at, seen.caught_up_at)
    FROM unnest(%s::text[], %s::bigint[], %s::bigint[], %s::timestamptz[])
         AS seen (topic, partition, next_offset, caught_up_at)
    WHERE mine.topic = seen.topic AND mine.partition = seen.partition AND mine.next_offset = seen.next_offset
"""
FIRST_OFFSETS: Final = """
    INSERT INTO consumer_offsets (topic, partition, next_offset)
    SELECT * FROM unnest(%s::text[], %s::bigint[], %s::bigint[]) ON CONFLICT DO NOTHING
"""
OFFSETS: Final = """
    SELECT topic, partition, next_offset, last_message_id FROM consumer_offsets
    WHERE (topic, partition) IN (SELECT * FROM unnest(%s::text[], %s::bigint[]))
"""
PARK: Final = """
    INSERT INTO parked_messages
        (message_id, topic, partition, "offset", key, headers, payload, attempts, next_at, error)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, clock_timestamp() + %s::interval, %s)
    ON CONFLICT (message_id) DO NOTHING
"""
BURY: Final = """
    INSERT INTO dead_letters
        (message_id, topic, partition, "offset", key, headers, payload, reason, error, attempts)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (topic, partition, "offset") DO UPDATE
    SET reason = excluded.reason, error = excluded.error, attempts = excluded.attempts,
        died_at = clock_timestamp(), redriven_at = NULL
    WHERE dead_letters.redriven_at IS NOT NULL
"""
OLDEST_DUE: Final = """
    SELECT id, message_id, topic, partition, "offset", key, headers, payload, attempts
    FROM parked_messages AS mine
    WHERE next_at <= clock_timestamp()
      AND NOT EXISTS (SELECT 1 FROM parked_messages AS older WHERE older.key = mine.key AND older.id < mine.id)
    ORDER BY next_at, id LIMIT 1 FOR UPDATE SKIP LOCKED
"""
UNPARK: Final = "DELETE FROM parked_messages WHERE id = %s"
POSTPONE: Final = """
    UPDATE parked_messages SET attempts = %s, next_at = clock_timestamp() + %s::interval, error = %s WHERE id = %s
"""
WAKE_NEXT: Final = """
    UPDATE parked_messages SET next_at = clock_timestamp()
    WHERE id = (SELECT min(id) FROM parked_messages WHERE key = %s)
"""


@dataclass(frozen=True, slots=True)
class Move:
    """How far a batch takes one partition; `expected` is what this process stored last."""

    place: TopicPartition
    expected: int
    next_offset: int
    last_message_id: MessageId | None
    caught_up_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Stored:
    """Where a partition was left: the next offset, and the id that the record before it carried."""

    next_offset: int
    last_message_id: MessageId | None


@dataclass(frozen=True, slots=True)
class Death:
    """Why a record is given up."""

    record: Record
    message_id: MessageId | None
    reason: str
    error: str
    attempts: int


@dataclass(frozen=True, slots=True)
class Parked:
    """A parked message that is due, locked by the transaction that read it."""

    row: int
    message_id: MessageId
    key: str
    record: Record
    attempts: int


async def advance(tx: Transaction, moves: Sequence[Move]) -> Result:
    """Compare-and-set the offsets; gives the clock, and how many partitions were still where they were expected."""
    moved = await tx.queue(ADVANCE, _moved(moves))
    tx.take_clock(moved)
    return moved


async def take(
    tx: Transaction, moves: Sequence[Move], ids: Collection[MessageId], keys: Iterable[str]
) -> Result:
    """Compare-and-set the offsets, enter ids into the inbox, and look for parked messages of the keys.

    It is the batch's first statement: its row locks keep a process that lost the partition out
    until this transaction has ended, and its result is there with the load's. Gives the clock, how many
    partitions were still where they were expected, the ids that were new to the inbox (None where all were), and
    the keys behind whose parked messages others must wait (None where there are none).
    """
    taken = await tx.queue(TAKE, [*_moved(moves), sorted(ids, key=attrgetter("int")), len(ids), sorted(keys)])
    tx.take_clock(taken)
    return taken


def _moved(moves: Sequence[Move]) -> list[object]:
    ordered = sorted(moves, key=lambda move: move.place)
    return [
        [m.place.topic for m in ordered],
        [m.place.partition for m in ordered],
        [m.expected for m in ordered],
        [m.next_offset for m in ordered],
        [m.last_message_id for m in ordered],
        [m.caught_up_at for m in ordered],
    ]


async def catch_up(
    tx: Transaction, offsets: dict[TopicPartition, int], at: dict[TopicPartition, datetime]
) -> None:
    """Note until when idle partitions were read to their end."""
    places = sorted(at)
    await tx.queue(
        CATCH_UP,
        [
            [p.topic for p in places],
            [p.partition for p in places],
            [offsets[p] for p in places],
            [at[p] for p in places],
        ],
    )


Outlet: TypeAlias = Callable[[Sequence[tuple[int, OutboxRow]] | None], None]
"""Who is told, after the commit, which messages lie in the outbox under which ids.

None where other processes may write, too, so that only the table tells what comes next; nothing in the sequence
when nobody knows whether anything was committed.
"""


def put_columns(rows: Sequence[OutboxRow]) -> list[list[object]]:
    """The parameters of `PUT`."""
    return [
        [row.message_id for row in rows],
        [row.topic for row in rows],
        [row.key for row in rows],
        [row.key_hash for row in rows],
        [row.type for row in rows],
        [orjson.dumps(row.headers).decode() for row in rows],
        [row.payload for row in rows],
    ]


async def put(tx: Transaction, rows: Sequence[OutboxRow], outlet: Outlet) -> None:
    """Put messages into the outbox, in this order; `outlet` is told once they are committed."""
    if rows:
        put = await tx.queue(PUT, put_columns(rows))

        async def hand_over() -> None:
            entered = await put.rows()
            reach("handover.before")
            alone = entered[0][1]  # the same in every row
            outlet([(n, row) for (n, _), row in zip(entered, rows, strict=True)] if alone else None)
            reach("handover.done")

        tx.after_commit(hand_over)
        tx.in_doubt(lambda: outlet(()))


async def offsets(
    tx: Transaction, places: Iterable[TopicPartition], starts: dict[TopicPartition, int]
) -> dict[TopicPartition, Stored]:
    """Where the partitions were left; one never read before is entered at its start."""
    ordered = sorted(places)
    names = [p.topic for p in ordered], [p.partition for p in ordered]
    await tx.queue(FIRST_OFFSETS, [*names, [starts[p] for p in ordered]])
    return {
        TopicPartition(topic, partition): Stored(next_offset, last)
        for topic, partition, next_offset, last in await tx.fetch(OFFSETS, names)
    }


async def park(
    tx: Transaction, record: Record, message_id: MessageId, key: str, error: str | None, delay: timedelta
) -> None:
    """Keep a message whole, to be tried again after `delay`, behind those of its key."""
    await tx.queue(
        PARK,
        [
            message_id,
            record.topic,
            record.partition,
            record.offset,
            key,
            Jsonb(readable_headers(record)),
            record.value,
            0 if error is None else 1,
            delay,
            error,
        ],
    )


async def bury(tx: Transaction, death: Death) -> None:
    """Write a dead letter, once for each topic, partition and offset; one that was redriven may die again."""
    record = death.record
    await tx.queue(
        BURY,
        [
            death.message_id,
            record.topic,
            record.partition,
            record.offset,
            record.key,
            Jsonb(readable_headers(record)),
            record.value,
            death.reason,
            death.error.replace("\x00", "\\0"),
            death.attempts,
        ],
    )


async def oldest_due(tx: Transaction) -> Parked | None:
    """The parked message that is due and the oldest of its key, locked; None where there is none."""
    for row, message_id, topic, partition, offset, key, headers, payload, attempts in await tx.fetch(
        OLDEST_DUE
    ):
        record = Record(topic, partition, offset, key.encode(), payload, raw_headers(headers))
        return Parked(row, message_id, key, record, attempts)
    return None


async def unpark(tx: Transaction, parked: Parked) -> None:
    """Remove a parked message, and make the next one of its key due."""
    await tx.queue(UNPARK, [parked.row])
    await tx.queue(WAKE_NEXT, [parked.key])


async def postpone(tx: Transaction, parked: Parked, error: str, delay: timedelta) -> None:
    """Count a failed attempt and try again after `delay`."""
    await tx.queue(POSTPONE, [parked.attempts + 1, delay, error.replace("\x00", "\\0"), parked.row])
