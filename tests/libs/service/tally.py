"""The smallest service there is, to try the host with: it counts what it is told about each order."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from libs.contracts.inventory import (
    InventoryReleased,
    InventoryReserved,
    ReleaseInventory,
    ReserveInventory,
)
from libs.messaging.message import Message
from libs.outbox.transaction import Transaction
from libs.service.service import Service, on

TABLE = "CREATE TABLE tally (order_id uuid PRIMARY KEY, heard bigint NOT NULL CHECK (heard <= 3))"
LOAD = "SELECT order_id, heard FROM tally WHERE order_id = ANY(%s::uuid[]) ORDER BY order_id FOR UPDATE"
SAVE = """
    INSERT INTO tally SELECT * FROM unnest(%s::uuid[], %s::bigint[])
    ON CONFLICT (order_id) DO UPDATE SET heard = excluded.heard
"""


@dataclass(slots=True)
class Counts:
    """How often each order was heard of."""

    heard: dict[UUID, int] = field(default_factory=dict)
    changed: set[UUID] = field(default_factory=set)

    def count(self, order_id: UUID) -> None:
        self.heard[order_id] = self.heard.get(order_id, 0) + 1
        self.changed.add(order_id)


async def load(tx: Transaction, messages: Sequence[Message[object]]) -> Counts:
    rows = await tx.fetch(LOAD, [sorted({m.key for m in messages})])
    return Counts(dict(rows))


async def save(tx: Transaction, counts: Counts) -> None:
    changed = sorted(counts.changed)
    if changed:
        await tx.queue(SAVE, [changed, [counts.heard[order_id] for order_id in changed]])


def reserve(counts: Counts, command: ReserveInventory) -> InventoryReserved:
    counts.count(command.order_id)
    return InventoryReserved(order_id=command.order_id)


def release(counts: Counts, command: ReleaseInventory) -> InventoryReleased:
    counts.count(command.order_id)
    return InventoryReleased(order_id=command.order_id)


def tally(
    reserve: Callable[[Counts, ReserveInventory], InventoryReserved | None] = reserve,
) -> Service[Counts]:
    """The service, with another way to decide on a reservation where a test wants one."""
    return Service(
        name="inventory",
        load=load,
        save=save,
        routes=[on(ReserveInventory, reserve), on(ReleaseInventory, release)],
    )
