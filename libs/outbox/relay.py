"""Moves committed messages from the outbox to Kafka, in order for each key, at least once."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, LiteralString, Protocol

import psycopg
import structlog
from psycopg import AsyncConnection

from libs.messaging.codec import raw_headers
from libs.messaging.errors import BrokerUnavailable
from libs.messaging.producer import Sent
from libs.messaging.record import Sendable, TopicPartition
from libs.outbox.transaction import Row

LOCK: Final = "SELECT pg_try_advisory_lock(hashtext('outbox relay'), %s::int)"
NEXT: Final = """
    SELECT id, topic, key, key_hash, headers, payload FROM outbox ORDER BY id LIMIT %s
"""
NEXT_IN_LANE: Final = """
    SELECT id, topic, key, key_hash, headers, payload FROM outbox
    WHERE key_hash %% %s = %s ORDER BY id LIMIT %s
"""
NEXT_AVAILABLE: Final = """
    SELECT id, topic, key, key_hash, headers, payload FROM outbox
    WHERE key_hash %% %s = %s
      AND NOT EXISTS (SELECT 1 FROM unnest(%s::text[], %s::bigint[], %s::bigint[])
                          AS away (topic, partition, partitions)
                      WHERE away.topic = outbox.topic AND outbox.key_hash %% away.partitions = away.partition)
      AND NOT (topic, key) IN (SELECT * FROM unnest(%s::text[], %s::text[]))
    ORDER BY id LIMIT %s
"""
DELETE: Final = "DELETE FROM outbox WHERE id = ANY(%s::bigint[])"
SAFETY_POLL_SECONDS: Final = 0.2
FIRST_BACK_OFF_SECONDS: Final = 0.2
MAX_BACK_OFF_SECONDS: Final = 5.0
REFUSED_BACK_OFF_SECONDS: Final = 60.0


class Producer(Protocol):
    """Where the relay sends to."""

    async def partitions(self, topic: str) -> int:
        """How many partitions a topic has."""

    async def send(self, records: Sequence[Sendable]) -> Sent:
        """Send and say what was acknowledged."""

    async def close(self) -> None:
        """Let go of the connection."""


@dataclass(frozen=True, slots=True)
class Lane:
    """The share of the keys that a relay works on: those with `key_hash % of == number`."""

    number: int = 0
    of: int = 1


@dataclass(slots=True)
class _BackOff:
    """Until when a partition is left alone."""

    until: float
    delay: float
    partitions: int


@dataclass(slots=True)
class RelayCounters:
    """What the relay has done since its start."""

    sent: int = 0
    batches: int = 0
    failures: int = 0
    refused: int = 0
    owner: bool = False


class Relay:
    """One relay for each lane of a database: a session advisory lock keeps it alone.

    The loop clears the wake-up flag before it looks, so a commit between look and wait is seen.
    Rows are deleted by the list of acknowledged ids: ids are given at insert and become visible at
    commit, so a lower id may appear after a higher one was sent.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[AsyncConnection[Row]]],
        producer: Producer,
        *,
        batch_size: int = 1_000,
        lane: Lane = Lane(),
    ) -> None:
        self._connect = connect
        self._producer = producer
        self._batch_size = batch_size
        self._lane = lane
        self._wake = asyncio.Event()
        self._away: dict[TopicPartition, _BackOff] = {}
        self._refused: dict[tuple[str, str], float] = {}
        self._partitions: dict[str, int] = {}
        self._idle = asyncio.Event()
        self._log = structlog.get_logger("outbox")
        self.counters = RelayCounters()

    def wake(self) -> None:
        """Say that something was committed."""
        self._idle.clear()
        self._wake.set()

    async def run(self) -> None:
        """Relay until cancelled; whatever fails is tried again on new connections, later and later."""
        delay = FIRST_BACK_OFF_SECONDS
        while True:
            started = time.monotonic()
            try:
                await self._hold_lane()
            except (psycopg.Error, BrokerUnavailable, OSError) as error:
                self.counters.failures += 1
                self._log.warning("outbox.relay_failed", error=repr(error), retry_in_seconds=delay)
            finally:
                self.counters.owner = False
                await self._producer.close()
            if time.monotonic() - started > MAX_BACK_OFF_SECONDS:
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

    async def _hold_lane(self) -> None:
        connection = await self._connect()
        try:
            while not await self._owns_lane(connection):
                self._idle.set()
                await asyncio.sleep(1.0)
            self.counters.owner = True
            await self._drain(connection)
        finally:
            await connection.close()

    async def _owns_lane(self, connection: AsyncConnection[Row]) -> bool:
        cursor = await connection.execute(LOCK, [self._lane.number])
        row = await cursor.fetchone()
        return bool(row and row[0])

    async def _drain(self, connection: AsyncConnection[Row]) -> None:
        acknowledged: list[int] = []
        while True:
            self._wake.clear()
            rows = await self._turn(connection, acknowledged)
            acknowledged = []
            if rows:
                acknowledged = await self._send(connection, rows)
            if not acknowledged:
                if not (rows or self._away or self._refused):
                    self._idle.set()
                with suppress(TimeoutError):
                    async with asyncio.timeout(SAFETY_POLL_SECONDS):
                        await self._wake.wait()

    async def _turn(self, connection: AsyncConnection[Row], acknowledged: list[int]) -> list[Row]:
        """Delete what was acknowledged and read what is next, in one round trip."""
        statement, parameters = self._next()
        async with connection.pipeline():
            if acknowledged:
                await connection.execute(DELETE, [acknowledged], prepare=True, binary=True)
            cursor = await connection.execute(statement, parameters, prepare=True, binary=True)
            return await cursor.fetchall()

    def _next(self) -> tuple[LiteralString, list[object]]:
        now = time.monotonic()
        away = [place for place, back_off in self._away.items() if back_off.until > now]
        self._refused = {key: until for key, until in self._refused.items() if until > now}
        refused = list(self._refused)
        lane = self._lane
        if away or refused:
            return NEXT_AVAILABLE, [
                lane.of,
                lane.number,
                [place.topic for place in away],
                [place.partition for place in away],
                [self._away[place].partitions for place in away],
                [topic for topic, _ in refused],
                [key for _, key in refused],
                self._batch_size,
            ]
        if lane.of > 1:
            return NEXT_IN_LANE, [lane.of, lane.number, self._batch_size]
        return NEXT, [self._batch_size]

    async def _send(self, connection: AsyncConnection[Row], rows: Sequence[Row]) -> list[int]:
        sending = asyncio.ensure_future(self._producer.send(await self._sendables(rows)))
        try:
            while not (await asyncio.wait([sending], timeout=1.0))[0]:
                await connection.execute("SELECT 1")  # keeps the idle session alive while Kafka is slow
            sent = sending.result()
        finally:
            sending.cancel()
        self._settle(sent, {row[0]: row for row in rows})
        return sent.acknowledged

    async def _sendables(self, rows: Sequence[Row]) -> list[Sendable]:
        sendables = []
        for row, topic, key, key_hash, headers, payload in rows:
            partitions = self._partitions.get(topic) or await self._count_partitions(topic)
            sendables.append(
                Sendable(row, topic, key_hash % partitions, key.encode(), payload, _headers(headers))
            )
        return sendables

    async def _count_partitions(self, topic: str) -> int:
        partitions = self._partitions[topic] = await self._producer.partitions(topic)
        return partitions

    def _settle(self, sent: Sent, rows: dict[int, Row]) -> None:
        self.counters.sent += len(sent.acknowledged)
        self.counters.batches += 1
        for place in sent.delivered:
            self._away.pop(place, None)
        for place, cause in sent.failed.items():
            before = self._away.get(place)
            delay = min(before.delay * 2, MAX_BACK_OFF_SECONDS) if before else FIRST_BACK_OFF_SECONDS
            partitions = self._partitions[place.topic]
            self._away[place] = _BackOff(time.monotonic() + delay, delay, partitions)
            self.counters.failures += 1
            self._log.warning("outbox.send_failed", topic=place.topic, partition=place.partition, error=cause)
        for row, cause in sent.refused.items():
            _, topic, key, *_ = rows[row]
            self._refused[topic, key] = time.monotonic() + REFUSED_BACK_OFF_SECONDS
            self.counters.refused += 1
            self._log.error("outbox.row_refused", row=row, topic=topic, key=key, error=cause)


def _headers(stored: Any) -> list[tuple[str, bytes]]:
    """Kafka's headers from the outbox's: an object, or pairs where a name may come twice."""
    if isinstance(stored, dict):
        return [(name, value.encode()) for name, value in stored.items()]
    return raw_headers(stored)
