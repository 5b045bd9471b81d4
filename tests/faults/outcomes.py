"""What every order ended as, in each service's eyes: they must tell one story, and leave nothing held."""

from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from tests.faults.books import Books
from tests.faults.platform import Platform
from tests.faults.violation import Violation

SAGAS: Final = """
    SELECT business_key, type, status, data->'data'->>'user_id', parked_at IS NOT NULL FROM sagas
    WHERE business_key >= %s
"""
ORDERS: Final = "SELECT id, status, total_minor, user_id::text FROM orders WHERE id >= %s"
HOLDS: Final = "SELECT order_id, state FROM holds WHERE order_id >= %s"
PAYMENTS: Final = "SELECT order_id, status, amount_minor FROM payments WHERE order_id >= %s"
OPEN_ATTEMPTS: Final = "SELECT order_id::text, kind, state FROM payment_attempts WHERE state <> 'done'"
HISTORY: Final = "SELECT order_id, status, total_minor, user_id::text FROM orders WHERE order_id >= %s"
ASKED: Final = "SELECT order_id, user_id::text, route FROM idempotency_keys WHERE order_id >= %s"


@dataclass(slots=True)
class Story:
    """One order, as each database tells it; None where it says nothing."""

    create: str | None = None
    cancel: str | None = None
    parked: bool = False
    order: str | None = None
    hold: str | None = None
    payment: str | None = None
    history: str | None = None
    totals: tuple[int | None, int | None, int | None] = (None, None, None)
    owners: frozenset[str] = frozenset()


async def stories(platform: Platform, before: Books) -> dict[UUID, Story]:
    """Every order since the books were opened."""
    found: dict[UUID, Story] = {}
    since = [before.first_order]

    def story(order: UUID) -> Story:
        return found.setdefault(order, Story())

    for order, kind, status, owner, parked in await platform.rows("order_saga", SAGAS, since):
        told = story(order)
        told.parked |= parked
        told.owners |= {owner}
        if kind == "create_order":
            told.create = status
        else:
            told.cancel = status
    for order, status, total, owner in await platform.rows("order", ORDERS, since):
        told = story(order)
        told.order, told.totals = status, (total, *told.totals[1:])
        told.owners |= {owner} if owner else set()
    for order, state in await platform.rows("inventory", HOLDS, since):
        story(order).hold = state
    for order, status, amount in await platform.rows("payment", PAYMENTS, since):
        told = story(order)
        told.payment, told.totals = status, (told.totals[0], amount, told.totals[2])
    for order, status, total, owner in await platform.rows("order_history", HISTORY, since):
        told = story(order)
        told.history, told.totals = status, (*told.totals[:2], total)
        told.owners |= {owner} if owner else set()
    for order, owner, _route in await platform.rows("gateway", ASKED, since):
        story(order).owners |= {owner}
    return found


async def orders(
    platform: Platform, before: Books, acknowledged: Collection[UUID]
) -> AsyncIterator[Violation]:
    """I3, I5, I10 and I14: accepted orders end, and all services agree on what each ended as, and whose it is."""
    found = await stories(platform, before)
    for order in acknowledged:
        if order not in found or found[order].create is None:
            yield Violation("I3", f"order {order}", "was accepted and has no saga")
    for order, told in found.items():
        for invariant, finding in judged(told):
            yield Violation(invariant, f"order {order}", finding)
    for order, kind, state in await platform.rows("payment", OPEN_ATTEMPTS):
        yield Violation("I10", f"order {order}", f"its {kind} at the card provider is {state}")


def judged(told: Story) -> list[tuple[str, str]]:
    """What is wrong with one order's story."""
    if told.create is None:
        return [("I3", f"no saga, but order {told.order}, hold {told.hold}, payment {told.payment}")]
    if told.create not in {"completed", "compensated"} or told.cancel in {"running", "compensating"}:
        return [("I3", f"saga {told.create}, cancellation {told.cancel}, not ended")]
    wrong: list[tuple[str, str]] = []
    if told.parked:
        wrong.append(("I3", "its saga is parked"))
    if len(told.owners) != 1:
        wrong.append(("I14", f"belongs to {sorted(map(str, told.owners))}"))
    sold = told.create == "completed" and told.cancel != "completed"
    return [*wrong, *(_sold(told) if sold else _cancelled(told))]


def _sold(told: Story) -> list[tuple[str, str]]:
    wrong: list[tuple[str, str]] = []
    seen = (told.order, told.hold, told.payment, told.history)
    if seen != ("completed", "sold", "completed", "completed"):
        wrong.append(("I5", f"order, hold, payment and history of a completed one are {seen}"))
    if len(set(told.totals)) != 1:
        wrong.append(("I5", f"totals of order, payment and history differ: {told.totals}"))
    return wrong


def _cancelled(told: Story) -> list[tuple[str, str]]:
    wrong: list[tuple[str, str]] = []
    if (told.order, told.history) != ("cancelled", "cancelled"):
        wrong.append(("I5", f"cancelled, but order is {told.order} and history {told.history}"))
    if told.hold not in {"released", "refused", None}:
        wrong.append(("I10", f"cancelled, but its stock is {told.hold}"))
    if told.payment not in {"failed", "refunded", "cancelled", None}:
        wrong.append(("I10", f"cancelled, but its payment is {told.payment}"))
    return wrong
