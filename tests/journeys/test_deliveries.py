"""What deliveries may do that nobody wishes for: twice, too late, garbled. Seen in the tables of a real inventory."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest
from uuid_utils.compat import uuid7

from libs.contracts.inventory import ReleaseInventory, ReserveInventory
from libs.contracts.topics import INVENTORY_COMMANDS, INVENTORY_EVENTS, dead_letters
from libs.contracts.values import Line, OrderId, ProductId
from tests.support.builders import a_correlation, a_message_id, a_product_id, a_record, an_order_id, envelope
from tests.support.databases import Database
from tests.support.services import ServiceProcess
from tests.support.topics import RawRecord, Topics
from tests.support.waiting import eventually

ON_HAND = 10
OFFSETS = "SELECT coalesce(sum(next_offset), 0) FROM consumer_offsets WHERE topic LIKE '%%' || %s"


@dataclass(frozen=True, slots=True)
class Inventory:
    """A running inventory with one product on its shelf."""

    process: ServiceProcess
    topics: Topics
    product: ProductId

    async def handled(self, *records: RawRecord) -> list[RawRecord]:
        """The records as placed, once the inventory has read past all that its commands topic holds."""
        placed = await self.topics.publish(*records)
        total = len(await self.topics.read(INVENTORY_COMMANDS))

        async def ask() -> bool:
            [(read,)] = await self.process.database.rows(OFFSETS, INVENTORY_COMMANDS)
            assert read == total, f"read {read} of {total}"
            return True

        await eventually(ask, what="everything read")
        return placed

    async def shelf(self) -> tuple[int, int, int]:
        """On hand, reserved, sold."""
        on_hand, reserved, sold = await self.process.database.row("SELECT on_hand, reserved, sold FROM stock")
        return on_hand, reserved, sold

    async def hold(self, order: OrderId) -> str | None:
        """The state of an order's hold."""
        rows = await self.process.database.rows("SELECT state FROM holds WHERE order_id = %s", order)
        return rows[0][0] if rows else None

    async def answers(self, count: int) -> list[str]:
        """The types of its events, once there are so many and its outbox is empty."""

        async def ask() -> list[str] | None:
            assert await self.process.database.rows("SELECT FROM outbox") == []
            events = await self.topics.read(INVENTORY_EVENTS)
            assert len(events) == count, f"{len(events)} events, {count} wanted"
            return [(event.header("ce_type") or "").split(".")[1] for event in events]

        return await eventually(ask, every=0.1)

    async def graves(self) -> list[tuple[str, int, int, str]]:
        """Its dead letters: topic without prefix, partition, offset, reason."""
        rows = await self.process.database.rows(
            'SELECT topic, partition, "offset", reason FROM dead_letters ORDER BY id'
        )
        return [(topic.removeprefix(self.topics.prefix), p, o, reason) for topic, p, o, reason in rows]


@pytest.fixture
async def inventory(
    service: Callable[..., Awaitable[ServiceProcess]],
    database: Callable[[str], Awaitable[Database]],
    topics: Topics,
) -> Inventory:
    made, product = await database("inventory"), a_product_id()
    await made.rows("INSERT INTO stock (product_id, on_hand) VALUES (%s, %s)", product, ON_HAND)
    return Inventory(await service("inventory", on=made), topics, product)


def reserve(inventory: Inventory, order: OrderId, quantity: int = 2) -> RawRecord:
    command = ReserveInventory(order_id=order, lines=(Line(product_id=inventory.product, quantity=quantity),))
    return a_record(command, correlation=a_correlation(order, "reserve_inventory"))


def release(order: OrderId) -> RawRecord:
    return a_record(ReleaseInventory(order_id=order), correlation=a_correlation(order, "release_inventory"))


async def test_the_same_record_twice_in_one_poll_is_handled_once(inventory: Inventory) -> None:
    order = an_order_id()
    record = reserve(inventory, order)
    await inventory.handled(record, record)
    assert await inventory.answers(1) == ["InventoryReserved"]
    assert await inventory.shelf() == (ON_HAND, 2, 0)
    assert await inventory.process.database.row("SELECT count(*) FROM inbox") == (1,)


async def test_the_same_record_again_later_is_handled_once(inventory: Inventory) -> None:
    order = an_order_id()
    record = reserve(inventory, order)
    await inventory.handled(record)
    await inventory.handled(record)
    assert await inventory.answers(1) == ["InventoryReserved"]
    assert await inventory.shelf() == (ON_HAND, 2, 0)


async def test_a_command_sent_again_under_a_new_id_is_answered_again_without_effect(
    inventory: Inventory,
) -> None:
    order = an_order_id()
    await inventory.handled(reserve(inventory, order))
    await inventory.handled(reserve(inventory, order))
    assert await inventory.answers(2) == ["InventoryReserved", "InventoryReserved"]
    assert await inventory.shelf() == (ON_HAND, 2, 0)


async def test_an_answer_carries_the_headers_of_its_command(inventory: Inventory) -> None:
    order = an_order_id()
    command = reserve(inventory, order)
    await inventory.handled(command)
    await inventory.answers(1)
    [event] = await inventory.topics.read(INVENTORY_EVENTS)
    assert event.key == str(order).encode()
    for name in ("saga_id", "step", "attempt"):
        assert event.header(name) == command.header(name)
    assert event.header("causation_id") == command.header("ce_id")
    assert event.header("ce_source") == "/inventory"
    assert len({name for name, _ in event.headers}) == len(event.headers)


@pytest.mark.parametrize("at_once", [True, False])
async def test_a_command_after_its_undo_is_refused(inventory: Inventory, at_once: bool) -> None:
    order = an_order_id()
    if at_once:
        await inventory.handled(release(order), reserve(inventory, order))
    else:
        await inventory.handled(release(order))
        assert await inventory.hold(order) == "released"
        await inventory.handled(reserve(inventory, order))
    assert await inventory.answers(2) == ["InventoryReleased", "InventoryReserveFailed"]
    events = await inventory.topics.read(INVENTORY_EVENTS)
    assert b'"already_undone"' in (events[1].value or b"")
    assert (await inventory.hold(order), await inventory.shelf()) == ("released", (ON_HAND, 0, 0))


POISON = {
    "not_json": lambda order: RawRecord(
        INVENTORY_COMMANDS, str(order).encode(), b"\xff{", envelope("inventory.ReserveInventory.v1")
    ),
    "unknown_type": lambda order: RawRecord(
        INVENTORY_COMMANDS, str(order).encode(), b"{}", envelope("inventory.Abracadabra.v7")
    ),
    "wrong_key": lambda order: RawRecord(
        INVENTORY_COMMANDS,
        str(uuid7()).encode(),
        ReleaseInventory(order_id=order).model_dump_json().encode(),
        envelope("inventory.ReleaseInventory.v1"),
    ),
    "bad_header": lambda order: RawRecord(
        INVENTORY_COMMANDS,
        str(order).encode(),
        ReleaseInventory(order_id=order).model_dump_json().encode(),
        [(name, value) for name, value in envelope("inventory.ReleaseInventory.v1") if name != "ce_id"],
    ),
    "invalid_payload": lambda order: RawRecord(
        INVENTORY_COMMANDS,
        str(order).encode(),
        b'{"order_id": "%s", "lines": [{"product_id": "%s", "quantity": -1}]}'
        % (str(order).encode(), str(order).encode()),
        envelope("inventory.ReserveInventory.v1"),
    ),
}


@pytest.mark.parametrize("reason", POISON)
async def test_a_record_that_nobody_can_read_is_one_dead_letter_and_the_next_one_goes_on(
    inventory: Inventory, reason: str
) -> None:
    order = an_order_id()
    poison = POISON[reason](order)
    [bad, good] = await inventory.handled(poison, reserve(inventory, order))
    assert await inventory.graves() == [(INVENTORY_COMMANDS, bad.partition, bad.offset, reason)]
    assert await inventory.answers(1) == ["InventoryReserved"]
    assert good.offset >= 0
    [letter] = await inventory.topics.expect(dead_letters("inventory"), 1)
    assert (letter.key, letter.value) == (poison.key, poison.value)
    kept = {name: value for name, value in letter.headers if not name.startswith("dlq_")}
    assert kept == dict(poison.headers)
    assert any(name.startswith("dlq_") for name, _ in letter.headers)


async def test_a_known_type_without_a_route_is_passed_over(inventory: Inventory) -> None:
    order = an_order_id()
    stranger = RawRecord(
        INVENTORY_COMMANDS, str(order).encode(), b"{}", envelope("payment.PaymentCompleted.v1")
    )
    await inventory.handled(stranger, reserve(inventory, order))
    assert await inventory.graves() == []
    assert await inventory.answers(1) == ["InventoryReserved"]


async def test_dead_letters_of_records_delivered_twice_stay_single(inventory: Inventory) -> None:
    message = a_message_id()
    poison = RawRecord(INVENTORY_COMMANDS, b"x", b"{", envelope("inventory.X.v1", message_id=message))
    first, second = await inventory.handled(poison, poison)
    assert [(p, o) for _, p, o, _ in await inventory.graves()] == [
        (first.partition, first.offset),
        (second.partition, second.offset),
    ]
