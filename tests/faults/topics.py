"""What the topics tell: the read model is the fold of the events, nothing lags, dead letters are the known ones."""

import json
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final
from uuid import UUID

from tests.faults.books import Books
from tests.faults.platform import COMMAND_TOPICS, CONSUMERS, EVENT_TOPICS, Lain, Platform
from tests.faults.violation import Violation

RANKS: Final = ("created", "validated", "reserved", "paid", "completed", "cancelling", "cancelled")
RANK_OF: Final = MappingProxyType(
    {
        "order.OrderCreated.v1": "created",
        "product.ProductsValidated.v1": "validated",
        "inventory.InventoryReserved.v1": "reserved",
        "payment.PaymentCompleted.v1": "paid",
        "order.OrderCompleted.v1": "completed",
        "product.ProductsValidationFailed.v1": "cancelling",
        "inventory.InventoryReserveFailed.v1": "cancelling",
        "payment.PaymentFailed.v1": "cancelling",
        "inventory.InventoryReleased.v1": "cancelling",
        "payment.PaymentRefunded.v1": "cancelling",
        "order.OrderCancelling.v1": "cancelling",
        "order.OrderCancelled.v1": "cancelled",
        "order.OrderCreateFailed.v1": "cancelled",
    }
)
STATUS_OF: Final = MappingProxyType(
    {"completed": "completed", "cancelling": "cancelling", "cancelled": "cancelled"}
)
REASONS: Final = frozenset(
    {"order.OrderCancelled.v1", "order.OrderCancelling.v1", "order.OrderCreateFailed.v1"}
)
HISTORY: Final = "SELECT order_id, status, reason_code, total_minor FROM orders WHERE order_id >= %s"
OFFSETS: Final = "SELECT topic, partition, next_offset FROM consumer_offsets"
DEAD: Final = 'SELECT topic, partition, "offset", reason FROM dead_letters WHERE id > %s ORDER BY id'


@dataclass(slots=True)
class Folded:
    """An order as its events tell it, in whatever order they come."""

    rank: int = -1
    reasons: dict[str, tuple[str, str]] = field(default_factory=dict)
    totals: dict[str, tuple[str, int]] = field(default_factory=dict)

    def see(self, wire: str, message: str, body: dict[str, object]) -> None:
        """Fold one event in."""
        if wire not in RANK_OF:
            return
        self.rank = max(self.rank, RANKS.index(RANK_OF[wire]))
        if wire in REASONS:
            reason = (message, str(body["reason_code"]))
            self.reasons[wire] = min(self.reasons.get(wire, reason), reason)
        match body.get("total"):
            case {"amount_minor": int(minor)}:
                total = (message, minor)
                self.totals[wire] = min(self.totals.get(wire, total), total)

    @property
    def status(self) -> str:
        """The status that customers read."""
        return STATUS_OF.get(RANKS[self.rank], "pending")

    @property
    def total(self) -> int | None:
        """From OrderCompleted, else from the event with the lowest id."""
        if "order.OrderCompleted.v1" in self.totals:
            return self.totals["order.OrderCompleted.v1"][1]
        return min(self.totals.values())[1] if self.totals else None


async def read_model(platform: Platform, before: Books) -> AsyncIterator[Violation]:
    """I8: status, reason and total of every order are what its events say."""
    folded: dict[UUID, Folded] = {}
    async for record in platform.records(EVENT_TOPICS):
        body = _body(record)
        if body is None or record.key is None:
            continue
        order = UUID(record.key.decode())
        if order >= before.first_order:
            message = record.headers.get("ce_id", "")
            folded.setdefault(order, Folded()).see(record.headers.get("ce_type", ""), message, body)
    shown = {row[0]: row[1:] for row in await platform.rows("order_history", HISTORY, [before.first_order])}
    for order in folded.keys() - shown.keys():
        yield Violation("I8", f"order {order}", "has events and no history")
    for order, (status, reason, total) in shown.items():
        told = folded.get(order)
        if told is None:
            yield Violation("I8", f"order {order}", "has a history and no events")
            continue
        if status != told.status:
            yield Violation("I8", f"order {order}", f"is shown {status}, its events say {told.status}")
        reasons = {code for _, code in told.reasons.values()}
        if reason not in reasons and (reason is not None or reasons):
            yield Violation("I8", f"order {order}", f"shows the reason {reason}, its events {told.reasons}")
        if total != told.total:
            yield Violation("I8", f"order {order}", f"shows a total of {total}, its events say {told.total}")


async def lag(platform: Platform) -> AsyncIterator[Violation]:
    """I13: every consumer has read its topics to the end."""
    ends = await platform.ends((*COMMAND_TOPICS, *EVENT_TOPICS))
    for service in CONSUMERS:
        for topic, partition, following in await platform.rows(service, OFFSETS):
            end = ends.get((topic, partition))
            if end is not None and following != end:
                yield Violation("I13", f"{service} {topic}/{partition}", f"is at {following} of {end}")


async def dead_letters(
    platform: Platform, before: Books, poison: Collection[tuple[str, int, int]]
) -> AsyncIterator[Violation]:
    """I11: each injected poison is a dead letter of somebody, and nothing else is one."""
    found: set[tuple[str, int, int]] = set()
    for service in CONSUMERS:
        known = before.dead_letters.get(service, 0)
        for topic, partition, offset, reason in await platform.rows(service, DEAD, [known]):
            place = (topic, partition, offset)
            found.add(place)
            if place not in poison:
                yield Violation("I11", f"{service} {topic}/{partition}@{offset}", f"died of {reason}")
    for topic, partition, offset in set(poison) - found:
        yield Violation("I11", f"{topic}/{partition}@{offset}", "poison that nobody buried")


async def secrets(platform: Platform, canaries: Collection[str]) -> AsyncIterator[Violation]:
    """I15, in the topics: no canary in any record."""
    if not canaries:
        return
    dead = tuple(f"{service.replace('_', '-')}-dead-letters" for service in CONSUMERS)
    async for record in platform.records((*COMMAND_TOPICS, *EVENT_TOPICS, *dead)):
        text = (record.value or b"").decode(errors="replace") + " ".join(record.headers.values())
        for canary in canaries:
            if canary in text:
                yield Violation("I15", f"{record.topic}/{record.partition}@{record.offset}", "holds a secret")


def _body(record: Lain) -> dict[str, object] | None:
    try:
        body = json.loads(record.value or b"")
    except ValueError:
        return None
    return body if isinstance(body, dict) else None
