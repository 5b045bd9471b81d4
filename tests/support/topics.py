"""A test's own topics: the platform's, under a prefix; records are written and read as they are, without the codec."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from libs.messaging.topics import create_topics, retention
from tests.support.waiting import eventually

Headers = Sequence[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class RawRecord:
    """A record as it lies in the topic, or as it is to be put there; `topic` is without the prefix."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers
    partition: int = -1
    offset: int = -1

    def header(self, name: str) -> str | None:
        """The text of a header, None where it is not there."""
        return next((value.decode() for header, value in self.headers if header == name), None)


class Topics:
    """The topics of one prefix on one broker."""

    def __init__(self, bootstrap_servers: str, prefix: str, partitions: int) -> None:
        self.bootstrap_servers = bootstrap_servers
        self.prefix = prefix
        self.partitions = partitions

    async def publish(self, *records: RawRecord) -> list[RawRecord]:
        """Put records into their topics, in order, and return them with partition and offset.

        All go in one request per partition, so one poll can return them together.
        """
        producer = AIOKafkaProducer(
            bootstrap_servers=self.bootstrap_servers, acks="all", linger_ms=50, max_request_size=3_000_000
        )
        await producer.start()
        try:
            sends = [
                await producer.send(
                    self.prefix + r.topic,
                    key=r.key,
                    value=r.value,
                    headers=list(r.headers),
                    partition=r.partition if r.partition >= 0 else None,
                )
                for r in records
            ]
            placed = await asyncio.gather(*sends)
        finally:
            await producer.stop()
        return [
            RawRecord(r.topic, r.key, r.value, tuple(r.headers), at.partition, at.offset)
            for r, at in zip(records, placed, strict=True)
        ]

    async def read(self, *topics: str) -> list[RawRecord]:
        """Everything that lies in the topics now, each partition in its order."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.bootstrap_servers, enable_auto_commit=False, auto_offset_reset="earliest"
        )
        await consumer.start()
        try:
            places = self._places(topics)
            consumer.assign(places)
            ends = await consumer.end_offsets(places)
            found: list[RawRecord] = []
            while any([await consumer.position(place) < ends[place] for place in places]):
                batches = await consumer.getmany(timeout_ms=1_000)
                found += [self._raw(record) for records in batches.values() for record in records]
            return found
        finally:
            await consumer.stop()

    async def expect(self, topic: str, count: int, *, within: float = 15.0) -> list[RawRecord]:
        """The topic's records once it has at least `count`."""

        async def ask() -> list[RawRecord] | None:
            found = await self.read(topic)
            assert len(found) >= count, f"{len(found)} records in {topic}"
            return found

        return await eventually(ask, within=within, every=0.1, what=f"{count} records in {topic}")

    def _places(self, topics: Iterable[str]) -> list[TopicPartition]:
        return [TopicPartition(self.prefix + t, number) for t in topics for number in range(self.partitions)]

    def _raw(self, record: ConsumerRecord) -> RawRecord:
        topic = record.topic.removeprefix(self.prefix)
        return RawRecord(
            topic, record.key, record.value, tuple(record.headers), record.partition, record.offset
        )


@asynccontextmanager
async def topics(bootstrap_servers: str, *, partitions: int = 2) -> AsyncIterator[Topics]:
    """Fresh topics under a prefix of their own, deleted afterwards."""
    prefix = f"t{secrets.token_hex(4)}-"
    await create_topics(bootstrap_servers, partitions=partitions, prefix=prefix)
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    await admin.start()
    try:
        await eventually(lambda: _led(admin, prefix, partitions), what="a leader for every partition")
        yield Topics(bootstrap_servers, prefix, partitions)
    finally:
        await admin.delete_topics(list(retention(prefix)))
        await admin.close()


async def _led(admin: AIOKafkaAdminClient, prefix: str, partitions: int) -> bool:
    """Whether the new topics have leaders: the broker answers their creation before it leads them."""
    described = await admin.describe_topics(list(retention(prefix)))
    return all(
        len(topic["partitions"]) == partitions and all(p["leader"] >= 0 for p in topic["partitions"])
        for topic in described
    )
