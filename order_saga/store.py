"""All SQL of the orchestrator."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

from psycopg.sql import SQL

from libs.contracts.message import Event
from libs.contracts.order_saga import SagaCancelOrder, SagaCreateOrder
from libs.contracts.values import OrderId, SagaId
from libs.messaging.message import Message
from libs.outbox.transaction import Asked, Result, Row, Transaction
from libs.saga.chance import message_id
from libs.saga.inputs import Gap, Timeout
from libs.saga.instance import Instance, Status
from libs.saga.memory import dump, restore
from libs.saga.sagas import SagaType
from libs.service.errors import StartupRefused, SystemFault
from libs.service.runtime import Runtime
from order_saga.domain import Book, Case, Desk, Due, JournalLine, Operate
from order_saga.recollection import Left, Recollection

NOTHING: Final = Recollection(most=0)
NEVER: Final[Mapping[int, Gap]] = MappingProxyType({})
CLAIM: Final = 200
"""How many due sagas one transaction takes."""

BY_ID: Final = """
    SELECT mine.id, type, version, business_key, partition, status, parked_at,
        CASE WHEN mine.revision = known.revision AND mine.updated_at = known.at THEN NULL ELSE data::text END,
        mine.revision, started_at, finished_at
    FROM unnest(%s::uuid[], %s::bigint[], %s::timestamptz[]) AS known (id, revision, at)
    JOIN sagas AS mine ON mine.id = known.id ORDER BY mine.id FOR UPDATE OF mine
"""
BY_ORDER: Final = """
    SELECT id, type, version, business_key, partition, status, parked_at, data::text, revision, started_at, finished_at
    FROM sagas WHERE business_key = ANY(%s::uuid[]) ORDER BY id FOR UPDATE
"""
BY_EITHER: Final = """
    SELECT id, type, version, business_key, partition, status, parked_at, data::text, revision, started_at, finished_at
    FROM sagas WHERE id = ANY(%s::uuid[]) OR business_key = ANY(%s::uuid[]) ORDER BY id FOR UPDATE
"""
OPEN: Final = """
    INSERT INTO sagas (id, type, version, business_key, partition, status, parked_at, step, attempt, awaiting,
        data, deadline, revision, reason_code, started_at, updated_at, finished_at)
    SELECT id, type, version, business_key, partition, status, parked_at, step, attempt, awaiting,
        data::jsonb, deadline, revision, reason_code, started_at, updated_at, finished_at
    FROM unnest(%s::uuid[], %s::text[], %s::bigint[], %s::uuid[], %s::bigint[], %s::text[], %s::timestamptz[],
        %s::text[], %s::bigint[], %s::uuid[], %s::text[], %s::timestamptz[], %s::bigint[], %s::text[],
        %s::timestamptz[], %s::timestamptz[], %s::timestamptz[])
        AS opened (id, type, version, business_key, partition, status, parked_at, step, attempt, awaiting,
            data, deadline, revision, reason_code, started_at, updated_at, finished_at)
"""
ALTER: Final = """
    UPDATE sagas AS mine
    SET status = now.status, parked_at = now.parked_at, step = now.step, attempt = now.attempt,
        awaiting = now.awaiting, data = now.data::jsonb, deadline = now.deadline, revision = now.revision,
        reason_code = now.reason_code, updated_at = now.updated_at, finished_at = now.finished_at
    FROM unnest(%s::uuid[], %s::text[], %s::timestamptz[], %s::text[], %s::bigint[], %s::uuid[], %s::text[],
        %s::timestamptz[], %s::bigint[], %s::text[], %s::timestamptz[], %s::timestamptz[])
        AS now (id, status, parked_at, step, attempt, awaiting, data, deadline, revision, reason_code,
            updated_at, finished_at)
    WHERE mine.id = now.id
"""
WRITE: Final = """
    INSERT INTO saga_journal (saga_id, revision, seq, at, kind, step, attempt, message_id, detail)
    SELECT saga_id, revision, seq, %s, kind, step, attempt, message_id, detail::jsonb
    FROM unnest(%s::uuid[], %s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::bigint[], %s::uuid[],
        %s::text[]) AS line (saga_id, revision, seq, kind, step, attempt, message_id, detail)
"""
DUE: Final = """
    WITH read AS (
        SELECT partition, least(min(caught_up_at), clock_timestamp()) AS until FROM consumer_offsets
        WHERE topic = ANY(%s::text[]) GROUP BY partition HAVING count(caught_up_at) = %s
    )
    SELECT sagas.id, business_key, step, attempt, deadline, partition FROM sagas JOIN read USING (partition)
    WHERE finished_at IS NULL AND deadline <= read.until
      AND (type, version) IN (SELECT * FROM unnest(%s::text[], %s::bigint[]))
      AND NOT sagas.id = ANY(%s::uuid[])
    ORDER BY deadline LIMIT %s FOR UPDATE OF sagas SKIP LOCKED
"""
READ_UNTIL: Final = """
    SELECT partition, min(caught_up_at) FROM consumer_offsets
    WHERE topic = ANY(%s::text[]) GROUP BY partition HAVING count(caught_up_at) = %s
"""
NEXT_DEADLINE: Final = "SELECT min(deadline) FROM sagas WHERE finished_at IS NULL"
VERSIONS_UNDER_WAY: Final = "SELECT DISTINCT type, version FROM sagas WHERE finished_at IS NULL"
ORDER_OF: Final = "SELECT business_key FROM sagas WHERE id = %s::uuid"
CENSUS: Final = """
    SELECT status, parked_at IS NOT NULL, count(*) FROM sagas WHERE finished_at IS NULL GROUP BY 1, 2
"""

_SHOWN: Final = """
    SELECT id AS saga_id, type, version, business_key AS order_id, partition, status, parked_at, step, attempt, awaiting,
        deadline, revision, reason_code, started_at, updated_at, finished_at"""
_LINE: Final = "SELECT revision, seq, at, kind, step, attempt, message_id, detail"
LISTED: Final = SQL(_SHOWN + " FROM sagas WHERE {conditions} ORDER BY id DESC LIMIT %(limit)s")
SAGA: Final = _SHOWN + ", data FROM sagas WHERE id = %s::uuid"
JOURNAL_OF: Final = _LINE + " FROM saga_journal WHERE saga_id = %s::uuid ORDER BY revision, seq"
_WHERE: Final = MappingProxyType(
    {
        "status": SQL("status = %(status)s::text"),
        "type": SQL("type = %(type)s::text"),
        "step": SQL("step = %(step)s::text"),
        "older_than": SQL("started_at < now() - %(older_than)s::interval"),
        "after": SQL("id < %(after)s::uuid"),
    }
)


async def load(
    book: Book,
    tx: Transaction,
    messages: Sequence[Message[object]],
    recollection: Recollection = NOTHING,
) -> Desk:
    """The sagas that the messages are about, locked in the order of their ids.

    What the recollection still has of them is not read again.
    Raises SystemFault for a saga under way in a version that this process does not know: another
    process of a newer deployment does.
    """
    ids, orders = _sought(messages)
    kept = {} if orders else recollection.of(ids)
    rows = await (await _select(tx, ids, orders, kept)).rows()
    desk = Desk(book, tx.now)
    for (
        saga_id,
        kind,
        version,
        order_id,
        partition,
        status,
        parked_at,
        data,
        revision,
        started,
        ended,
    ) in rows:
        saga = book.known.of(kind, version)
        if saga is None and ended is None:
            raise SystemFault(f"{kind} version {version} of saga {saga_id} is not known here")
        if saga is None:
            desk.retired[order_id, kind] = saga_id
            continue
        instance: Instance[object] = (
            kept[saga_id].instance
            if data is None
            else restore(saga, saga_id, Status(status), revision, parked_at, data)
        )
        case = Case(instance, order_id, partition, started, ended)
        case.took_room = case.takes_room
        desk.put(case)
    return desk


def _sought(messages: Sequence[Message[object]]) -> tuple[list[SagaId], list[OrderId]]:
    ids: set[SagaId] = set()
    orders: set[OrderId] = set()
    for message in messages:
        match message.body:
            case SagaCreateOrder() | SagaCancelOrder():
                orders.add(message.key)
            case Due(saga_id=saga_id):
                ids.add(saga_id)
            case Operate(saga_id=saga_id):
                ids.add(saga_id)
                orders.add(message.key)
            case Event() if message.correlation.saga_id is not None:
                ids.add(message.correlation.saga_id)
            case _:
                continue
    return sorted(ids), sorted(orders)


async def _select(
    tx: Transaction, ids: list[SagaId], orders: list[OrderId], kept: Mapping[SagaId, Left]
) -> Result:
    """One statement whichever the need, so that rows are locked in one order."""
    if not orders:
        known = [kept.get(saga_id) for saga_id in ids]
        return await tx.queue(
            BY_ID,
            [
                ids,
                [None if left is None else left.instance.revision for left in known],
                [None if left is None else left.at for left in known],
            ],
        )
    if not ids:
        return await tx.queue(BY_ORDER, [orders])
    return await tx.queue(BY_EITHER, [ids, orders])


async def save(tx: Transaction, desk: Desk) -> None:
    """Write what was opened, altered and journalled, a statement each."""
    if opened := list(desk.opened()):
        await tx.queue(OPEN, _columns(_opened(case, desk.now) for case in opened))
    if altered := list(desk.altered()):
        await tx.queue(ALTER, _columns(_altered(case, desk.now) for case in altered))
    if desk.journal:
        await tx.queue(WRITE, [desk.now, *_columns(_line(line) for line in desk.journal)])


def _columns(rows: Iterable[Sequence[object]]) -> list[list[object]]:
    return [list(column) for column in zip(*rows, strict=True)]


def _opened(case: Case, now: datetime) -> tuple[object, ...]:
    saga = case.instance
    status, parked_at, *rest = _state(case, now)
    return (
        saga.id,
        saga.type,
        saga.version,
        case.order_id,
        case.partition,
        status,
        parked_at,
        *rest[:-2],
        case.started_at,
        *rest[-2:],
    )


def _altered(case: Case, now: datetime) -> tuple[object, ...]:
    return (case.instance.id, *_state(case, now))


def _state(case: Case, now: datetime) -> tuple[object, ...]:
    saga = case.instance
    flight = saga.foremost
    return (
        saga.status.value,
        saga.parked_at,
        saga.step,
        0 if flight is None else flight.attempt,
        None if flight is None else flight.awaiting,
        dump(saga),
        saga.deadline,
        saga.revision,
        None if saga.reason is None else saga.reason.code,
        now,
        case.finished_at,
    )


def _line(line: JournalLine) -> tuple[object, ...]:
    entry = line.entry
    return (
        line.saga_id,
        line.revision,
        line.seq,
        entry.kind.value,
        entry.step,
        entry.attempt,
        entry.message_id,
        json.dumps(dict(entry.detail)) if entry.detail else "{}",
    )


async def claim_due(
    book: Book,
    topics: Sequence[str],
    tx: Transaction,
    *,
    unwatched: Mapping[int, Gap] = NEVER,
    leave: Iterable[SagaId] = (),
    limit: int = CLAIM,
) -> list[Message[object]]:
    """Lock sagas whose deadline has been reached, earliest first, and say so to them.

    A deadline waits until every reply topic's partition of its saga was read up to that moment: an
    answer that already lies in Kafka comes first. `unwatched` is, by partition, when nobody read
    at all. Sagas of other versions, sagas that another process has in hand, and those in `leave`
    are left alone.
    """
    kinds = [kind for kind, _ in book.known.known]
    versions = [version for _, version in book.known.known]
    due = await tx.fetch(DUE, [list(topics), len(topics), kinds, versions, sorted(leave), limit])
    return [
        Message(
            message_id(saga_id, 0, step, attempt, tx.now),
            order_id,
            Due(saga_id, Timeout(step, attempt, deadline, unwatched.get(partition))),
            tx.now,
        )
        for saga_id, order_id, step, attempt, deadline, partition in due
    ]


async def read_until(topics: Sequence[str], tx: Transaction) -> dict[int, datetime]:
    """Up to when every one of the topics was read, by partition; one never read to its end is left out."""
    return dict(await tx.fetch(READ_UNTIL, [list(topics), len(topics)]))


async def next_deadline(tx: Transaction) -> datetime | None:
    """The earliest deadline of any saga."""
    for (deadline,) in await tx.fetch(NEXT_DEADLINE):
        return deadline if isinstance(deadline, datetime) else None
    return None


async def check_versions(book: Book, runtime: Runtime) -> None:
    """Refuse to start where sagas are under way in versions that this process does not know."""
    async with runtime.database.transaction() as tx:
        found: list[SagaType] = [(kind, version) for kind, version in await tx.fetch(VERSIONS_UNDER_WAY)]
    if unknown := book.known.unknown(found):
        named = ", ".join(f"{kind} version {version}" for kind, version in unknown)
        raise StartupRefused(f"sagas are under way that are not defined here: {named}")


async def census(asked: Asked) -> dict[tuple[Status, bool], int]:
    """How many sagas have not ended, by status and whether they are parked."""
    rows = await asked.fetch(CENSUS)
    return {(Status(status), parked): count for status, parked, count in rows}


async def order_of(tx: Transaction, saga_id: SagaId) -> OrderId | None:
    """The order that a saga is about; None where there is no such saga."""
    for (order_id,) in await tx.fetch(ORDER_OF, [saga_id]):
        return OrderId(order_id)
    return None


async def listed(
    tx: Transaction,
    *,
    status: str | None,
    type: str | None,  # noqa: A002 - as the API calls it
    step: str | None,
    older_than: float | None,
    limit: int,
    after: UUID | None,
) -> list[dict[str, Any]]:
    """Sagas that fit, newest id first, one more than `limit` where there are more."""
    asked = {
        "status": None if status == "parked" else status,
        "type": type,
        "step": step,
        "older_than": None if older_than is None else timedelta(seconds=older_than),
        "after": after,
    }
    conditions = [condition for name, condition in _WHERE.items() if asked[name] is not None]
    if status == "parked":
        conditions.append(SQL("parked_at IS NOT NULL"))
    if status in {"parked", "running", "compensating"}:
        conditions.append(SQL("finished_at IS NULL"))
    query = LISTED.format(conditions=SQL(" AND ").join(conditions or [SQL("true")]))
    return _named(_SHOWN, await tx.select(query, asked | {"limit": limit + 1}))


async def shown(tx: Transaction, saga_id: SagaId) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    """A saga with what it knows, and its journal."""
    found = _named(_SHOWN + ", data", await tx.fetch(SAGA, [saga_id]))
    return (found[0] if found else None), _named(_LINE, await tx.fetch(JOURNAL_OF, [saga_id]))


def _named(selected: str, rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Rows under the names that the query gives their columns."""
    names = [column.split()[-1] for column in selected.split(",")]
    return [dict(zip(names, row, strict=True)) for row in rows]
