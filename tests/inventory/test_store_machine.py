"""Tries the shelves in PostgreSQL against those in memory: any batches of commands, the same answers and the same stock."""

from collections.abc import AsyncIterator

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule

from inventory.app import service
from inventory.domain import Shelves, Stock
from libs.contracts.inventory import ReleaseInventory, ReserveInventory
from libs.contracts.message import Contract
from libs.contracts.order import OrderCompleted
from libs.contracts.values import Line, OrderId, PaymentId, ProductId
from tests.support.builders import a_message, a_product_id, a_user_id, an_order_id, euros, priced
from tests.support.databases import Database, Databases
from tests.support.machines import DatabaseMachine, run_machine
from tests.support.store import handle

pytestmark = pytest.mark.integration

DECIDE = {route.body: route.decide for route in service.routes}
ORDERS = 4
WANTED = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 4)), min_size=1, max_size=3)
ASKED = st.tuples(
    st.sampled_from(["reserve", "reserve", "release", "sell"]), st.integers(0, ORDERS - 1), WANTED
)


@pytest.fixture
async def database(run_databases: Databases) -> AsyncIterator[Database]:
    made = await run_databases.fresh("inventory")
    yield made
    await run_databases.drop(made)


class StoredShelves(DatabaseMachine):
    """Three products and one that there is not; four orders, whose commands come in batches, in any order and again."""

    @initialize(amounts=st.tuples(*(st.integers(0, 6) for _ in range(3))))
    def fill(self, amounts: tuple[int, ...]) -> None:
        self.products: list[ProductId] = [a_product_id() for _ in range(4)]
        self.orders: list[OrderId] = [an_order_id() for _ in range(ORDERS)]
        shelves = list(zip(self.products, amounts, strict=False))
        self.model = Shelves({p: Stock(p, on_hand=amount) for p, amount in shelves}, {})
        for product_id, on_hand in shelves:
            self.wait_for(
                self.database.rows(
                    "INSERT INTO stock (product_id, on_hand) VALUES (%s, %s)", product_id, on_hand
                )
            )

    @rule(batch=st.lists(ASKED, min_size=1, max_size=5))
    def a_batch_comes(self, batch: list[tuple[str, int, list[tuple[int, int]]]]) -> None:
        bodies = [self._body(*asked) for asked in batch]
        answers = self.wait_for(handle(self.database.runtime_dsn, service, *bodies))
        expected = [DECIDE[type(body)](self.model, a_message(body)) for body in bodies]
        assert answers == expected

    @invariant()
    def both_hold_the_same(self) -> None:
        if not hasattr(self, "model"):
            return
        rows = self.wait_for(
            self.database.rows(
                "SELECT product_id, on_hand, reserved, sold FROM stock WHERE product_id = ANY(%s)",
                self.products,
            )
        )
        stored = {row[0]: row[1:] for row in rows}
        assert stored == {p: (s.on_hand, s.reserved, s.sold) for p, s in self.model.stock.items()}

    def _body(self, kind: str, number: int, wanted: list[tuple[int, int]]) -> Contract:
        order_id = self.orders[number]
        lines = tuple(Line(product_id=self.products[n], quantity=quantity) for n, quantity in wanted)
        match kind:
            case "reserve":
                return ReserveInventory(order_id=order_id, lines=lines)
            case "release":
                return ReleaseInventory(order_id=order_id)
            case _:
                return OrderCompleted(
                    order_id=order_id,
                    user_id=a_user_id(),
                    lines=priced(lines),
                    total=euros(1),
                    payment_id=PaymentId(an_order_id()),
                )


async def test_stored_shelves_are_shelves(database: Database) -> None:
    await run_machine(StoredShelves, database, examples=8, steps=12)
