"""Load, decide, save as the host does it: one transaction for several messages, on a connection of the test's own."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import LiteralString, TypeVar

from psycopg import AsyncConnection

from libs.contracts.message import Contract
from libs.outbox.connection import connect, transaction
from libs.outbox.transaction import Result, Row, Transaction
from libs.service.service import Answer, Service
from tests.support.builders import a_message

State = TypeVar("State")


class WatchedTransaction(Transaction):
    """A transaction that remembers the statements sent through it."""

    __slots__ = ("statements",)

    def __init__(self, connection: AsyncConnection[Row]) -> None:
        super().__init__(connection)
        self.statements: list[str] = []

    async def queue(self, statement: LiteralString, parameters: Sequence[object] = ()) -> Result:
        self.statements.append(statement)
        return await super().queue(statement, parameters)


@asynccontextmanager
async def a_transaction(dsn: str) -> AsyncIterator[WatchedTransaction]:
    """A transaction on a connection of its own, committed at the end."""
    connection = await connect(dsn, name="test")
    try:
        async with transaction(connection):
            tx = WatchedTransaction(connection)
            await tx.read_clock()
            yield tx
    finally:
        await connection.close()


async def handle_in(tx: Transaction, service: Service[State], *bodies: Contract) -> list[Answer]:
    """Load what the messages touch, decide on each in order, and save; the answers in that order."""
    messages = [a_message(body) for body in bodies]
    state = await service.load(tx, messages)
    decide = {route.body: route.decide for route in service.routes}
    answers = [decide[type(message.body)](state, message) for message in messages]
    await service.save(tx, state)
    return answers


async def handle(dsn: str, service: Service[State], *bodies: Contract) -> list[Answer]:
    """The same in a transaction of its own."""
    async with a_transaction(dsn) as tx:
        return await handle_in(tx, service, *bodies)
