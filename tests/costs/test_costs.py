"""Holds what a batch of fifty messages costs each service, in statements, transactions and WAL bytes; never in time."""

from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

import pytest

from libs.contracts.order_saga import SagaCreateOrder
from libs.contracts.values import Line, ProductId, UserId
from libs.outbox.transaction import Transaction
from payment import store as payment_store
from payment.domain.books import wallet_method_id
from tests.costs.chain import Chain, Cost, chain
from tests.support.builders import a_message_id, a_product_id, a_user_id, an_order_id, euros
from tests.support.databases import Database
from tests.support.store import a_transaction

pytestmark = pytest.mark.integration

BATCH: Final = 50
ENOUGH: Final = 1_000_000
TOO_LITTLE: Final = 1

STATEMENTS: Final[Mapping[str, int]] = MappingProxyType(
    {
        "order_saga: SagaCreateOrder": 7,
        "order: CreateOrder": 7,
        "order_saga: OrderCreated": 7,
        "inventory: OrderCreated": 3,
        "order_history: OrderCreated": 6,
        "product: ValidateProducts": 5,
        "order_saga: ProductsValidated": 7,
        "order_history: ProductsValidated": 6,
        "inventory: ReserveInventory": 8,
        "order_saga: InventoryReserved": 7,
        "order_history: InventoryReserved": 6,
        "payment: ProcessPayment": 9,
        "order_saga: PaymentCompleted": 7,
        "order_history: PaymentCompleted": 6,
        "order: CompleteOrder": 8,
        "order_saga: OrderCompleted": 6,
        "inventory: OrderCompleted": 7,
        "order_history: OrderCompleted": 6,
    }
)
"""Of one batch transaction, BEGIN and COMMIT included; the relay's are not among them."""

WHEN_REFUSED: Final[Mapping[str, int]] = MappingProxyType(
    {
        "payment: ProcessPayment": 7,
        "order_saga: PaymentFailed": 7,
        "order_history: PaymentFailed": 6,
        "inventory: ReleaseInventory": 8,
        "order: BeginCancellation": 7,
        "order_saga: InventoryReleased": 7,
        "order_history: InventoryReleased": 6,
        "order_saga: OrderCancelling": 6,
        "inventory: OrderCancelling": 3,
        "order_history: OrderCancelling": 6,
        "order: CancelOrder": 7,
        "order_saga: OrderCancelled": 6,
        "inventory: OrderCancelled": 3,
        "order_history: OrderCancelled": 6,
    }
)
"""The batches that differ, or come on top, where the customer cannot pay."""

WAL_BYTES_OF_A_SAGA: Final[Mapping[str, int]] = MappingProxyType(
    {
        "order_saga": 21_500,
        "order": 5_000,
        "product": 1_700,
        "inventory": 3_200,
        "payment": 3_200,
        "order_history": 8_500,
    }
)
"""At most, for an order of two lines that completes; about a quarter above what was measured."""


def changed(expected: Mapping[str, int], found: Mapping[str, Cost]) -> list[str]:
    """What has to be said about batches that cost other statements, or transactions, than they did."""
    said = [
        f"{batch}: {cost.statements} statements a batch, {expected[batch]} were expected"
        for batch, cost in found.items()
        if batch in expected and cost.statements != expected[batch]
    ]
    said += [
        f"{batch}: {cost.transactions} transactions a batch, and not one"
        for batch, cost in found.items()
        if cost.transactions != 1
    ]
    return said + [f"{batch}: no such batch" for batch in expected if batch not in found]


def dearer(rounds: Sequence[Mapping[str, Cost]]) -> list[str]:
    """Which services write more to the WAL than they may; the cheapest round counts, others may have new pages."""
    least: dict[str, float] = {}
    for costs in rounds:
        written: dict[str, float] = defaultdict(float)
        for batch, cost in costs.items():
            written[batch.partition(":")[0]] += cost.wal_bytes / BATCH
        least = {name: min(size, least.get(name, size)) for name, size in written.items()}
    return [
        f"{name}: {size:,.0f} WAL bytes a saga, at most {WAL_BYTES_OF_A_SAGA[name]:,} were expected"
        for name, size in least.items()
        if size > WAL_BYTES_OF_A_SAGA[name]
    ]


@dataclass(frozen=True, slots=True)
class Shop:
    """The consumer services with products in stock."""

    chain: Chain
    products: Sequence[ProductId]

    async def round(self, balance: int) -> dict[str, Cost]:
        """What the orders of as many new customers as a batch holds cost."""
        return await self.chain.run(await self.orders(balance))

    async def orders(self, balance: int) -> list[SagaCreateOrder]:
        """Orders for two products each, by new customers with so many cents."""
        users = [a_user_id() for _ in range(BATCH)]
        async with a_transaction(self.chain.parties["payment"].database.runtime_dsn) as tx:
            for user_id in users:
                await payment_store.deposit(tx, user_id, "first", euros(balance), a_message_id())
        return [self._order(number, user_id) for number, user_id in enumerate(users)]

    def _order(self, number: int, user_id: UserId) -> SagaCreateOrder:
        wanted = [self.products[(number + n) % len(self.products)] for n in range(2)]
        return SagaCreateOrder(
            order_id=an_order_id(),
            user_id=user_id,
            payment_method_id=wallet_method_id(user_id),
            lines=tuple(Line(product_id=product, quantity=1) for product in wanted),
        )


@pytest.fixture
async def shop(database: Callable[[str], Awaitable[Database]]) -> AsyncIterator[Shop]:
    """Twenty products, plenty of each."""
    async with chain(database) as made:
        products = [a_product_id() for _ in range(20)]
        await made.parties["product"].database.rows(
            """
            WITH kitchen AS (INSERT INTO categories (id, name) VALUES (gen_random_uuid(), 'Kitchen') RETURNING id)
            INSERT INTO products (id, name, category_id, price_minor, currency)
            SELECT product, product::text, kitchen.id, 350, 'EUR' FROM kitchen, unnest(%s::uuid[]) AS product
            """,
            products,
        )
        await made.parties["inventory"].database.rows(
            "INSERT INTO stock (product_id, on_hand) SELECT unnest(%s::uuid[]), 100000", products
        )
        yield Shop(made, products)


async def test_fifty_orders_cost_what_they_did(shop: Shop) -> None:
    rounds = [await shop.round(ENOUGH) for _ in range(3)]
    assert rounds[0].keys() == STATEMENTS.keys()
    said = [line for costs in rounds for line in changed(STATEMENTS, costs)] + dearer(rounds[1:])
    assert not said, "\n".join(["Lower the figures where they fell; think again where they rose.", *said])


async def test_fifty_refused_orders_cost_what_they_did(shop: Shop) -> None:
    costs = await shop.round(TOO_LITTLE)
    said = changed(WHEN_REFUSED, costs)
    assert not said, "\n".join(["Lower the figures where they fell; think again where they rose.", *said])
    assert costs.keys() - STATEMENTS.keys() == WHEN_REFUSED.keys() - {"payment: ProcessPayment"}


async def test_a_statement_more_and_a_wide_row_are_noticed(shop: Shop) -> None:
    order = shop.chain.parties["order"]
    save = order.service.save

    async def and_one_more(tx: Transaction, state: object) -> None:
        await save(tx, state)
        await tx.queue("SELECT pg_logical_emit_message(true, 'test', repeat('x', 200000))")

    changed_order = replace(order, service=replace(order.service, save=and_one_more))
    costs = await Chain({**shop.chain.parties, "order": changed_order}).run(await shop.orders(ENOUGH))
    assert [line.partition(" statements")[0] for line in changed(STATEMENTS, costs)] == [
        f"{batch}: {STATEMENTS[batch] + 1}" for batch in ("order: CreateOrder", "order: CompleteOrder")
    ]
    assert [line.partition(":")[0] for line in dearer([costs])] == ["order"]
