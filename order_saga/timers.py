"""Fires deadlines: claims due sagas and runs them through the batch transaction."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from libs.contracts.values import SagaId
from libs.crash_points import reach
from libs.messaging.message import Message
from libs.outbox.transaction import Transaction
from libs.saga.inputs import Gap
from libs.service.errors import DecideFailed
from libs.service.runtime import Runtime
from order_saga import store
from order_saga.domain import Book, Due

LONGEST_WAIT_SECONDS: Final = 1.0
PACE_SECONDS: Final = 0.2
"""Between two looks, however much is committed in between."""

LEFT_SECONDS: Final = 60.0
"""How long a saga is left alone that could not take its timeout."""

BLINK: Final = timedelta(seconds=5)
"""Nobody watches a partition that was not read to its end for longer than this."""


@dataclass(slots=True)
class Watch:
    """When each partition's answers were last left unread, by this process or by any before it.

    A stopped or hanging orchestrator, a backlog, a broker that is away: all of them show in how old
    the moment is up to which a partition was read. That moment lies in the database, so a process
    that starts sees the gap before it.
    """

    gaps: dict[int, Gap] = field(default_factory=dict)
    _lagging: dict[int, datetime] = field(default_factory=dict)
    _looked_at: datetime | None = None

    def look(self, now: datetime, read_until: Mapping[int, datetime]) -> Mapping[int, Gap]:
        """Take note of how far the answers are read; the last gap of each partition so far."""
        looked_at, self._looked_at = self._looked_at or now, now
        for partition, until in read_until.items():
            # Whoever hung may have read the answers since, but nobody looked at the clock.
            seen = min(until, looked_at)
            if now - seen > BLINK:
                start = self._lagging.setdefault(partition, seen)
                self.gaps[partition] = Gap(start, now)
            else:
                self._lagging.pop(partition, None)
        return self.gaps


def timers(book: Book) -> Callable[[Runtime], Coroutine[None, None, None]]:
    """The worker that fires the deadlines of the sagas in the book."""

    async def work(runtime: Runtime) -> None:
        topics = [runtime.settings.topic_prefix + topic for topic in book.known.reply_topics]
        failing: dict[SagaId, float] = {}
        watch = Watch()
        ahead = 0.0

        async def due(tx: Transaction) -> Sequence[Message[object]]:
            read_until = await store.read_until(topics, tx)
            gaps = watch.look(tx.now, read_until)
            for saga_id in [
                each for each, until in failing.items() if until < asyncio.get_running_loop().time()
            ]:
                del failing[saga_id]
            claimed = await store.claim_due(book, topics, tx, unwatched=gaps, leave=failing)
            if claimed:
                reach("timers.claimed")
            nonlocal ahead
            deadline = await store.next_deadline(tx)
            ahead = LONGEST_WAIT_SECONDS if deadline is None else (deadline - tx.now).total_seconds()
            return claimed

        while True:
            try:
                fired = await runtime.feed(due)
            except DecideFailed as failed:
                # One saga that cannot take its timeout must not keep the others from theirs.
                _leave(failing, failed, runtime)
                continue
            if fired:
                reach("timers.fired")
            if fired < store.CLAIM:
                await _rest(runtime, ahead)

    return work


def _leave(failing: dict[SagaId, float], failed: DecideFailed, runtime: Runtime) -> None:
    match failed.message.body:
        case Due(saga_id=saga_id):
            failing[saga_id] = asyncio.get_running_loop().time() + LEFT_SECONDS
            runtime.log.error("saga.timer_failed", saga_id=str(saga_id), exc_info=failed.cause)
        case _:
            raise failed


async def _rest(runtime: Runtime, ahead: float) -> None:
    """Wait until the next deadline, or a commit that may have set an earlier one."""
    await asyncio.sleep(PACE_SECONDS)
    rest = min(ahead, LONGEST_WAIT_SECONDS) - PACE_SECONDS
    if rest > 0:
        await runtime.batch_committed(rest)
