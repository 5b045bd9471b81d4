"""Tries the orders' SQL on the real database, as its runtime role."""

import asyncio
from collections.abc import Awaitable, Callable

import psycopg
import pytest

from libs.contracts.message import Contract
from libs.contracts.order import (
    BeginCancellation,
    CancelOrder,
    CompleteOrder,
    CreateOrder,
    OrderCancelled,
    OrderCreateFailed,
)
from libs.contracts.values import PaymentId, PaymentMethodId
from libs.service.service import Answer
from migrations import runner
from order import store
from order.app import service
from order.domain import Order, Orders, Reason
from tests.support.builders import a_user_id, an_order_id, euros, priced, some_lines
from tests.support.databases import Database
from tests.support.store import a_transaction, handle, handle_in
from tests.support.waiting import eventually

pytestmark = pytest.mark.integration

ORDER = """
    SELECT user_id, status, payment_method_id, total_minor, currency, payment_id, reason_code, reason
    FROM orders WHERE id = %s
"""
LINES = """
    SELECT line_no, product_id, quantity, name, price_minor FROM order_lines WHERE order_id = %s ORDER BY line_no
"""
WAITING = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


def a_creation(lines: int = 2) -> CreateOrder:
    return CreateOrder(
        order_id=an_order_id(),
        user_id=a_user_id(),
        payment_method_id=PaymentMethodId(an_order_id()),
        lines=some_lines(lines, quantity=3),
    )


def completing(created: CreateOrder) -> CompleteOrder:
    return CompleteOrder(
        order_id=created.order_id,
        user_id=created.user_id,
        lines=priced(created.lines, cents=250),
        total=euros(750 * len(created.lines)),
        payment_id=PaymentId(an_order_id()),
    )


def beginning(created: CreateOrder) -> BeginCancellation:
    return BeginCancellation(
        order_id=created.order_id, user_id=created.user_id, reason_code="out_of_stock", reason="No tea."
    )


def cancelling(created: CreateOrder) -> CancelOrder:
    return CancelOrder(
        order_id=created.order_id, user_id=created.user_id, reason_code="out_of_stock", reason="No tea."
    )


class Desk:
    """The order service's database, and its rules run on it."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.dsn = database.runtime_dsn

    async def handle(self, *bodies: Contract) -> list[Answer]:
        return await handle(self.dsn, service, *bodies)

    async def order(self, created: CreateOrder) -> tuple[object, ...]:
        return await self.database.row(ORDER, created.order_id)


@pytest.fixture
async def desk(database: Callable[[str], Awaitable[Database]]) -> Desk:
    return Desk(await database("order"))


async def test_the_migrations_make_the_tables_that_the_code_knows(desk: Desk) -> None:
    await asyncio.to_thread(runner.check, "order", desk.database.owner_dsn)


async def test_an_order_goes_from_pending_to_cancelled(desk: Desk) -> None:
    created = a_creation()
    completion = completing(created)
    method, charged = created.payment_method_id, (1_500, "EUR", completion.payment_id)
    asked = [(n, line.product_id, 3) for n, line in enumerate(created.lines, start=1)]

    await desk.handle(created)
    assert await desk.order(created) == (created.user_id, "pending", method, None, None, None, None, None)
    assert await desk.database.rows(LINES, created.order_id) == [(*line, None, None) for line in asked]

    await desk.handle(completion)
    assert await desk.order(created) == (created.user_id, "completed", method, *charged, None, None)
    prices = [(*line, f"Product {line[0]}", 250) for line in asked]
    assert await desk.database.rows(LINES, created.order_id) == prices

    await desk.handle(beginning(created))
    reason = ("out_of_stock", "No tea.")
    assert await desk.order(created) == (created.user_id, "cancelling", method, *charged, *reason)

    await desk.handle(cancelling(created))
    assert await desk.order(created) == (created.user_id, "cancelled", method, *charged, *reason)
    assert await desk.database.rows(LINES, created.order_id) == prices
    (times,) = await desk.database.rows("SELECT updated_at > created_at FROM orders")
    assert times == (True,)


async def test_answers_are_given_again_from_the_rows(desk: Desk) -> None:
    created, undone = a_creation(3), a_creation()
    completion = completing(created)
    first = [*await desk.handle(created, cancelling(undone)), *await desk.handle(completion)]
    again = [*await desk.handle(created, cancelling(undone)), *await desk.handle(completion)]
    assert again == first
    (late,) = await desk.handle(undone)
    assert isinstance(late, OrderCreateFailed)
    assert late.reason_code == "already_undone"
    tombstone = (undone.user_id, "cancelled", None, None, None, None, "out_of_stock", "No tea.")
    assert await desk.order(undone) == tombstone
    assert await desk.database.rows(LINES, undone.order_id) == []

    await desk.handle(beginning(created), cancelling(created))
    assert await desk.handle(created, completion) == [first[0], first[2]]


async def test_a_batch_sees_its_own_decisions(desk: Desk) -> None:
    created, other = a_creation(), a_creation(1)
    await desk.handle(
        created, other, completing(created), beginning(created), cancelling(created), completing(other)
    )
    assert (await desk.order(created))[1] == "cancelled"
    assert (await desk.order(other))[1:5] == ("completed", other.payment_method_id, 750, "EUR")
    assert [row[3:] for row in await desk.database.rows(LINES, created.order_id)] == [
        ("Product 1", 250),
        ("Product 2", 250),
    ]


async def test_two_batches_race_for_one_order(desk: Desk) -> None:
    created = a_creation()
    await desk.handle(created)

    async def somebody_waits() -> bool:
        return len(await desk.database.rows(WAITING)) == 1

    async with asyncio.TaskGroup() as group:
        async with a_transaction(desk.dsn) as tx:
            await handle_in(tx, service, completing(created))
            racing = group.create_task(desk.handle(cancelling(created)))
            await eventually(somebody_waits, what="the second batch waits for the first one's lock")
        assert [type(answer) for answer in await racing] == [OrderCancelled]
    assert (await desk.order(created))[1:5] == ("cancelled", created.payment_method_id, 1_500, "EUR")


async def test_an_order_that_was_not_seen_is_never_written_over(desk: Desk) -> None:
    created = a_creation()
    await desk.handle(created)
    blind = Orders({})
    blind.put(Order(created.order_id, created.user_id, "cancelled", reason=Reason("x", "y")))

    async def save_blindly() -> None:
        async with a_transaction(desk.dsn) as tx:
            await tx.fetch("SELECT 1")
            await store.save(tx, blind)

    with pytest.raises(psycopg.errors.UniqueViolation):
        await save_blindly()
    assert (await desk.order(created))[1] == "pending"


async def test_a_batch_of_any_size_costs_the_same_statements(desk: Desk) -> None:
    known = [a_creation() for _ in range(20)]
    await desk.handle(*known)
    messages: list[Contract] = [completing(created) for created in known]
    messages += [a_creation(5) for _ in range(20)]
    async with a_transaction(desk.dsn) as tx:
        clock = len(tx.statements)
        await handle_in(tx, service, *messages)
        sent = tx.statements[clock:]
    assert sent == [store.LOCK_ORDERS, store.LINES, store.ADD_ORDERS, store.MOVE_ORDERS, store.PRICE_LINES]
    assert await desk.database.rows("SELECT status, count(*) FROM orders GROUP BY 1 ORDER BY 1") == [
        ("completed", 20),
        ("pending", 20),
    ]


async def test_a_batch_of_repeats_writes_nothing(desk: Desk) -> None:
    created = a_creation()
    await desk.handle(created)
    async with a_transaction(desk.dsn) as tx:
        clock = len(tx.statements)
        await handle_in(tx, service, created, created)
        assert tx.statements[clock:] == [store.LOCK_ORDERS, store.LINES]


@pytest.mark.parametrize(
    ("statement", "constraint"),
    [
        ("UPDATE orders SET status = 'lost'", "ck_orders_status"),
        ("UPDATE orders SET status = 'completed'", "ck_orders_completed_is_charged"),
        (
            "UPDATE orders SET total_minor = 1, currency = 'EUR', payment_id = id",
            "ck_orders_pending_is_not_charged",
        ),
        ("UPDATE orders SET total_minor = 1, status = 'completed'", "ck_orders_charged_whole"),
        (
            "UPDATE orders SET status = 'completed', total_minor = -1, currency = 'EUR', payment_id = id",
            "ck_orders_total_minor",
        ),
        (
            "UPDATE orders SET status = 'completed', total_minor = 1, currency = 'eur', payment_id = id",
            "ck_orders_currency",
        ),
        ("UPDATE orders SET payment_method_id = NULL", "ck_orders_tombstone_is_cancelled"),
        (
            """
            UPDATE orders SET payment_method_id = NULL, status = 'cancelled', reason_code = 'x', reason = 'y',
                              total_minor = 1, currency = 'EUR', payment_id = id
            """,
            "ck_orders_tombstone_is_not_charged",
        ),
        ("UPDATE orders SET status = 'cancelled'", "ck_orders_cancelled_has_reason"),
        ("UPDATE orders SET reason_code = 'x', reason = 'y'", "ck_orders_cancelled_has_reason"),
        ("UPDATE orders SET status = 'cancelling', reason_code = 'x'", "ck_orders_reason_whole"),
        ("UPDATE order_lines SET quantity = 0", "ck_order_lines_quantity"),
        ("UPDATE order_lines SET quantity = 1001", "ck_order_lines_quantity"),
        ("UPDATE order_lines SET line_no = 51", "ck_order_lines_line_no"),
        ("UPDATE order_lines SET name = 'Tea'", "ck_order_lines_priced_whole"),
        ("UPDATE order_lines SET name = 'Tea', price_minor = -1", "ck_order_lines_price_minor"),
        (
            "INSERT INTO order_lines VALUES (gen_random_uuid(), 1, gen_random_uuid(), 1)",
            "fk_order_lines_order_id",
        ),
    ],
)
async def test_no_row_can_break_a_rule(desk: Desk, statement: str, constraint: str) -> None:
    await desk.handle(a_creation(1))
    with pytest.raises(psycopg.errors.IntegrityError) as broken:
        await desk.database.rows(statement)
    assert broken.value.diag.constraint_name == constraint
