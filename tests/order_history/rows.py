"""The read model on a real database: batches folded as the host folds them, and the rows they leave."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from libs.contracts.message import Contract
from libs.messaging.codec import rfc3339
from libs.messaging.message import Message
from libs.outbox.connection import connect, transaction
from libs.outbox.transaction import Transaction
from order_history import store
from order_history.app import service
from order_history.domain.history import Histories
from tests.support.builders import a_record
from tests.support.databases import Database
from tests.support.topics import RawRecord, Topics

ROUTES = {route.body: route.decide for route in service.routes}
ORDERS = "SELECT * FROM orders ORDER BY order_id"
TIMELINE = "SELECT order_id, event, ce_id, at, detail FROM order_timeline ORDER BY order_id, event"

MOVE = """
    INSERT INTO consumer_offsets (topic, partition, next_offset) VALUES (%s, %s, %s)
    ON CONFLICT (topic, partition) DO UPDATE SET next_offset = excluded.next_offset
"""


@asynccontextmanager
async def transaction_on(database: Database) -> AsyncIterator[Transaction]:
    """A transaction of the runtime role, committed at the end."""
    async with (
        await connect(database.runtime_dsn, name="test") as connection,
        transaction(connection) as tx,
    ):
        await tx.read_clock()
        yield tx


async def fold_in(tx: Transaction, messages: Sequence[Message[Contract]]) -> Histories:
    """One batch: load, decide, save."""
    histories = await store.load(tx, messages)
    for message in messages:
        ROUTES[type(message.body)](histories, message)
    await store.save(tx, histories)
    return histories


async def folded(database: Database, *batches: Sequence[Message[Contract]]) -> list[Histories]:
    """Each batch in a transaction of its own; and what the host would tell of each."""
    told = []
    async with await connect(database.runtime_dsn, name="test") as connection:
        for messages in batches:
            async with transaction(connection) as tx:
                histories = await fold_in(tx, messages)
            told.append(histories)
    return told


async def contents(database: Database) -> tuple[list[tuple[object, ...]], list[tuple[object, ...]]]:
    """All that the read model knows."""
    return await database.rows(ORDERS), await database.rows(TIMELINE)


def record_of(message: Message[Contract]) -> RawRecord:
    """The message as its service publishes it."""
    record = a_record(message.body, message_id=message.id)
    at = rfc3339(message.time).encode()
    headers = [(name, at if name == "ce_time" else value) for name, value in record.headers]
    return replace(record, headers=headers)


async def follow(database: Database, topics: Topics, *batches: Sequence[Message[Contract]]) -> None:
    """Publish the events and leave the database as a service that has read them all would leave it."""
    placed = await topics.publish(*(record_of(m) for messages in batches for m in messages))
    await folded(database, *batches)
    ends: dict[tuple[str, int], int] = {}
    for record in placed:
        place = topics.prefix + record.topic, record.partition
        ends[place] = max(ends.get(place, 0), record.offset + 1)
    for (topic, partition), end in ends.items():
        await database.rows(MOVE, topic, partition, end)
