"""What the runtime would do without its safeguards: a function or a statement for each."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from libs.messaging.codec import OutboxRow
from libs.messaging.producer import RecordProducer, Sent
from libs.messaging.record import Sendable, TopicPartition
from libs.outbox import mailbox
from libs.outbox.mailbox import Outlet
from libs.outbox.transaction import Transaction
from libs.service.consumption import Consumption
from order_history.domain import history
from order_history.domain.history import History
from tests.simulation.server import Request
from tests.simulation.statements import mailbox as statements
from tests.simulation.statements import orchestrator, participants
from tests.simulation.statements.mailbox import transposed
from tests.simulation.store import Rows, Tx

_send, _join = RecordProducer.send, history.join


def admit_everything(tx: Tx, ids: Sequence[Any]) -> list[Any]:
    """Take every id for a new one."""
    statements.admit(tx, ids)
    return list(ids)


async def put_apart(tx: Transaction, rows: Sequence[OutboxRow], outlet: Outlet) -> None:
    """Write messages in a transaction of their own, which is committed whatever becomes of the other."""
    session = tx._connection._session  # type: ignore[attr-defined]
    apart = session.database.open(session.process, "apart")
    request = Request([(mailbox.PUT, mailbox.put_columns(rows))])
    apart.arrive(request)
    apart.die()
    if isinstance(request.result, list):
        outlet([(number, row) for (number, _), row in zip(request.result[0], rows, strict=True)])


def advance_anyway(tx: Tx, parameters: Sequence[Any]) -> Rows:
    """Set offsets wherever they are by now."""
    moved = 0
    for topic, partition, _, next_offset, last, caught_up_at in transposed(parameters):
        row = tx.locked("consumer_offsets", (topic, partition))
        if row is not None:
            seen = caught_up_at or row["caught_up_at"]
            tx.change(
                "consumer_offsets", row, next_offset=next_offset, last_message_id=last, caught_up_at=seen
            )
            moved += 1
    return [(tx.clock, moved)]


def delete_up_to(tx: Tx, parameters: Sequence[Any]) -> Rows:
    """Delete everything up to the last that was acknowledged."""
    highest = max(parameters[0])
    return statements.delete(tx, [[row["id"] for row in list(tx.all("outbox")) if row["id"] <= highest]])


def newest_first(tx: Tx, parameters: Sequence[Any]) -> Rows:
    rows = sorted(tx.all("outbox"), key=lambda row: -row["id"])
    return [statements.pending(row) for row in rows[: parameters[0]]]


async def keep_client(_producer: RecordProducer) -> None:
    """Go on with a client that has failed."""


async def believe_in_delivery(producer: RecordProducer, records: Sequence[Sendable]) -> Sent:
    """Take what failed for sent."""
    sent = await _send(producer, records)
    failed = set(sent.failed)
    sent.acknowledged += [one.row for one in records if TopicPartition(one.topic, one.partition) in failed]
    sent.failed.clear()
    return sent


def nothing_held(_tx: Tx, _keys: Sequence[Any]) -> set[Any]:
    """Look for no parked messages."""
    return set()


def claim_without_key(_tx: Tx, parameters: Sequence[Any]) -> Rows:
    return [(order_id,) for order_id in parameters[4]]


def yes(_tx: Tx, _parameters: Sequence[Any]) -> Rows:
    return [(True,)]


def no(_tx: Tx, _parameters: Sequence[Any]) -> Rows:
    return [(False,)]


def last_told_wins(one: History, other: History) -> History:
    """Show the stage that was heard of last."""
    joined = _join(one, other)
    return History(
        other.stage,
        joined.updated_at,
        joined.origin,
        joined.contents,
        joined.reason,
        joined.payment_id,
        joined.payment,
    )


def due_by_the_clock(tx: Tx, parameters: Sequence[Any]) -> Rows:
    """Claim whatever is due, though its answer may lie in its topic."""
    _, _, types, versions, leave, limit = parameters
    now = tx.clock
    return orchestrator.claimed(tx, dict.fromkeys(range(16), now), types, versions, leave, limit)


def in_own_time(consumption: Consumption[Any], seen_at: float | None) -> datetime | None:
    """Tell the database what this machine's clock says."""
    return None if seen_at is None else datetime.fromtimestamp(consumption._clock(), UTC)


def read_stock(tx: Tx, parameters: Sequence[Any]) -> Rows:
    """Read the stock without a lock."""
    rows = (tx.get("stock", product) for product in participants.touched(tx, parameters))
    return [(row["product_id"], row["on_hand"], row["reserved"], row["sold"]) for row in rows if row]


def no_doubt(_tx: Transaction, _work: object) -> None:
    """Do nothing about a commit that nobody knows of."""


async def send_nothing_again(_gate: object) -> int:
    return 0
