"""Finds every message of one order, in all topics, in order of time: what `make topics o=…` shows."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import RFC_4122, UUID

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from libs.messaging.closing import close_consumer
from libs.messaging.codec import UUID_V7
from libs.messaging.errors import BrokerUnavailable
from libs.messaging.partitioning import key_hash
from libs.messaging.topics import retention

POLL_MS: Final = 1_000
SILENT_SECONDS: Final = 30.0
STOP_SECONDS: Final = 3.0
CLOCKS_APART: Final = timedelta(hours=2)
"""How far before the time in an order's id its first record may have been stamped, clocks being what they are."""


@dataclass(frozen=True, slots=True)
class Found:
    """A record of the order; `at` is the time in its envelope, else when the record was written."""

    at: datetime
    topic: str
    partition: int
    offset: int
    headers: dict[str, str]
    value: str | None

    def header(self, name: str) -> str:
        """A header's text, `-` where it is not there."""
        return self.headers.get(name, "-")


async def trail(bootstrap_servers: str, order_id: UUID, *, prefix: str = "") -> list[Found]:
    """Every message that lies in the topics now, dead letters included. Raises BrokerUnavailable.

    Only the order's own partition of each topic is read, from the time that is in a UUIDv7 order id on, else from
    the beginning; whatever was put there under another key is not found.
    """
    async with _reader(bootstrap_servers) as consumer:
        places = await _places(bootstrap_servers, str(order_id), prefix)
        consumer.assign(places)
        ends = await consumer.end_offsets(places)
        await _go_to_start(consumer, places, order_id)
        key = str(order_id).encode()
        found = [_found(record) async for record in _until(consumer, ends) if record.key == key]
    return sorted(found, key=lambda each: (each.at, each.topic, each.offset))


def told(order_id: UUID, found: Sequence[Found]) -> Iterator[str]:
    """Lines for a terminal: when, where, what, which attempt, and which message caused it."""
    rows = [
        (
            each.at.isoformat(sep=" ", timespec="milliseconds").removesuffix("+00:00"),
            f"{each.topic}/{each.partition}@{each.offset}",
            each.header("ce_type"),
            each.header("step"),
            each.header("attempt"),
            each.header("ce_id"),
            each.header("causation_id"),
        )
        for each in found
    ]
    titles = ("time (UTC)", "topic/partition@offset", "type", "step", "attempt", "id", "caused by")
    widths = [max(len(row[column]) for row in [titles, *rows]) for column in range(len(titles))]
    for row in [titles, *rows]:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    yield f"{len(found)} messages of order {order_id}"


def _found(record: ConsumerRecord) -> Found:
    headers = {name: value.decode(errors="replace") for name, value in record.headers}
    value = None if record.value is None else record.value.decode(errors="replace")
    at = _time_in(headers) or datetime.fromtimestamp(record.timestamp / 1_000, UTC)
    return Found(at, record.topic, record.partition, record.offset, headers, value)


def _time_in(headers: dict[str, str]) -> datetime | None:
    """When the message was decided; a dead letter's own time is that of its record."""
    if any(name.startswith("dlq_") for name in headers):
        return None
    try:
        at = datetime.fromisoformat(headers.get("ce_time", ""))
    except ValueError:
        return None
    return None if at.tzinfo is None else at.astimezone(UTC)


def _earliest(order_id: UUID) -> int | None:
    """From when on to look, in milliseconds since the epoch, where the id tells."""
    if order_id.variant != RFC_4122 or order_id.version != UUID_V7:
        return None
    return max(0, (order_id.int >> 80) - int(CLOCKS_APART.total_seconds() * 1_000))


async def _places(bootstrap_servers: str, key: str, prefix: str) -> list[TopicPartition]:
    """The one partition of each topic that the key falls in."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers, client_id="trail")
    await admin.start()
    try:
        present = set(await admin.list_topics())
        topics = [topic for topic in retention(prefix) if topic in present]
        described = await admin.describe_topics(topics) if topics else []
    finally:
        await admin.close()
    if not described:
        raise BrokerUnavailable(f"none of the platform's topics is there (prefix {prefix!r})")
    return [
        TopicPartition(topic["topic"], key_hash(key) % len(topic["partitions"]))
        for topic in described
        if topic["partitions"]
    ]


async def _go_to_start(consumer: AIOKafkaConsumer, places: Iterable[TopicPartition], order_id: UUID) -> None:
    earliest = _earliest(order_id)
    if earliest is None:
        await consumer.seek_to_beginning(*places)
        return
    starts = await consumer.offsets_for_times(dict.fromkeys(places, earliest))
    late = [place for place, start in starts.items() if start is None]
    for place, start in starts.items():
        if start is not None:
            consumer.seek(place, start.offset)
    if late:
        await consumer.seek_to_end(*late)


async def _until(
    consumer: AIOKafkaConsumer, ends: dict[TopicPartition, int]
) -> AsyncIterator[ConsumerRecord]:
    """Every record before these offsets."""
    silent_since = asyncio.get_running_loop().time()
    while left := [place for place, end in ends.items() if await consumer.position(place) < end]:
        polled = await consumer.getmany(*left, timeout_ms=POLL_MS)
        now = asyncio.get_running_loop().time()
        if polled:
            silent_since = now
        elif now - silent_since > SILENT_SECONDS:
            raise BrokerUnavailable(f"nothing came of {sorted(left)} for {SILENT_SECONDS:.0f} s")
        for place, records in polled.items():
            for record in records:
                if record.offset < ends[place]:
                    yield record


@asynccontextmanager
async def _reader(bootstrap_servers: str) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap_servers,
        client_id="trail",
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=4 * 1_048_576,
    )
    try:
        await consumer.start()
        yield consumer
    except (KafkaError, TimeoutError) as error:
        raise BrokerUnavailable(f"{bootstrap_servers}: {error!r}") from error
    finally:
        await close_consumer(consumer, STOP_SECONDS)
