"""Whether each order's messages lie in the topics in the order in which a saga sends and hears them."""

from collections import defaultdict
from collections.abc import AsyncIterable, Iterator
from itertools import pairwise
from typing import Final
from uuid import UUID

from tests.faults.platform import COMMAND_TOPICS, EVENT_TOPICS, Lain, platform

RANKS: Final = (
    ("SagaCreateOrder", "SagaCancelOrder"),
    ("CreateOrder", "CompleteOrder", "BeginCancellation", "CancelOrder"),
    ("OrderCreated", "OrderCompleted", "OrderCancelling", "OrderCancelled"),
    ("ReserveInventory", "ReleaseInventory"),
    ("InventoryReserved", "InventoryReleased"),
    ("ProcessPayment", "RefundPayment"),
    ("PaymentCompleted", "PaymentRefunded"),
)
"""Of one order and one topic, what may only come after what; other types have no place of their own."""

_RANK: Final = {wire: rank for line in RANKS for rank, wire in enumerate(line)}


async def overtakings(bootstrap: str, since: UUID) -> list[str]:
    """What lies in the wrong order, or on two partitions, of the orders that are not older than `since`."""
    async with platform({}, bootstrap) as seen:
        return await found_in(seen.records((*COMMAND_TOPICS, *EVENT_TOPICS)), since)


async def found_in(records: AsyncIterable[Lain], since: UUID) -> list[str]:
    """The same of records, each partition in its order; a record that was sent again does not count again."""
    partitions: dict[str, set[int]] = defaultdict(set)
    types: dict[tuple[str, str], list[str]] = defaultdict(list)
    known: set[str] = set()
    async for record in records:
        key, message_id = (record.key or b"").decode(errors="replace"), record.headers.get("ce_id", "")
        if key < str(since) or message_id in known:
            continue
        known.add(message_id)
        partitions[key].add(record.partition)
        types[key, record.topic].append(record.headers.get("ce_type", "").split(".")[1])
    wrong = [f"{key} is on partitions {sorted(on)}" for key, on in partitions.items() if len(on) > 1]
    return wrong + [
        f"{key}: {late} overtaken by {early} in {topic}"
        for (key, topic), found in types.items()
        for early, late in _inversions(found)
    ]


def _inversions(found: list[str]) -> Iterator[tuple[str, str]]:
    """Neighbours in the wrong order, of those types that have a place."""
    placed = [name for name in found if name in _RANK]
    for early, late in pairwise(placed):
        if _RANK[early] > _RANK[late]:
            yield early, late
