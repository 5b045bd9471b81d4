"""The statements that every database answers: inbox, outbox, offsets, parked and dead messages, advisory locks."""

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any, Final

import orjson

from libs.outbox import mailbox, relay, upcoming, writers
from libs.service import operations
from tests.simulation.server import ADVISORY
from tests.simulation.store import Handler, LockName, Row, Rows, Table, Tx, Waiting


def tables(*, consumer: bool) -> list[Table]:
    """The tables that every database has."""
    if not consumer:
        return [Table("outbox", "id")]
    return [
        Table("outbox", "id"),
        Table("inbox", "number"),  # the id's, which is hashed without a call of Python code
        Table("consumer_offsets", "topic", "partition"),
        Table("parked_messages", "id", unique=[("message_id",)]),
        Table("dead_letters", "id", unique=[("topic", "partition", "offset")]),
    ]


def transposed(columns: Sequence[Sequence[Any]]) -> "zip[tuple[Any, ...]]":
    """Unnest of several arrays."""
    return zip(*columns, strict=True)


def _clock(tx: Tx, _: Sequence[Any]) -> Rows:
    return [(tx.clock,)]


def _one(_tx: Tx, _: Sequence[Any]) -> Rows:
    return [(1,)]


def admit(tx: Tx, ids: Sequence[Any]) -> list[Any]:
    """Those that were not in the inbox."""
    return [one for one in ids if tx.insert("inbox", {"message_id": one, "number": one.int})]


def held_keys(tx: Tx, keys: Sequence[Any]) -> set[Any]:
    """Those that have parked messages."""
    return {row["key"] for row in tx.all("parked_messages")}.intersection(keys)


GATE: Final[LockName] = (ADVISORY, 731002)


def put(tx: Tx, parameters: Sequence[Any]) -> Rows:
    numbers = []
    for message_id, topic, key, key_hash, kind, headers, payload in transposed(parameters):
        number = tx.number("outbox")
        row = {
            "id": number,
            "message_id": message_id,
            "topic": topic,
            "key": key,
            "key_hash": key_hash,
            "type": kind,
            "headers": headers,
            "payload": payload,
            "created_at": tx.clock,
        }
        tx.add("outbox", row)
        numbers.append((number, somebody_alone(tx)))
    return numbers


def somebody_alone(tx: Tx) -> bool:
    owner = tx.database.locks.get(GATE)
    return owner is not None and owner is not tx.session


def advance(tx: Tx, parameters: Sequence[Any]) -> Rows:
    moved = 0
    for topic, partition, expected, next_offset, last, caught_up_at in transposed(parameters):
        row = tx.locked("consumer_offsets", (topic, partition))
        if row is not None and row["next_offset"] == expected:
            tx.change(
                "consumer_offsets",
                row,
                next_offset=next_offset,
                last_message_id=last,
                caught_up_at=_greatest(row["caught_up_at"], caught_up_at),
            )
            moved += 1
    return [(tx.clock, moved)]


def take(
    tx: Tx,
    parameters: Sequence[Any],
    *,
    advancing: Handler = advance,
    admitting: Callable[[Tx, Sequence[Any]], list[Any]] = admit,
    holding: Callable[[Tx, Sequence[Any]], set[Any]] = held_keys,
) -> Rows:
    """Offsets, inbox and parked keys in one statement; a safeguard is left out by another function for its part."""
    *moves, ids, count, keys = parameters
    ((clock, moved),) = advancing(tx, moves)
    fresh, held = admitting(tx, ids), holding(tx, keys)
    return [(clock, moved, fresh if len(fresh) < count else None, sorted(held) or None)]


def _catch_up(tx: Tx, parameters: Sequence[Any]) -> Rows:
    for topic, partition, next_offset, caught_up_at in transposed(parameters):
        row = tx.locked("consumer_offsets", (topic, partition))
        if row is not None and row["next_offset"] == next_offset:
            tx.change("consumer_offsets", row, caught_up_at=_greatest(row["caught_up_at"], caught_up_at))
    return []


def _greatest(one: Any, other: Any) -> Any:
    if one is None or other is None:
        return other if one is None else one
    return max(one, other)


def _first_offsets(tx: Tx, parameters: Sequence[Any]) -> Rows:
    for topic, partition, next_offset in transposed(parameters):
        row = {"topic": topic, "partition": partition, "next_offset": next_offset}
        tx.insert("consumer_offsets", {**row, "last_message_id": None, "caught_up_at": None})
    return []


_PLACE: Final = itemgetter("topic", "partition", "next_offset", "last_message_id")


def _offsets(tx: Tx, parameters: Sequence[Any]) -> Rows:
    rows = (tx.get("consumer_offsets", place) for place in transposed(parameters))
    return [_PLACE(row) for row in rows if row]


def _accept(tx: Tx, parameters: Sequence[Any]) -> Rows:
    next_offset, topic, partition = parameters
    row = tx.locked("consumer_offsets", (topic, partition))
    if row is None:
        return []
    tx.change("consumer_offsets", row, next_offset=next_offset, last_message_id=None, accepted=True)
    return [(next_offset,)]


_PARKED: Final = ("message_id", "topic", "partition", "offset", "key", "headers", "payload", "attempts")


def _park(tx: Tx, parameters: Sequence[Any]) -> Rows:
    *values, delay, error = parameters
    row = dict(zip(_PARKED, values, strict=True)) | {"id": tx.number("parked_messages"), "error": error}
    tx.insert(
        "parked_messages",
        row | {"headers": row["headers"].obj, "next_at": tx.clock + delay, "parked_at": tx.clock},
    )
    return []


def _oldest_due(tx: Tx, _: Sequence[Any]) -> Rows:
    now = tx.clock
    rows = list(tx.all("parked_messages"))
    oldest: dict[str, int] = {}
    for row in rows:
        oldest[row["key"]] = min(oldest.get(row["key"], row["id"]), row["id"])
    due = [row for row in rows if row["next_at"] <= now and oldest[row["key"]] == row["id"]]
    for row in sorted(due, key=lambda one: (one["next_at"], one["id"])):
        if tx.free("parked_messages", row["id"]):
            return [(row["id"], *(row[name] for name in _PARKED))]
    return []


def _unpark(tx: Tx, parameters: Sequence[Any]) -> Rows:
    tx.delete("parked_messages", parameters[0])
    return []


def _postpone(tx: Tx, parameters: Sequence[Any]) -> Rows:
    attempts, delay, error, number = parameters
    for row in tx.lock("parked_messages", [number]):
        tx.change("parked_messages", row, attempts=attempts, next_at=tx.clock + delay, error=error)
    return []


def _wake_next(tx: Tx, parameters: Sequence[Any]) -> Rows:
    waiting = [row for row in tx.all("parked_messages") if row["key"] == parameters[0]]
    if waiting:
        tx.change("parked_messages", min(waiting, key=lambda row: int(row["id"])), next_at=tx.clock)
    return []


_DEAD: Final = (
    "message_id",
    "topic",
    "partition",
    "offset",
    "key",
    "headers",
    "payload",
    "reason",
    "error",
    "attempts",
)


def _bury(tx: Tx, parameters: Sequence[Any]) -> Rows:
    row = dict(zip(_DEAD, parameters, strict=True))
    row |= {"id": tx.number("dead_letters"), "headers": row["headers"].obj, "redriven_at": None}
    tx.insert("dead_letters", row)
    return []


_ID: Final = itemgetter("id")
_SHOWN: Final = itemgetter("id", "topic", "key", "key_hash")


def pending(row: Row) -> tuple[Any, ...]:
    return *_SHOWN(row), orjson.loads(row["headers"]), row["payload"]


def _next(tx: Tx, parameters: Sequence[Any]) -> Rows:
    rows = sorted(tx.all("outbox"), key=_ID)
    return [pending(row) for row in rows[: parameters[0]]]


def _next_in_lane(tx: Tx, parameters: Sequence[Any]) -> Rows:
    of, number, limit = parameters
    rows = sorted((row for row in tx.all("outbox") if row["key_hash"] % of == number), key=_ID)
    return [pending(row) for row in rows[:limit]]


def _next_available(tx: Tx, parameters: Sequence[Any]) -> Rows:
    of, number, topics, numbers, partitions, refused_topics, refused_keys, limit = parameters
    away = {topic: [] for topic in topics}  # type: dict[str, list[tuple[int, int]]]
    for topic, partition, count in zip(topics, numbers, partitions, strict=True):
        away[topic].append((partition, count))
    refused = set(zip(refused_topics, refused_keys, strict=True))
    rows = [
        row
        for row in sorted(tx.all("outbox"), key=_ID)
        if row["key_hash"] % of == number
        and not any(row["key_hash"] % count == there for there, count in away.get(row["topic"], ()))
        and (row["topic"], row["key"]) not in refused
    ]
    return [pending(row) for row in rows[:limit]]


def delete(tx: Tx, parameters: Sequence[Any]) -> Rows:
    for number in parameters[0]:
        tx.delete("outbox", number)
    return []


def _claim(process: int) -> LockName:
    return ADVISORY, 731003, process


def own_lane(tx: Tx, parameters: Sequence[Any]) -> Rows:
    return [(tx.session.try_lock((ADVISORY, 731001, parameters[0])),)]


def _shut_gate(tx: Tx, parameters: Sequence[Any]) -> Rows:
    session = tx.session
    if not session.try_lock(GATE):
        return [(False,)]
    return [(session.try_lock(_claim(parameters[0])) or not session.unlock(GATE),)]


def _open_gate(tx: Tx, parameters: Sequence[Any]) -> Rows:
    return [(tx.session.unlock(_claim(parameters[0])), tx.session.unlock(GATE))]


def _wait_at_gate(tx: Tx, _: Sequence[Any]) -> Rows:
    if somebody_alone(tx):
        raise Waiting(GATE)
    return [(None,)]


def write(tx: Tx, parameters: Sequence[Any]) -> Rows:
    tx.database.shared[tx.session] = parameters[0]
    return [(None,)]


def _shut_by_own(tx: Tx, parameters: Sequence[Any]) -> Rows:
    return [(_claim(parameters[0]) in tx.database.locks,)]


def _others_write(tx: Tx, parameters: Sequence[Any]) -> Rows:
    (process,) = parameters
    claims = (lock[2] for lock in tx.database.locks if lock[:2] == (ADVISORY, 731003))
    return [(any(one != process for one in (*tx.database.shared.values(), *claims)),)]


def _somebody_waits(tx: Tx, _: Sequence[Any]) -> Rows:
    return [(bool(tx.database.waiters.get(GATE)),)]


HANDLERS: Final[Mapping[str, Handler]] = {
    "SELECT clock_timestamp()": _clock,
    "SELECT 1": _one,
    "SELECT inbox_maintain()": _one,
    mailbox.TAKE: take,
    mailbox.PUT: put,
    mailbox.ADVANCE: advance,
    mailbox.CATCH_UP: _catch_up,
    mailbox.FIRST_OFFSETS: _first_offsets,
    mailbox.OFFSETS: _offsets,
    mailbox.PARK: _park,
    mailbox.BURY: _bury,
    mailbox.OLDEST_DUE: _oldest_due,
    mailbox.UNPARK: _unpark,
    mailbox.POSTPONE: _postpone,
    mailbox.WAKE_NEXT: _wake_next,
    operations.ACCEPT: _accept,
    upcoming.NEXT: _next,
    upcoming.NEXT_IN_LANE: _next_in_lane,
    upcoming.NEXT_AVAILABLE: _next_available,
    relay.DELETE: delete,
    writers.OWN_LANE: own_lane,
    writers.SHUT_GATE: _shut_gate,
    writers.OPEN_GATE: _open_gate,
    writers.WAIT_AT_GATE: _wait_at_gate,
    writers.WRITE: write,
    writers.SHUT_BY_OWN: _shut_by_own,
    writers.OTHERS_WRITE: _others_write,
    writers.SOMEBODY_WAITS: _somebody_waits,
}
