"""Tries the inventory as it runs: commands and events in from the real broker, answers out to it."""

from collections.abc import Awaitable, Callable

import pytest

from libs.contracts.inventory import (
    InventoryReleased,
    InventoryReserved,
    InventoryReserveFailed,
    ReleaseInventory,
    ReserveInventory,
)
from libs.contracts.order import OrderCompleted
from libs.contracts.topics import INVENTORY_EVENTS
from libs.contracts.values import Line, PaymentId
from tests.support.builders import (
    a_correlation,
    a_message_id,
    a_product_id,
    a_record,
    a_user_id,
    an_order_id,
    euros,
    priced,
)
from tests.support.databases import Database
from tests.support.services import ServiceProcess
from tests.support.topics import Topics
from tests.support.waiting import eventually

pytestmark = pytest.mark.integration


async def test_an_order_is_held_once_sold_and_restocked(
    database: Callable[[str], Awaitable[Database]],
    topics: Topics,
    service: Callable[..., Awaitable[ServiceProcess]],
) -> None:
    inventory = await database("inventory")
    tea = a_product_id()
    await inventory.rows("INSERT INTO stock (product_id, on_hand) VALUES (%s, 5)", tea)
    command = ReserveInventory(order_id=an_order_id(), lines=(Line(product_id=tea, quantity=2),))
    undone = ReleaseInventory(order_id=an_order_id())
    late = ReserveInventory(order_id=undone.order_id, lines=command.lines)
    sale = OrderCompleted(
        order_id=command.order_id,
        user_id=a_user_id(),
        lines=priced(command.lines),
        total=euros(2_000),
        payment_id=PaymentId(an_order_id()),
    )
    asked = a_correlation(command.order_id, "reserve_inventory")

    async def stock_is(*expected: int) -> None:
        async def ask() -> bool:
            found = await inventory.row("SELECT on_hand, reserved, sold FROM stock")
            assert found == expected
            return True

        await eventually(ask, within=15, what=f"stock {expected}")

    message_id = a_message_id()
    twice = [a_record(command, message_id=message_id, correlation=asked) for _ in range(2)]
    await topics.publish(*twice, a_record(command, correlation=asked), a_record(undone), a_record(late))
    await service("inventory", on=inventory)
    answers = await topics.expect(INVENTORY_EVENTS, 4)
    by_order = {
        order_id: [r.header("ce_type") for r in answers if r.key == str(order_id).encode()]
        for order_id in (command.order_id, undone.order_id)
    }
    assert by_order == {
        command.order_id: [InventoryReserved.wire, InventoryReserved.wire],
        undone.order_id: [InventoryReleased.wire, InventoryReserveFailed.wire],
    }
    first = next(r for r in answers if r.header("causation_id") == str(message_id))
    assert (first.header("saga_id"), first.header("step")) == (str(command.order_id), "reserve_inventory")
    await stock_is(5, 2, 0)

    await topics.publish(a_record(sale), a_record(sale))
    await stock_is(3, 0, 2)
    await topics.publish(a_record(ReleaseInventory(order_id=command.order_id)))
    await stock_is(5, 0, 0)
    assert await inventory.rows("SELECT id FROM dead_letters UNION ALL SELECT id FROM parked_messages") == []
