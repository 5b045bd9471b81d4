"""Keeps at intents until their effect is there: closes what the read model shows, sends again what it does not."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, TypeAlias
from uuid import UUID

import psycopg
from psycopg_pool import PoolTimeout

from gateway.api.gate import Gate, open_gate
from gateway.api.history import statuses
from gateway.domain.orders import CANCEL, CANCELLED, CANCELLING, COMPLETED, message
from gateway.store import accounts, intents
from gateway.store.intents import Intent
from libs.contracts.values import OrderId
from libs.crash_points import reach
from libs.outbox.transaction import Transaction
from libs.service.problems import Problem
from libs.service.runtime import Runtime

ASK_FOR: Final = 1_000
"""Orders that one lookup asks for; the read model takes no more."""
LOOKS_IN_VAIN: Final = 3
"""Lookups without much effect after which the rest waits for the next time, however many intents are open."""
SEND_AT_ONCE: Final = 500
Place: TypeAlias = tuple[OrderId, str]
Unsettled: TypeAlias = tuple[OrderId, str, datetime]

FIRST: Final[Place] = (OrderId(UUID(int=0)), "")
TIDY_SECONDS: Final = 600.0
REFUSED_AFTER: Final = timedelta(days=7)
"""An order that is still completed so long after its cancellation was asked for has refused it, say because it is shipped."""
ORDERS_IN_LOG: Final = 20


async def settle(runtime: Runtime) -> None:
    """A worker: look again and again which intents have had their effect, and send again those that are due."""
    gate = open_gate(runtime)
    place = FIRST
    while True:
        await asyncio.sleep(gate.settings.settle_every_seconds)
        try:
            place = await close_seen(gate, place)
            await send_due(gate)
        except Problem as problem:
            runtime.log.warning("intents.not_settled", error=problem.detail)
        except (psycopg.OperationalError, PoolTimeout) as error:
            runtime.log.warning("intents.not_settled", error=repr(error))


async def tidy(runtime: Runtime) -> None:
    """A worker: drop what is kept long enough, idempotency keys and refresh tokens."""
    gate = open_gate(runtime)
    while True:
        async with gate.database.transaction() as tx:
            await intents.forget_keys(tx, gate.settings.idempotency_seconds)
            await accounts.forget_expired(tx)
        await asyncio.sleep(TIDY_SECONDS)


async def close_seen(gate: Gate, place: Place = FIRST) -> Place:
    """Close open intents whose effect the read model shows, those behind `place` first; where to go on.

    It goes on to the last one as long as intents close; while the orders stand still it looks at some at a time,
    so that a long outage, with its hundred thousands of open intents, costs no more than a short one.
    """
    in_vain = 0
    young = timedelta(seconds=gate.settings.settle_every_seconds / 2)
    while in_vain < LOOKS_IN_VAIN:
        async with gate.database.transaction() as tx:
            page = await intents.unsettled(tx, place, young, ASK_FOR)
        if not page:
            return FIRST
        place = page[-1][:2]
        closed = await _close(gate, page, tx.now)
        in_vain += 2 * closed < len(page)
    return place


async def _close(gate: Gate, page: Sequence[Unsettled], now: datetime) -> int:
    """Close those of these intents that have had their effect; how many that were."""
    seen = await statuses(gate, list(dict.fromkeys(order_id for order_id, _, _ in page)))
    settled = [
        (order_id, kind)
        for order_id, kind, since in page
        if _has_effect(kind, seen.get(str(order_id)), refused=since < now - REFUSED_AFTER)
    ]
    if settled:
        reach("intents.seen")
        async with gate.database.transaction() as tx:
            await intents.close(tx, settled)
        reach("intents.closed")
    return len(settled)


def _has_effect(kind: str, status: str | None, *, refused: bool) -> bool:
    """An order's intent has it when the order is known; a cancellation's when it shows, or never came to be."""
    if kind == CANCEL:
        return status in {CANCELLING, CANCELLED} or (refused and status == COMPLETED)
    return status is not None


async def send_due(gate: Gate) -> int:
    """Put what is due into the outbox again, with the message id it had, so that nothing happens twice.

    The read model is asked once more before: what has had its effect since the last look is closed instead.
    """
    async with gate.database.transaction() as tx:
        candidates = await _due(gate, tx)
    if not candidates:
        return 0
    await _close(gate, [(one.order_id, one.kind, one.created_at) for one in candidates], tx.now)
    async with gate.database.transaction() as tx:
        due = await _due(gate, tx)
        if due:
            await gate.runtime.outbox(tx, [message(one.body, one.message_id) for one in due])
            await intents.sent(tx, [one.message_id for one in due])
            reach("intents.put_again")
    if due:
        reach("intents.sent_again")
        gate.runtime.log.warning(
            "intents.sent_again", count=len(due), order_ids=[str(one.order_id) for one in due[:ORDERS_IN_LOG]]
        )
    return len(due)


async def _due(gate: Gate, tx: Transaction) -> list[Intent]:
    settings = gate.settings
    return await intents.due(
        tx,
        timedelta(seconds=settings.resend_after_seconds),
        timedelta(seconds=settings.resend_at_most_every_seconds),
        SEND_AT_ONCE,
    )
