"""The course of a rebuild: fill the shadow tables, catch up with the live ones, compare, swap."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final

import psycopg
from psycopg import AsyncConnection

from libs.crash_points import reach
from libs.messaging.record import TopicPartition
from libs.messaging.replay import Replay
from libs.outbox.connection import connect
from libs.outbox.transaction import Row
from order_history.app import service
from order_history.rebuild.filling import Filling
from order_history.rebuild.progress import Progress
from order_history.store import shadow
from order_history.store.shadow import Difference

SLICE: Final = 10_000
"""Records that are folded in one transaction, about."""
NEAR: Final = 500
"""So few records behind the live tables, the rest is read while those are held."""
NAME: Final = "order_history rebuild"
HOLD_AT_MOST: Final = "20s"
"""Where the last records do not come, the live tables are let go, and the rebuild ends without a swap."""
HOLD_ATTEMPTS: Final = 20
RETRY_SECONDS: Final = 0.2


class RebuildRefused(Exception):  # noqa: N818 - what happened
    """The live tables stay as they are; the message says why."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a rebuild did; `held_seconds` is for how long folding waited, `left_out` counts unreadable records."""

    records: int
    left_out: int
    seconds: float
    held_seconds: float
    differences: Sequence[Difference]
    swapped: bool


class Rebuild:
    """One rebuild on the database of `dsn`, whose user is the tables' owner or may act as it.

    Raises RebuildRefused, psycopg.Error and BrokerUnavailable; the live tables are then untouched.
    """

    def __init__(self, dsn: str, bootstrap_servers: str, topic_prefix: str, progress: Progress) -> None:
        self._dsn = dsn
        self._prefix = topic_prefix
        self._progress = progress
        self._reached: dict[TopicPartition, int] = {}
        topics = [topic_prefix + topic for topic in service.topics]
        self._replay = Replay(bootstrap_servers, topics, "order_history-rebuild")

    async def run(self, *, swap: bool = True, accept_losses: bool = False) -> Report:
        """Rebuild and compare; with `swap`, put the result in place.

        Rows that would be lost or fall back mean that events are gone from the topics: that is refused,
        unless `accept_losses`.
        """
        started = time.monotonic()
        async with AsyncExitStack() as stack:
            live = await stack.enter_async_context(
                await connect(self._dsn, name=NAME, idle_in_transaction_session_timeout=HOLD_AT_MOST)
            )
            await shadow.act_as_owner(live)
            if not await shadow.claim(live):
                raise RebuildRefused("Another rebuild is running.")
            await shadow.create(live)
            stack.push_async_callback(shadow.drop, live)
            reach("rebuild.shadowed")
            session = await stack.enter_async_context(
                await connect(
                    self._dsn,
                    name=NAME,
                    idle_in_transaction_session_timeout="5min",  # it folds in between, and locks nobody out
                    search_path=f"{shadow.SCHEMA},public",
                    synchronous_commit="off",  # nothing here is worth a flush before the swap's own commit
                )
            )
            await shadow.act_as_owner(session)
            filling = Filling(session, self._prefix)
            await self._replay.start()
            stack.push_async_callback(self._replay.stop)
            await self._catch_up(live, filling)
            await shadow.analyze(live)
            reach("rebuild.caught_up")
            differences, held = await self._finish(live, filling, swap=swap, accept_losses=accept_losses)
            return Report(
                filling.folded,
                filling.left_out,
                time.monotonic() - started,
                held,
                differences,
                swap,
            )

    async def _catch_up(self, live: AsyncConnection[Row], filling: Filling) -> None:
        """Read until the shadow is nearly where the live tables are by then."""
        targets = await self._targets(live)
        while True:
            self._progress.expect(sum(targets.values()))
            await self._read(filling, targets)
            targets = await self._targets(live)
            if sum(offset - self._reached.get(place, 0) for place, offset in targets.items()) <= NEAR:
                return

    async def _targets(self, live: AsyncConnection[Row]) -> dict[TopicPartition, int]:
        """Where the live tables are in each partition, which must be a place that the topic has."""
        stored = await shadow.live_offsets(live)
        bounds = await self._replay.bounds()  # after the offsets: both grow, and these must be ahead
        for place, offset in stored.items():
            if place not in bounds or offset > bounds[place].end:
                end = bounds[place].end if place in bounds else 0
                raise RebuildRefused(
                    f"{place.topic}/{place.partition} ends at {end}, but the live tables are at {offset}:"
                    " the topic is not the one that they were made from."
                )
        return stored

    async def _read(self, filling: Filling, until: Mapping[TopicPartition, int]) -> None:
        """Read in slices that go equally far in each partition: so most events of an order meet in one."""
        start = {place: self._reached.get(place, 0) for place in until}
        slices = max(1, sum(until[place] - start[place] for place in until) // SLICE)
        for number in range(1, slices + 1):
            goal = {place: start[place] + (until[place] - start[place]) * number // slices for place in until}
            records = await self._replay.read(goal)
            await filling.fold(records)
            reach("rebuild.folded")
            self._progress.advance(len(records))
        self._reached = dict(until)

    async def _finish(
        self, live: AsyncConnection[Row], filling: Filling, *, swap: bool, accept_losses: bool
    ) -> tuple[list[Difference], float]:
        """With the live tables held: read the last records, compare, swap, commit."""
        for attempt in range(HOLD_ATTEMPTS):
            try:
                async with live.transaction(force_rollback=not swap):
                    await shadow.hold(live)
                    reach("rebuild.held")
                    held_since = time.monotonic()
                    await self._read(filling, await self._targets(live))
                    differences = await shadow.compare(live)
                    if swap:
                        _check(differences, accept_losses=accept_losses)
                        await shadow.swap(live)
                        reach("rebuild.swapped")
                reach("rebuild.committed")
                return differences, time.monotonic() - held_since
            except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
                if attempt + 1 == HOLD_ATTEMPTS:
                    raise
                await asyncio.sleep(RETRY_SECONDS)
        raise AssertionError("unreachable")


def _check(differences: Sequence[Difference], *, accept_losses: bool) -> None:
    lost = [f"{one.lost} rows of {one.table} (e.g. {one.examples[0]})" for one in differences if one.lost]
    if lost and not accept_losses:
        raise RebuildRefused(
            f"The topics do not hold everything that the live tables know: {' and '.join(lost)} would be lost or"
            " fall back. Nothing was changed; --accept-losses does it all the same."
        )
