"""The read model on a real database: batches folded as the host folds them, and the rows they leave."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from libs.contracts.message import Contract
from libs.messaging.message import Message
from libs.outbox.connection import connect, transaction
from libs.outbox.transaction import Transaction
from order_history import store
from order_history.app import service
from order_history.domain.history import Histories
from tests.support.databases import Database

ROUTES = {route.body: route.decide for route in service.routes}
ORDERS = "SELECT * FROM orders ORDER BY order_id"
TIMELINE = "SELECT order_id, event, ce_id, at, detail FROM order_timeline ORDER BY order_id, event"


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


async def folded(database: Database, *batches: Sequence[Message[Contract]]) -> None:
    """Each batch in a transaction of its own."""
    async with await connect(database.runtime_dsn, name="test") as connection:
        for messages in batches:
            async with transaction(connection) as tx:
                await fold_in(tx, messages)


async def contents(database: Database) -> tuple[list[tuple[object, ...]], list[tuple[object, ...]]]:
    """All that the read model knows."""
    return await database.rows(ORDERS), await database.rows(TIMELINE)
