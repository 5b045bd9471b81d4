"""Tries the inventory's SQL on the real database, as its runtime role."""

import asyncio
from collections.abc import Awaitable, Callable

import psycopg
import pytest

from inventory import store
from inventory.app import service
from inventory.domain import Hold, Shelves
from libs.contracts.inventory import (
    InventoryReleased,
    InventoryReserved,
    InventoryReserveFailed,
    ReleaseInventory,
    ReserveInventory,
)
from libs.contracts.message import Contract
from libs.contracts.order import OrderCompleted
from libs.contracts.values import Line, PaymentId, ProductId
from libs.service.service import Answer
from migrations import runner
from tests.support.builders import a_product_id, a_user_id, an_order_id, euros, priced
from tests.support.databases import Database
from tests.support.store import a_transaction, handle, handle_in
from tests.support.waiting import eventually

pytestmark = pytest.mark.integration

STOCK = "SELECT on_hand, reserved, sold FROM stock WHERE product_id = %s"
HOLD = "SELECT state FROM holds WHERE order_id = %s"
RESERVATIONS = "SELECT product_id, quantity, state FROM reservations WHERE order_id = %s ORDER BY quantity"
WAITING = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


class Shop:
    """A database with stock in it."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.dsn = database.runtime_dsn

    async def product(self, on_hand: int, product_id: ProductId | None = None) -> ProductId:
        product_id = product_id or a_product_id()
        await self.database.rows(
            "INSERT INTO stock (product_id, on_hand) VALUES (%s, %s)", product_id, on_hand
        )
        return product_id

    async def handle(self, *bodies: Contract) -> list[Answer]:
        return await handle(self.dsn, service, *bodies)

    async def race(self, first: Contract, second: Contract) -> list[Answer]:
        """Both answers, of two batches of which the second begins while the first is not committed."""

        async def second_waits() -> bool:
            return len(await self.database.rows(WAITING)) == 1

        async with asyncio.TaskGroup() as group:
            async with a_transaction(self.dsn) as tx:
                answers = await handle_in(tx, service, first)
                racing = group.create_task(self.handle(second))
                await eventually(second_waits, what="the second batch waits for the first one's lock")
            return [*answers, *await racing]

    async def stock(self, product_id: ProductId) -> tuple[int, ...]:
        return await self.database.row(STOCK, product_id)


@pytest.fixture
async def shop(database: Callable[[str], Awaitable[Database]]) -> Shop:
    return Shop(await database("inventory"))


def asking(*wanted: tuple[ProductId, int]) -> ReserveInventory:
    lines = tuple(Line(product_id=product_id, quantity=quantity) for product_id, quantity in wanted)
    return ReserveInventory(order_id=an_order_id(), lines=lines)


def undoing(command: ReserveInventory) -> ReleaseInventory:
    return ReleaseInventory(order_id=command.order_id)


def completed(command: ReserveInventory) -> OrderCompleted:
    return OrderCompleted(
        order_id=command.order_id,
        user_id=a_user_id(),
        lines=priced(command.lines),
        total=euros(1_000),
        payment_id=PaymentId(an_order_id()),
    )


async def test_the_migrations_make_the_tables_that_the_code_knows(shop: Shop) -> None:
    await asyncio.to_thread(runner.check, "inventory", shop.database.owner_dsn)


async def test_stock_is_held_sold_and_restocked(shop: Shop) -> None:
    tea, cup = await shop.product(10), await shop.product(3)
    command = asking((tea, 4), (cup, 3), (tea, 1))

    assert await shop.handle(command) == [InventoryReserved(order_id=command.order_id)]
    assert (await shop.stock(tea), await shop.stock(cup)) == ((10, 5, 0), (3, 3, 0))
    assert await shop.database.rows(RESERVATIONS, command.order_id) == [(cup, 3, "held"), (tea, 5, "held")]

    assert await shop.handle(completed(command)) == [None]
    assert (await shop.stock(tea), await shop.stock(cup)) == ((5, 0, 5), (0, 0, 3))
    assert await shop.database.rows(RESERVATIONS, command.order_id) == [(cup, 3, "sold"), (tea, 5, "sold")]

    assert await shop.handle(undoing(command)) == [InventoryReleased(order_id=command.order_id)]
    assert (await shop.stock(tea), await shop.stock(cup)) == ((10, 0, 0), (3, 0, 0))
    assert await shop.database.row(HOLD, command.order_id) == ("released",)
    assert await shop.database.rows(RESERVATIONS, command.order_id) == [
        (cup, 3, "released"),
        (tea, 5, "released"),
    ]


async def test_answers_are_remembered_as_they_were(shop: Shop) -> None:
    tea, stranger = await shop.product(1), a_product_id()
    held, short, undone = asking((tea, 1)), asking((tea, 2), (stranger, 7)), asking((tea, 1))
    answers = await shop.handle(held, short, undoing(undone))
    assert isinstance(answers[1], InventoryReserveFailed)
    assert [(s.product_id, s.requested, s.available) for s in answers[1].shortages] == [
        (tea, 2, 0),
        (stranger, 7, 0),
    ]
    await shop.database.rows("UPDATE stock SET on_hand = 100")
    assert await shop.handle(held, short) == answers[:2]
    (late,) = await shop.handle(undone)
    assert isinstance(late, InventoryReserveFailed)
    assert late.reason_code == "already_undone"
    assert await shop.stock(tea) == (100, 1, 0)
    assert await shop.database.row(HOLD, undone.order_id) == ("released",)


async def test_a_batch_sees_its_own_decisions(shop: Shop) -> None:
    tea = await shop.product(2)
    first, second, third = asking((tea, 2)), asking((tea, 1)), asking((tea, 2))
    answers = await shop.handle(first, second, undoing(first), third, completed(third), undoing(third))
    kinds = [type(answer) for answer in answers]
    assert kinds == [
        InventoryReserved,
        InventoryReserveFailed,
        InventoryReleased,
        InventoryReserved,
        type(None),
        InventoryReleased,
    ]
    assert await shop.stock(tea) == (2, 0, 0)
    assert await shop.database.rows(RESERVATIONS, third.order_id) == [(tea, 2, "released")]


async def test_two_batches_race_for_the_last_one(shop: Shop) -> None:
    tea = await shop.product(1)
    won, lost = await shop.race(asking((tea, 1)), asking((tea, 1)))
    assert isinstance(won, InventoryReserved)
    assert isinstance(lost, InventoryReserveFailed)
    assert await shop.stock(tea) == (1, 1, 0)


async def test_a_sale_races_a_release(shop: Shop) -> None:
    tea = await shop.product(3)
    first, second = asking((tea, 1)), asking((tea, 1))
    await shop.handle(first, second)
    await shop.race(completed(first), undoing(first))
    assert await shop.stock(tea) == (3, 1, 0)
    await shop.race(undoing(second), completed(second))
    assert await shop.stock(tea) == (3, 0, 0)
    assert await shop.database.rows("SELECT DISTINCT state FROM reservations") == [("released",)]


async def test_two_batches_race_with_the_same_release(shop: Shop) -> None:
    tea = await shop.product(3)
    command = asking((tea, 2))
    await shop.handle(command)
    answers = await shop.race(undoing(command), undoing(command))
    assert answers == [InventoryReleased(order_id=command.order_id)] * 2
    assert await shop.stock(tea) == (3, 0, 0)


async def test_products_are_locked_in_the_order_of_their_ids(shop: Shop) -> None:
    ids = sorted((a_product_id() for _ in range(8)), reverse=True)
    for product_id in ids:
        await shop.product(5, product_id)
    # A plan that sorts on its way to the rows would hide that they are not asked for in order.
    await shop.database.rows(f'ALTER DATABASE "{shop.database.name}" SET enable_sort = off')

    async def all_but_the_highest_are_taken() -> bool:
        async with a_transaction(shop.dsn) as tx:
            free = await tx.fetch("SELECT product_id FROM stock FOR UPDATE SKIP LOCKED")
        return free == []

    async with asyncio.TaskGroup() as group:
        async with a_transaction(shop.dsn) as tx:
            await store.lock_stock(tx, ids[0])
            racing = group.create_task(shop.handle(asking(*((product_id, 1) for product_id in ids))))
            await eventually(all_but_the_highest_are_taken, what="the lower ids locked before the highest")
            assert not racing.done()
        assert isinstance((await racing)[0], InventoryReserved)


async def test_a_hold_that_was_not_seen_is_never_written_over(shop: Shop) -> None:
    tea = await shop.product(1)
    command = asking((tea, 1))
    await shop.handle(command)
    blind = Shelves({}, {})
    blind.put(Hold(command.order_id, "released"))

    async def save_blindly() -> None:
        async with a_transaction(shop.dsn) as tx:
            await tx.fetch("SELECT 1")
            await store.save(tx, blind)

    with pytest.raises(psycopg.errors.UniqueViolation):
        await save_blindly()
    assert await shop.database.row(HOLD, command.order_id) == ("held",)


async def test_a_batch_of_any_size_costs_the_same_statements(shop: Shop) -> None:
    tea, cup = await shop.product(1_000), await shop.product(1_000)
    known = [asking((tea, 1), (cup, 2)) for _ in range(20)]
    await shop.handle(*known)
    messages: list[Contract] = [completed(command) for command in known]
    messages += [asking((cup, 1), (tea, 3)) for _ in range(20)]
    async with a_transaction(shop.dsn) as tx:
        clock = len(tx.statements)
        await handle_in(tx, service, *messages)
        sent = tx.statements[clock:]
    assert sent == [store.LOCK_HOLDS, store.LOCK_STOCK, store.MOVE_STOCK, store.ADD_HOLDS, store.MOVE_HOLDS]
    assert await shop.stock(tea) == (980, 60, 20)


async def test_a_batch_that_changes_nothing_writes_nothing(shop: Shop) -> None:
    tea = await shop.product(1)
    command = asking((tea, 1))
    await shop.handle(command)
    async with a_transaction(shop.dsn) as tx:
        clock = len(tx.statements)
        await handle_in(tx, service, command, completed(asking((tea, 1))))
        assert tx.statements[clock:] == [store.LOCK_HOLDS, store.LOCK_STOCK]


@pytest.mark.parametrize(
    ("statement", "constraint"),
    [
        ("INSERT INTO stock VALUES (gen_random_uuid(), -1, 0, 0)", "ck_stock_on_hand_covers_reserved"),
        ("INSERT INTO stock VALUES (gen_random_uuid(), 1, 2, 0)", "ck_stock_on_hand_covers_reserved"),
        ("INSERT INTO stock VALUES (gen_random_uuid(), 1, -1, 0)", "ck_stock_reserved"),
        ("INSERT INTO stock VALUES (gen_random_uuid(), 1, 0, -1)", "ck_stock_sold"),
        ("UPDATE holds SET state = 'lost'", "ck_holds_state"),
        ("UPDATE holds SET reason = 'why'", "ck_holds_refused_has_reason"),
        ("UPDATE holds SET detail = '[1]'", "ck_holds_refused_has_detail"),
        ("UPDATE holds SET state = 'refused', reason = 'why'", "ck_holds_refused_has_detail"),
        ("UPDATE holds SET state = 'refused', reason = 'why', detail = '[]'", "ck_holds_detail_names_lines"),
        ("UPDATE holds SET state = 'refused', reason = 'why', detail = '{}'", "ck_holds_detail_names_lines"),
        ("UPDATE reservations SET quantity = 0", "ck_reservations_quantity"),
        ("UPDATE reservations SET state = 'refused'", "ck_reservations_state"),
        (
            "INSERT INTO reservations VALUES (gen_random_uuid(), gen_random_uuid(), 1, 'held')",
            "fk_reservations_order_id",
        ),
    ],
)
async def test_no_row_can_break_a_rule(shop: Shop, statement: str, constraint: str) -> None:
    await shop.handle(asking((await shop.product(1), 1)))
    with pytest.raises(psycopg.errors.IntegrityError) as broken:
        await shop.database.rows(statement)
    assert broken.value.diag.constraint_name == constraint
