"""Learns from the order events that an order has ended, at next to no cost for the platform."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

TOPIC = "order-events"
ENDS = frozenset({b"order.OrderCompleted.v1", b"order.OrderCancelled.v1", b"order.OrderCreateFailed.v1"})


class Ends:
    """The ends of orders, in whatever order the answer to the POST and the event come."""

    def __init__(self) -> None:
        self._seen: dict[UUID, float] = {}
        self._awaited: dict[UUID, asyncio.Future[float]] = {}

    def saw(self, order_id: UUID, at: float) -> None:
        """An order's end was read from the topic."""
        awaited = self._awaited.pop(order_id, None)
        if awaited is None:
            self._seen[order_id] = at
        elif not awaited.done():
            awaited.set_result(at)

    def of(self, order_id: UUID) -> asyncio.Future[float]:
        """When the order ended, in seconds since the epoch; done already if it has."""
        future: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        seen = self._seen.pop(order_id, None)
        if seen is None:
            self._awaited[order_id] = future
        else:
            future.set_result(seen)
        return future


async def _read(consumer: AIOKafkaConsumer, ends: Ends) -> None:
    while True:
        batches = await consumer.getmany(timeout_ms=1_000)
        now = time.time()
        for records in batches.values():
            for record in records:
                if record.key and any(name == "ce_type" and value in ENDS for name, value in record.headers):
                    ends.saw(UUID(record.key.decode()), now)


@asynccontextmanager
async def watching(bootstrap: str) -> AsyncIterator[Ends]:
    """Watch from now on; every partition, no consumer group."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        fetch_max_wait_ms=100,
        enable_auto_commit=False,
        request_timeout_ms=10_000,
    )
    await consumer.start()
    try:
        partitions = await _partitions(bootstrap)
        consumer.assign(partitions)
        await consumer.seek_to_end(*partitions)
        for partition in partitions:
            await consumer.position(partition)
        ends = Ends()
        reader = asyncio.create_task(_read(consumer, ends))
        try:
            yield ends
        finally:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)
    finally:
        await consumer.stop()


async def _partitions(bootstrap: str) -> list[TopicPartition]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        [described] = await admin.describe_topics([TOPIC])
    finally:
        await admin.close()
    if not described["partitions"]:
        raise LookupError(f"the broker has no topic {TOPIC}")
    return sorted(TopicPartition(TOPIC, partition["partition"]) for partition in described["partitions"])
