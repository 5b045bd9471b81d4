"""Waiting for an order: until it has ended, or entry by entry as a stream of server-sent events."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from uuid import UUID

from libs.contracts.values import MessageId, OrderId, UserId
from libs.service.runtime import Runtime
from order_history import store
from order_history.api import views
from order_history.api.arrivals import Arrivals, Pace
from order_history.domain.history import TERMINAL, is_settled
from order_history.store import Found, Line

KEEP_ALIVE = b": keep-alive\n\n"
PREAMBLE = b"retry: 1000\n\n"


class Reading:
    """One request's look at one order of its owner."""

    def __init__(
        self, runtime: Runtime, arrivals: Arrivals, pace: Pace, order_id: OrderId, owner: UserId
    ) -> None:
        self._runtime = runtime
        self._arrivals = arrivals
        self._pace = pace
        self._order_id = order_id
        self._owner = owner
        self._ended_at: float | None = None

    async def look(self) -> Found | None:
        """The order as it is now; None where it is not there or not the owner's."""
        return await store.order(self._runtime.database, self._order_id, self._owner)

    async def ended(self, seconds: float) -> Found | None:
        """The order when it has ended, or as it is after so long; an unknown one is waited for as well."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + seconds
        with self._arrivals.watch(self._order_id, for_the_end=True) as watch:
            while True:
                found = await self.look()
                left = min(deadline - clock(), self._patience(found))
                if left <= 0 or watch.over:
                    return found
                await watch.wait(left)

    async def entries(self, seen: MessageId | None) -> AsyncIterator[Line | None]:
        """The timeline in order of arrival, from behind `seen` on, until the order has ended; None is silence."""
        told: set[str] | None = None
        with self._arrivals.watch(self._order_id) as watch:
            while True:
                found = await self.look()
                if found is None:
                    return
                told = _before(found.timeline, seen) if told is None else told
                for line in found.timeline:
                    if line.event not in told:
                        told.add(line.event)
                        yield line
                left = self._patience(found)
                if left <= 0 or watch.over:
                    return
                waited = min(left, self._pace.keep_alive)
                if not await watch.wait(waited) and waited == self._pace.keep_alive:
                    yield None

    def _patience(self, found: Found | None) -> float:
        """For how long this order may still tell something."""
        if found is None or found.status not in TERMINAL:
            return float("inf")
        if is_settled(found.status, frozenset(line.event for line in found.timeline)):
            return 0
        now = asyncio.get_running_loop().time()
        self._ended_at = now if self._ended_at is None else self._ended_at
        return self._ended_at + self._pace.settle - now


async def stream(reading: Reading, seen: MessageId | None) -> AsyncIterator[bytes]:
    """The entries as server-sent events."""
    yield PREAMBLE
    async for line in reading.entries(seen):
        yield KEEP_ALIVE if line is None else views.server_sent(line)


def last_event_id(header: str | None) -> MessageId | None:
    """The id in a Last-Event-ID header; one that this service cannot have given counts as none."""
    if header is not None:
        with suppress(ValueError):
            return MessageId(UUID(header))
    return None


def _before(timeline: Sequence[Line], seen: MessageId | None) -> set[str]:
    """The events that a client has which saw this id last; all are told anew to one whose id is not there."""
    ids = [line.ce_id for line in timeline]
    return {line.event for line in timeline[: ids.index(seen) + 1]} if seen in ids else set()
