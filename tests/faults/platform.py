"""The platform as an outsider reads it: seven databases by SQL, the topics as raw records."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import psycopg
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from psycopg.conninfo import make_conninfo
from psycopg.rows import TupleRow

DATABASES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "gateway": "gateway",
        "order_saga": "order_saga",
        "order": "orders",
        "product": "product",
        "inventory": "inventory",
        "payment": "payment",
        "order_history": "order_history",
    }
)
"""Each service's database."""

CONSUMERS: Final = ("order_saga", "order", "product", "inventory", "payment", "order_history")
EVENT_TOPICS: Final = ("order-events", "product-events", "inventory-events", "payment-events")
COMMAND_TOPICS: Final = (
    "order-saga-commands",
    "order-commands",
    "product-commands",
    "inventory-commands",
    "payment-commands",
)


@dataclass(frozen=True, slots=True)
class Lain:
    """A record as it lies in a topic."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Mapping[str, str]


class Platform:
    """Reads, and changes nothing."""

    def __init__(
        self, sessions: Mapping[str, psycopg.AsyncConnection[TupleRow]], bootstrap: str | None, prefix: str
    ) -> None:
        self._sessions = sessions
        self._bootstrap = bootstrap
        self._prefix = prefix

    @property
    def has_topics(self) -> bool:
        """Whether a broker was named."""
        return self._bootstrap is not None

    async def rows(self, service: str, query: str, parameters: Sequence[object] = ()) -> list[TupleRow]:
        """What a query of one service's database sees."""
        cursor = await self._sessions[service].execute(query.encode(), parameters or None)
        return await cursor.fetchall()

    async def scalar(self, service: str, query: str, parameters: Sequence[object] = ()) -> int:
        """The one number that a query sees."""
        [(value,)] = await self.rows(service, query, parameters)
        return int(value)

    async def ends(self, topics: Sequence[str]) -> dict[tuple[str, int], int]:
        """The offset after the last record of every partition that the broker has of these topics."""
        async with self._consumer(topics) as (consumer, places):
            ends = await consumer.end_offsets(places)
            return {
                (place.topic.removeprefix(self._prefix), place.partition): ends[place] for place in places
            }

    async def cut(self, topics: Sequence[str]) -> set[int]:
        """The partition numbers that, in one of these topics, no longer begin with their first record."""
        async with self._consumer(topics) as (consumer, places):
            starts = await consumer.beginning_offsets(places)
            return {place.partition for place in places if starts[place] > 0}

    async def records(self, topics: Sequence[str]) -> AsyncIterator[Lain]:
        """Every record that lies in the topics now, each partition in its order."""
        async with self._consumer(topics) as (consumer, places):
            ends = await consumer.end_offsets(places)
            waiting = {place for place in places if await consumer.position(place) < ends[place]}
            while waiting:
                for place, batch in (await consumer.getmany(timeout_ms=1_000)).items():
                    for record in batch:
                        headers = {name: value.decode(errors="replace") for name, value in record.headers}
                        topic = place.topic.removeprefix(self._prefix)
                        yield Lain(topic, place.partition, record.offset, record.key, record.value, headers)
                waiting = {place for place in waiting if await consumer.position(place) < ends[place]}

    @asynccontextmanager
    async def _consumer(
        self, topics: Sequence[str]
    ) -> AsyncIterator[tuple[AIOKafkaConsumer, list[TopicPartition]]]:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap, enable_auto_commit=False, auto_offset_reset="earliest"
        )
        await consumer.start()
        try:
            places = await self._places(topics)
            consumer.assign(places)
            yield consumer, places
        finally:
            await consumer.stop()

    async def _places(self, topics: Sequence[str]) -> list[TopicPartition]:
        admin = AIOKafkaAdminClient(bootstrap_servers=self._bootstrap)
        await admin.start()
        try:
            described = await admin.describe_topics([self._prefix + topic for topic in topics])
        finally:
            await admin.close()
        return sorted(
            TopicPartition(topic["topic"], partition["partition"])
            for topic in described
            for partition in topic["partitions"]
        )


def databases_at(admin_dsn: str) -> dict[str, str]:
    """The DSN of every service's database on one server, for a role that may read them all."""
    return {service: make_conninfo(admin_dsn, dbname=name) for service, name in DATABASES.items()}


@asynccontextmanager
async def platform(
    dsns: Mapping[str, str], bootstrap: str | None = None, prefix: str = ""
) -> AsyncIterator[Platform]:
    """Connected to every database; `dsns` is by service."""
    connections = await asyncio.gather(
        *(psycopg.AsyncConnection.connect(dsn, autocommit=True) for dsn in dsns.values())
    )
    try:
        yield Platform(dict(zip(dsns, connections, strict=True)), bootstrap, prefix)
    finally:
        await asyncio.gather(*(connection.close() for connection in connections))
