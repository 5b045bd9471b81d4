"""A payment service without Kafka: commands go straight into its batch transaction, answers are read from its outbox."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

from libs.contracts.message import Contract
from libs.contracts.payment import ProcessPayment, RefundPayment
from libs.contracts.values import Money, OrderId, PaymentMethodId, UserId
from libs.messaging.message import Message
from libs.outbox.transaction import Transaction
from libs.service.host import Host
from libs.service.runtime import Runtime
from payment import card_http, store
from payment.app import service
from payment.card_desk import CardDesk
from payment.domain.books import wallet_method_id
from payment.settings import PaymentSettings
from tests.support.builders import a_correlation, a_message, a_user_id, an_order_id, euros
from tests.support.databases import Database
from tests.support.waiting import eventually


@dataclass(frozen=True, slots=True)
class Sent:
    """A message in the outbox."""

    name: str
    headers: Mapping[str, str]
    body: Mapping[str, Any]


def pay(
    order_id: OrderId | None = None,
    *,
    user_id: UserId | None = None,
    method_id: PaymentMethodId | None = None,
    amount: Money | None = None,
) -> ProcessPayment:
    """A payment of 19.99 EUR, from the user's wallet where no method is named."""
    user_id = user_id or a_user_id()
    return ProcessPayment(
        order_id=order_id or an_order_id(),
        user_id=user_id,
        payment_method_id=method_id or wallet_method_id(user_id),
        amount=amount or euros(1_999),
    )


def asking(body: Contract, step: str = "process_payment") -> Message[Contract]:
    """A command as a saga sends it."""
    return a_message(body, correlation=a_correlation(body.order_id, step))


def undo(order_id: OrderId) -> Message[Contract]:
    """The command that undoes a payment."""
    return asking(RefundPayment(order_id=order_id), "refund_payment")


class Till:
    """One process of the service, as far as payments go."""

    def __init__(self, runtime: Runtime, database: Database, desk: CardDesk) -> None:
        self.runtime = runtime
        self.database = database
        self.desk = desk

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Let the card desk work."""
        working = asyncio.create_task(self.desk.run(self.runtime))
        try:
            yield
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)

    async def send(self, *messages: Message[Contract]) -> None:
        """Handle commands in one batch."""

        async def source(tx: Transaction) -> Sequence[Message[object]]:
            await tx.fetch("SELECT 1")
            return messages

        await self.runtime.feed(source)

    async def card(self, user_id: UserId, token: str) -> PaymentMethodId:
        """Give the user a card."""
        async with self.runtime.database.transaction() as tx:
            added = await store.add_card(tx, user_id, PaymentMethodId(self.runtime.new_id()), token, "Card")
        assert added is not None
        return added.id

    async def by_card(self, token: str) -> ProcessPayment:
        """A payment by a new customer's card."""
        user_id = a_user_id()
        return pay(user_id=user_id, method_id=await self.card(user_id, token))

    async def deposit(self, user_id: UserId, minor: int) -> None:
        """Fill the user's wallet."""
        async with self.runtime.database.transaction() as tx:
            await store.deposit(tx, user_id, uuid4().hex, euros(minor), self.runtime.new_id())

    async def sent(self, order_id: OrderId) -> list[Sent]:
        """What was answered about an order so far."""
        rows = await self.database.rows(
            "SELECT type, headers, payload FROM outbox WHERE key = %s ORDER BY id", str(order_id)
        )
        return [Sent(kind.split(".")[1], headers, json.loads(payload)) for kind, headers, payload in rows]

    async def expect(self, order_id: OrderId, *names: str, within: float = 10.0) -> list[Sent]:
        """The answers about an order, once they are these and no others."""

        async def ask() -> list[Sent]:
            found = await self.sent(order_id)
            assert [one.name for one in found] == list(names)
            return found

        return await eventually(ask, within=within, what=f"{names} for {order_id}")

    async def payment(self, order_id: OrderId) -> str:
        """The payment's status."""
        (status,) = await self.database.row("SELECT status FROM payments WHERE order_id = %s", order_id)
        return str(status)

    async def attempt(self, order_id: OrderId) -> tuple[str, str]:
        """What is due at the provider, or was last, and whether it still is."""
        row = await self.database.row(
            "SELECT kind, state FROM payment_attempts WHERE order_id = %s", order_id
        )
        return (row[0], row[1])

    async def booked(self, order_id: OrderId) -> dict[str, int]:
        """What the order's entries come to, by account; nothing where they cancel out."""
        rows = await self.database.rows(
            "SELECT account, sum(amount_minor)::bigint FROM ledger_entries WHERE order_id = %s"
            " GROUP BY account HAVING sum(amount_minor) <> 0",
            order_id,
        )
        return {account: int(total) for account, total in rows}

    async def balances(self) -> None:
        """Assert that the books balance: the ledger, each transaction in it, and every wallet."""
        assert await self.database.row(
            "SELECT coalesce(sum(amount_minor), 0)::bigint FROM ledger_entries"
        ) == (0,)
        assert not await self.database.rows(
            "SELECT transaction_id FROM ledger_entries GROUP BY transaction_id"
            " HAVING sum(amount_minor) <> 0 OR count(*) <> 2"
        )
        assert not await self.database.rows(
            "SELECT user_id, balance_minor FROM wallets WHERE balance_minor <> ("
            " SELECT coalesce(sum(amount_minor), 0) FROM ledger_entries WHERE account = 'wallet:' || user_id)"
        )


@asynccontextmanager
async def till(database: Database, **settings: object) -> AsyncIterator[Till]:
    """A process of the service on this database; nothing works by itself before `Till.open`."""
    desk = CardDesk(card_http.connect)
    known = replace(service, committed=desk.note)
    given = PaymentSettings.model_validate({"database_url": database.runtime_dsn, **settings})
    runtime = Host(known, given).runtime
    await runtime.database.open()
    try:
        yield Till(runtime, database, desk)
    finally:
        await runtime.http.aclose()
        await runtime.database.close()
