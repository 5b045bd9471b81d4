"""Moves committed messages from the outbox to Kafka, in order for each key, at least once."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol

import psycopg
import structlog

from libs.crash_points import reach
from libs.messaging.codec import kafka_headers
from libs.messaging.errors import BrokerUnavailable
from libs.messaging.producer import Sent
from libs.messaging.record import Sendable
from libs.outbox import writers
from libs.outbox.handover import Committed, Handover, Pending
from libs.outbox.pipeline import Connection
from libs.outbox.upcoming import Upcoming
from libs.outbox.writers import Lane

ONLY_LANE: Final = Lane()
DELETE: Final = "DELETE FROM outbox WHERE id = ANY(%s::bigint[])"
DELETE_WITHIN_SECONDS: Final = 0.2
"""How long acknowledged rows may wait for others to be deleted with them: a crash sends them once more."""
SAFETY_POLL_SECONDS: Final = 0.2
ALONE_CHECK_SECONDS: Final = 0.5
"""How long a process that wants to write too may wait until it is let in; below `lock_timeout`."""
SHARED_POLL_SECONDS: Final = 0.02
"""How often the table is looked at when other processes write to it, whose commits wake nobody here."""
LOOK_SECONDS: Final = 1.0
"""How often it is looked at all the same: a commit whose answer was lost was handed over by nobody."""
DOUBT_SECONDS: Final = 5.0
"""How long a commit whose answer was lost may still be about to happen: until the server has noticed, too."""
FIRST_BACK_OFF_SECONDS: Final = 0.2
MAX_BACK_OFF_SECONDS: Final = 5.0
OWNER_POLL_SECONDS: Final = 1.0
KEEP_ALIVE_SECONDS: Final = 1.0


class Producer(Protocol):
    """Where the relay sends to."""

    async def partitions(self, topic: str) -> int:
        """How many partitions a topic has."""

    async def send(self, records: Sequence[Sendable]) -> Sent:
        """Send and say what was acknowledged."""

    async def close(self) -> None:
        """Let go of the connection."""


@dataclass(slots=True)
class RelayCounters:
    """What the relay has done since its start."""

    sent: int = 0
    batches: int = 0
    looks: int = 0
    handed_over: int = 0
    failures: int = 0
    refused: int = 0
    owner: bool = False


class Relay:
    """One relay for each lane of a database: a session advisory lock keeps it alone.

    What this process commits is handed over with `offer` and sent without being read back, as long
    as no other process writes to the outbox; otherwise, and every second, the table is looked at.
    `process` is the number under which this process's connections write (libs.outbox.writers).
    The loop clears the wake-up flag before it looks, so a commit between look and wait is seen.
    Rows are deleted by the list of acknowledged ids: ids are given at insert and become visible at
    commit, so a lower id may appear after a higher one was sent.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[Connection]],
        producer: Producer,
        *,
        process: int,
        batch_size: int = 1_000,
        lane: Lane = ONLY_LANE,
    ) -> None:
        self._connect = connect
        self._producer = producer
        self._process = process
        self._batch_size = batch_size
        self._lane = lane
        self._wake = asyncio.Event()
        self._handover = Handover()
        self._must_look = True
        self._looked_at = float("-inf")
        self._checked_at = float("-inf")
        self._alone = False
        self._doubt_until = float("-inf")
        self._acknowledged: list[int] = []
        self._deletion: asyncio.Task[None] | None = None
        self._delete_now = asyncio.Event()
        self._upcoming = Upcoming(lane)
        self._partitions: dict[str, int] = {}
        self._idle = asyncio.Event()
        self._log = structlog.get_logger("outbox")
        self.counters = RelayCounters()

    def offer(self, rows: Sequence[Committed] | None) -> None:
        """Rows that were just committed, in order; None of those that must be looked for.

        An empty sequence means that a commit's answer was lost. Such a commit may still be about to happen. So
        that no later message of its order overtakes its own, the table alone says for a while what comes next.
        """
        if rows is not None and not rows:
            self._doubt_until = asyncio.get_running_loop().time() + DOUBT_SECONDS
        if not rows:
            self._handover.close()
            self.wake()
            return
        self._idle.clear()
        if not self._handover.offer(rows):
            self._must_look = True
        self._wake.set()

    def wake(self) -> None:
        """Say that something was committed that was not offered."""
        self._idle.clear()
        self._must_look = True
        self._wake.set()

    async def run(self) -> None:
        """Relay until cancelled; whatever fails is tried again on new connections, later and later."""
        delay = FIRST_BACK_OFF_SECONDS
        while True:
            started = asyncio.get_running_loop().time()
            error = await self._hold_lane()
            self.counters.failures += 1
            self._log.warning("outbox.relay_failed", error=repr(error), retry_in_seconds=delay)
            if asyncio.get_running_loop().time() - started > MAX_BACK_OFF_SECONDS:
                delay = FIRST_BACK_OFF_SECONDS
            await asyncio.sleep(delay)
            delay = min(delay * 2, MAX_BACK_OFF_SECONDS)

    async def flush(self, timeout_seconds: float) -> bool:
        """Wait until the outbox was seen empty after this call; whether it was, in time."""
        self.wake()
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                await self._idle.wait()
                return True
        return False

    async def _hold_lane(self) -> Exception:
        """Relay on one connection until something fails, and say what."""
        try:
            connection = await self._connect()
        except (psycopg.Error, OSError) as error:
            return error
        failure: Exception = BrokerUnavailable("the relay ended by itself")
        reach("relay.connected")
        try:
            async with asyncio.TaskGroup() as group:
                while not await writers.own(connection, self._lane):
                    self._idle.set()
                    await asyncio.sleep(OWNER_POLL_SECONDS)
                self.counters.owner = True
                reach("relay.owner")
                await self._drain(connection, group)
        except* (psycopg.Error, BrokerUnavailable, OSError) as failed:
            failure = failed.exceptions[0]
        finally:
            self.counters.owner = self._alone = False
            self._acknowledged, self._deletion = [], None
            self._handover.close()
            self._must_look = True
            self._checked_at = float("-inf")
            await self._producer.close()
            await connection.close()
        return failure

    async def _drain(self, connection: Connection, group: asyncio.TaskGroup) -> None:
        while True:
            self._wake.clear()
            await self._check_others(connection)
            rows = self._take() or await self._look(connection)
            if rows:
                reach("relay.before_send")
            sent = await self._send(connection, rows, group) if rows else 0
            if sent:
                reach("relay.sent")
                self._delete_soon(connection, group)
            if len(self._handover) == 0:
                await self._wait(looked_in_vain=not rows, stuck=bool(rows) and not sent)

    async def _wait(self, *, looked_in_vain: bool, stuck: bool) -> None:
        """Wait for the next commit, or for the safety poll."""
        if self._must_look and not looked_in_vain and not stuck:
            return
        empty = looked_in_vain and self._upcoming.all_available
        if empty and not (self._deleting() or self._wake.is_set()):
            self._idle.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(SAFETY_POLL_SECONDS if self._alone else SHARED_POLL_SECONDS):
                await self._wake.wait()

    async def _check_others(self, connection: Connection) -> None:
        """Now and then, see whether somebody else has come or all others have gone."""
        now = asyncio.get_running_loop().time()
        if now - self._checked_at < (ALONE_CHECK_SECONDS if self._alone else MAX_BACK_OFF_SECONDS):
            return
        self._checked_at = now
        if not self._alone:
            if await writers.alone(connection, self._lane, self._process):
                self._alone = True
                reach("relay.alone")
        elif await writers.somebody_waits(connection):
            await writers.let_in(connection, self._process)
            self._alone = False
        if not self._alone:
            self._handover.close()
            self._must_look = True

    def _take(self) -> list[Pending]:
        """What was handed over, unless the table is to be looked at."""
        if self._must_look or asyncio.get_running_loop().time() - self._looked_at >= LOOK_SECONDS:
            return []
        taken = self._handover.take(self._batch_size)
        if taken:
            reach("relay.taken")
        self.counters.handed_over += len(taken)
        return [
            Pending(row_id, row.topic, row.key, row.key_hash, row.kafka_headers(), row.payload)
            for row_id, row in taken
        ]

    async def _look(self, connection: Connection) -> list[Pending]:
        """The oldest rows of the table."""
        if not (
            self._must_look
            or not self._handover.open
            or asyncio.get_running_loop().time() - self._looked_at
            >= (SAFETY_POLL_SECONDS if not len(self._handover) else LOOK_SECONDS)
        ):
            return []
        await self._delete_all(connection)
        statement, parameters = self._upcoming.statement(self._batch_size)
        self._must_look = False
        self._looked_at = asyncio.get_running_loop().time()
        undisturbed = self._alone and self._upcoming.all_available and self._looked_at >= self._doubt_until
        self._handover.begin_look(alone=undisturbed)
        cursor = await connection.execute(statement, parameters, binary=True)
        rows = await cursor.fetchall()
        if rows:
            reach("relay.looked")
        self.counters.looks += 1
        complete = undisturbed and len(rows) < self._batch_size
        self._handover.end_look((row[0] for row in rows), complete=complete)
        self._must_look = self._must_look or len(rows) == self._batch_size
        return [
            Pending(row_id, topic, key, key_hash, kafka_headers(headers), payload)
            for row_id, topic, key, key_hash, headers, payload in rows
        ]

    def _delete_soon(self, connection: Connection, group: asyncio.TaskGroup) -> None:
        """Delete what was acknowledged, together with what will be within the next moment."""
        if not self._deleting():
            self._delete_now.clear()
            self._deletion = group.create_task(self._delete_later(connection))

    def _deleting(self) -> bool:
        return self._deletion is not None and not self._deletion.done()

    async def _delete_all(self, connection: Connection) -> None:
        self._delete_now.set()
        if self._deletion is not None:
            await self._deletion
        await self._delete(connection)

    async def _delete_later(self, connection: Connection) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(DELETE_WITHIN_SECONDS):
                await self._delete_now.wait()
        await self._delete(connection)

    async def _delete(self, connection: Connection) -> None:
        while self._acknowledged:
            ids, self._acknowledged = self._acknowledged, []
            reach("relay.before_delete")
            await connection.ask(DELETE, [ids])
            reach("relay.deleted")

    async def _send(self, connection: Connection, rows: Sequence[Pending], group: asyncio.TaskGroup) -> int:
        """Send rows and note which were acknowledged; how many that were."""
        keeping: list[asyncio.Task[None]] = []
        slow = asyncio.get_running_loop().call_later(
            KEEP_ALIVE_SECONDS, lambda: keeping.append(group.create_task(_keep_alive(connection)))
        )
        try:
            sent = await self._producer.send(await self._sendables(rows))
        finally:
            slow.cancel()
            for task in keeping:
                task.cancel()
        self._settle(sent, rows)
        return len(sent.acknowledged)

    async def _sendables(self, rows: Sequence[Pending]) -> list[Sendable]:
        sendables = []
        for row in rows:
            partitions = self._partitions.get(row.topic) or await self._count_partitions(row.topic)
            sendables.append(
                Sendable(
                    row.id, row.topic, row.key_hash % partitions, row.key.encode(), row.payload, row.headers
                )
            )
        return sendables

    async def _count_partitions(self, topic: str) -> int:
        partitions = self._partitions[topic] = await self._producer.partitions(topic)
        return partitions

    def _settle(self, sent: Sent, rows: Sequence[Pending]) -> None:
        self.counters.sent += len(sent.acknowledged)
        self.counters.batches += 1
        self._acknowledged += sent.acknowledged
        self._upcoming.delivered(sent.delivered)
        if len(sent.acknowledged) < len(rows):
            self._handover.close()
            self._must_look = True
        for place, cause in sent.failed.items():
            self._upcoming.back_off(place, self._partitions[place.topic])
            self.counters.failures += 1
            self._log.warning("outbox.send_failed", topic=place.topic, partition=place.partition, error=cause)
        for row_id, cause in sent.refused.items():
            refused = next(row for row in rows if row.id == row_id)
            self._upcoming.refuse(refused.topic, refused.key)
            self.counters.refused += 1
            self._log.error(
                "outbox.row_refused", row=row_id, topic=refused.topic, key=refused.key, error=cause
            )


async def _keep_alive(connection: Connection) -> None:
    """Keep a session from being ended for idleness while Kafka is slow."""
    while True:
        await connection.execute("SELECT 1")
        await asyncio.sleep(KEEP_ALIVE_SECONDS)
