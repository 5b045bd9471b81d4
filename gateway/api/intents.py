"""Keeps at intents until their effect is there: closes what the read model shows, sends again what it does not."""

import asyncio
from datetime import timedelta
from typing import Final
from uuid import UUID

import psycopg
from psycopg_pool import PoolTimeout

from gateway.api.gate import Gate, open_gate
from gateway.api.history import statuses
from gateway.domain.orders import CANCEL, CANCELLED, CANCELLING, COMPLETED, message
from gateway.store import accounts, intents
from libs.contracts.values import OrderId
from libs.crash_points import reach
from libs.service.problems import Problem
from libs.service.runtime import Runtime

ASK_FOR: Final = 1_000
"""Orders that one lookup asks for; the read model takes no more."""
SEND_AT_ONCE: Final = 500
FIRST: Final = (OrderId(UUID(int=0)), "")
TIDY_SECONDS: Final = 600.0
REFUSED_AFTER: Final = timedelta(days=7)
"""An order that is still completed so long after its cancellation was asked for has refused it, say because it is shipped."""
ORDERS_IN_LOG: Final = 20


async def settle(runtime: Runtime) -> None:
    """A worker: look again and again which intents have had their effect, and send again those that are due."""
    gate = open_gate(runtime)
    while True:
        await asyncio.sleep(gate.settings.settle_every_seconds)
        try:
            await close_seen(gate)
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


async def close_seen(gate: Gate) -> int:
    """Close every open intent whose effect the read model shows; how many those were."""
    closed = 0
    place = FIRST
    young = timedelta(seconds=gate.settings.settle_every_seconds / 2)
    while True:
        async with gate.database.transaction() as tx:
            page = await intents.unsettled(tx, place, young, ASK_FOR)
        if not page:
            break
        place = page[-1][:2]
        seen = await statuses(gate, list(dict.fromkeys(order_id for order_id, _, _ in page)))
        long_ago = tx.now - REFUSED_AFTER
        settled = [
            (order_id, kind)
            for order_id, kind, since in page
            if _has_effect(kind, seen.get(str(order_id)), refused=since < long_ago)
        ]
        if settled:
            reach("intents.seen")
            async with gate.database.transaction() as tx:
                await intents.close(tx, settled)
            reach("intents.closed")
        closed += len(settled)
    return closed


def _has_effect(kind: str, status: str | None, *, refused: bool) -> bool:
    """An order's intent has it when the order is known; a cancellation's when it shows, or never came to be."""
    if kind == CANCEL:
        return status in {CANCELLING, CANCELLED} or (refused and status == COMPLETED)
    return status is not None


async def send_due(gate: Gate) -> int:
    """Put what is due into the outbox again, with the message id it had, so that nothing happens twice."""
    settings = gate.settings
    async with gate.database.transaction() as tx:
        due = await intents.due(
            tx,
            timedelta(seconds=settings.resend_after_seconds),
            timedelta(seconds=settings.resend_at_most_every_seconds),
            SEND_AT_ONCE,
        )
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
