"""Reads topics from their beginning up to given offsets, outside any group: nothing is left at the broker."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Final

from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as KafkaPartition

from libs.messaging.closing import close_consumer
from libs.messaging.consumer import Bounds, bounds_of, unavailable
from libs.messaging.errors import BrokerUnavailable
from libs.messaging.record import Record, TopicPartition

POLL_MS: Final = 1_000
SILENT_SECONDS: Final = 30.0
STOP_SECONDS: Final = 3.0


class Replay:
    """All partitions of some topics from the first record on. Everything raises BrokerUnavailable."""

    def __init__(self, bootstrap_servers: str, topics: Sequence[str], client_id: str) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._topics = topics
        self._client_id = client_id

    async def start(self) -> None:
        """Connect, and take all partitions of the topics."""
        self._consumer = AIOKafkaConsumer(
            *self._topics,
            bootstrap_servers=self._bootstrap_servers,
            client_id=self._client_id,
            group_id=None,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=50,
            max_partition_fetch_bytes=2 * 1_048_576,
            retry_backoff_ms=100,
        )
        try:
            with unavailable():
                await self._consumer.start()
        except BrokerUnavailable:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Let go of the connection."""
        await close_consumer(self._consumer, STOP_SECONDS)

    async def bounds(self) -> dict[TopicPartition, Bounds]:
        """Where each partition starts and ends now."""
        return await bounds_of(self._consumer, self._consumer.assignment())

    async def read(self, until: Mapping[TopicPartition, int]) -> list[Record]:
        """The records before these offsets, each partition in its order, from where the last call ended.

        Those that the topic no longer has are passed over.
        """
        found: list[Record] = []
        silent_since = time.monotonic()
        while left := await self._unread(until):
            for place, (position, offset) in left.items():
                with unavailable():
                    polled = await self._consumer.getmany(
                        place, timeout_ms=POLL_MS, max_records=offset - position
                    )
                for records in polled.values():
                    silent_since = time.monotonic()
                    found += [
                        Record(r.topic, r.partition, r.offset, r.key, r.value, r.headers)
                        for r in records
                        if r.offset < offset
                    ]
                    if records[-1].offset >= offset:
                        self._consumer.seek(place, offset)
            if time.monotonic() - silent_since > SILENT_SECONDS:
                raise BrokerUnavailable(f"nothing came of {sorted(left)} for {SILENT_SECONDS:.0f} s")
        return found

    async def _unread(self, until: Mapping[TopicPartition, int]) -> dict[KafkaPartition, tuple[int, int]]:
        wanted = {KafkaPartition(*place): offset for place, offset in until.items()}
        with unavailable():
            async with asyncio.timeout(SILENT_SECONDS):
                return {
                    place: (position, offset)
                    for place, offset in wanted.items()
                    if (position := await self._consumer.position(place)) < offset
                }
