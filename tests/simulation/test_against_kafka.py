"""The same operations on the simulated broker and on the real Kafka: same records, same offsets, same owners."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import pytest

from libs.messaging.consumer import Bounds, RecordConsumer
from libs.messaging.producer import RecordProducer
from libs.messaging.record import Sendable, TopicPartition
from libs.service.consumption import Reader
from tests.simulation.broker import Broker
from tests.simulation.clock import Process
from tests.simulation.group import Reader as SimulatedReader
from tests.simulation.running import simulating
from tests.simulation.sender import client
from tests.simulation.world import World
from tests.support.topics import Topics

TOPIC: Final = "inventory-commands"
PARTITIONS: Final = 2
GROUP: Final = "readers"


@dataclass(eq=False)
class Listener:
    """Keeps what the group says to a member, and sends it to the beginning, as the platform's stored offsets would."""

    reader: Reader | None = None
    has: set[int] = field(default_factory=set)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def revoked(self, places: Iterable[TopicPartition]) -> None:
        self.has -= {place.partition for place in places}
        self.changed.set()

    async def assigned(self, places: Iterable[TopicPartition]) -> None:
        if self.reader is not None:
            self.reader.seek(dict.fromkeys(places, 0))
        self.has |= {place.partition for place in places}
        self.changed.set()

    async def until(self, holds: Callable[[set[int]], bool]) -> None:
        """Wait until what this member has is as it should be."""
        while not holds(self.has):
            self.changed.clear()
            await self.changed.wait()


MakeReader: TypeAlias = Callable[[Listener], Reader]


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two: a topic, and how clients of it are made."""

    topic: str
    reader: MakeReader
    producer: Callable[[], RecordProducer]

    def rows(self, first: int, count: int, partition: int) -> list[Sendable]:
        """Records that are told apart by their values."""
        return [
            Sendable(n, self.topic, partition, b"key", str(n).encode(), [("n", str(n).encode())])
            for n in range(first, first + count)
        ]


async def story(side: Side) -> list[object]:
    """What an onlooker sees of a few sends, reads, seeks, and of members that come and go."""
    seen: list[object] = []
    producer = side.producer()
    seen.append(await producer.partitions(side.topic))
    sent = await producer.send([*side.rows(0, 5, 0), *side.rows(100, 3, 1)])
    seen.append(
        (sorted(sent.acknowledged), sorted(p.partition for p in sent.delivered), sent.failed, sent.refused)
    )
    first, second = Listener(), Listener()
    first.reader = side.reader(first)
    await first.reader.start()
    await first.until(lambda has: has == {0, 1})
    seen.append(await _read(first.reader, 8))
    places = [TopicPartition(side.topic, n) for n in range(PARTITIONS)]
    seen.append(_plain(await first.reader.bounds(places)))
    first.reader.seek({places[0]: 3})
    seen.append(await _read(first.reader, 2))
    seen.append(await _polled(first.reader, 10))
    ends = first.reader.seen_to_end({places[0]: 5, places[1]: 2})
    seen.append(sorted(place.partition for place in ends))
    seen.append(
        sorted((place.partition, left) for place, left in first.reader.unread({places[0]: 1}).items())
    )

    second.reader = side.reader(second)
    await second.reader.start()
    await second.until(lambda has: len(has) == 1)
    await first.until(lambda has: len(has) == 1)
    seen.append(sorted([*first.has, *second.has]))
    moved = next(iter(second.has))  # which one that is follows from the members' ids, by chance
    there = 5 if moved == 0 else 3
    read = await _read(second.reader, there)
    seen.append([place for place, _, _ in read] == [moved] * there)
    await producer.send(side.rows(200, 2, moved))
    seen.append([value for _, _, value in await _read(second.reader, 2)])
    await second.reader.stop()
    await first.until(lambda has: has == {0, 1})
    seen.append(len(await _read(first.reader, 10)))
    await first.reader.stop()
    await producer.close()
    return seen


async def _read(reader: Reader, count: int) -> list[tuple[int, int, bytes | None]]:
    """So many records, each partition in its order."""
    found: list[tuple[int, int, bytes | None]] = []
    while len(found) < count:
        found += await _polled(reader, count - len(found))
    return sorted(found)


async def _polled(reader: Reader, limit: int) -> list[tuple[int, int, bytes | None]]:
    return [(r.partition, r.offset, r.value) for r in await reader.poll(limit, 300)]


def _plain(bounds: dict[TopicPartition, Bounds]) -> list[tuple[int, int, int]]:
    return sorted((place.partition, each.start, each.end) for place, each in bounds.items())


def simulated() -> list[object]:
    """The story in a simulated world."""
    world = World(1)
    broker = Broker(world, [TOPIC], PARTITIONS)
    process = Process("reader", world.loop)
    side = Side(
        TOPIC,
        lambda listener: SimulatedReader(broker, process, GROUP, [TOPIC], listener),
        lambda: RecordProducer("", "sender", client=client(broker)),
    )
    try:
        return world.loop.run_until_complete(process.spawn(story(side)))
    finally:
        world.loop.close()


async def actual(topics: Topics) -> list[object]:
    """The story on the real broker."""

    def reader(listener: Listener) -> Reader:
        return RecordConsumer(
            topics.bootstrap_servers,
            group=topics.prefix + GROUP,
            topics=[topics.prefix + TOPIC],
            listener=listener,
            client_id="reader",
        )

    side = Side(topics.prefix + TOPIC, reader, lambda: RecordProducer(topics.bootstrap_servers, "sender"))
    async with asyncio.timeout(120):
        return await story(side)


@pytest.mark.integration
async def test_both_brokers_tell_the_same_story(topics: Topics) -> None:
    with simulating():
        meant = await asyncio.to_thread(simulated)
    assert await actual(topics) == meant


def test_the_story_is_worth_telling() -> None:
    with simulating():
        told = simulated()
    assert told[0] == PARTITIONS
    assert told[2] == [(0, n, str(n).encode()) for n in range(5)] + [
        (1, n, str(100 + n).encode()) for n in range(3)
    ]
