"""A broker: partitioned logs, consumer groups that rebalance, and sends whose fate may stay unknown."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    NotLeaderForPartitionError,
    OutOfOrderSequenceNumber,
)

from libs.messaging.consumer import Assigned, Bounds
from libs.messaging.errors import BrokerUnavailable
from libs.messaging.record import Record, TopicPartition
from tests.simulation.clock import PROCESS, Process
from tests.simulation.world import World

KAFKA: Final = "kafka"
SESSION_SECONDS: Final = 3.0
"""After so long without a heartbeat a member is thrown out of its group."""
SEND_SECONDS: Final = 1.0
"""So long a client waits for an acknowledgement."""
HELD_BACK_SECONDS: Final = 0.6
GATHER_SECONDS: Final = 0.03
"""So long a fetch gathers records."""


@dataclass(slots=True, eq=False)
class Log:
    """One partition; `times` says when each record came, `start` what retention has left."""

    place: TopicPartition
    records: list[Record]
    times: list[float]
    start: int = 0
    leaderless: bool = False

    @property
    def end(self) -> int:
        """The offset of the next record."""
        return len(self.records)


class Broker:
    """The cluster as its clients see it."""

    def __init__(self, world: World, topics: Iterable[str], partitions: int) -> None:
        self.world = world
        self.up = True
        self.partitions = partitions
        self.logs = {
            (place := TopicPartition(topic, number)): Log(place, [], [])
            for topic in topics
            for number in range(partitions)
        }
        self.groups: dict[str, Group] = {}
        self.lose_sends = 0.0
        """With which chance the acknowledgement of a send is lost at present."""
        self.double_sends = 0.0
        """With which chance a batch is written twice at present."""
        self.watch: Callable[[Process | None, Record], None] = lambda *_: None
        self._readers: dict[TopicPartition, dict[Reader, None]] = {place: {} for place in self.logs}

    def reachable(self, process: Process | None) -> bool:
        """Whether a process has a connection to the cluster."""
        return self.up and self.world.network.between(process, KAFKA)

    def append(self, place: TopicPartition, rows: Sequence["Sending"], sender: Process | None) -> None:
        """Write a batch to the end of a partition."""
        log = self.logs[place]
        for key, value, headers in rows:
            record = Record(*place, log.end, key, value, headers)
            log.records.append(record)
            log.times.append(self.world.time)
            self.watch(sender, record)
        self.world.note("append", *place, log.end, len(rows))
        for reader in self._readers[place]:
            reader.expect(place)

    def truncate(self, place: TopicPartition, start: int) -> None:
        """Let retention run past everything before `start`."""
        log = self.logs[place]
        log.start = max(log.start, min(start, log.end))

    def group(self, name: str) -> "Group":
        """The consumer group of this name."""
        return self.groups.setdefault(name, Group(self, name))

    def reads(self, reader: "Reader", places: Iterable[TopicPartition], *, now: bool) -> None:
        """Note who is to be told of new records."""
        for place in places:
            if now:
                self._readers[place][reader] = None
            else:
                self._readers[place].pop(reader, None)


class Group:
    """A consumer group: who is in it, and which partitions each has; every change of members moves them."""

    def __init__(self, broker: Broker, name: str) -> None:
        self._broker = broker
        self.name = name
        self._members: dict[Reader, None] = {}
        self._balancing = False
        self._again = False

    def join(self, reader: "Reader") -> None:
        """Become a member."""
        self._members[reader] = None
        self.rebalance()

    def leave(self, reader: "Reader") -> None:
        """Be one no longer."""
        if self._members.pop(reader, reader) is None:
            self.rebalance()

    def expire(self, process: Process) -> None:
        """Throw out the members of a process that nobody hears of, when its session has run out."""
        self._broker.world.later(SESSION_SECONDS, self._expire, process)

    def rebalance(self) -> None:
        """Share the partitions anew, soon."""
        if self._balancing:
            self._again = True
            return
        self._balancing = True
        self._broker.world.later(0.03 + self._broker.world.delay(), self._begin)

    def _expire(self, process: Process) -> None:
        if process.alive and not process.paused and self._broker.reachable(process):
            return
        gone = [reader for reader in self._members if reader.process is process]
        for reader in gone:
            self.leave(reader)
            reader.evicted = True

    def _begin(self) -> None:
        context = self._broker.world.outside.copy()
        self._broker.world.loop.create_task(self._balance(), context=context)

    async def _balance(self) -> None:
        while True:
            self._again = False
            members = list(self._members)
            letting_go = {self._ask(member): member for member in members}
            if letting_go:
                _, late = await asyncio.wait(letting_go, timeout=SESSION_SECONDS)
                for answer, member in letting_go.items():
                    if answer in late and member in self._members:
                        del self._members[member]
                        member.evicted = True
            shares = self._shares()
            for member, places in shares.items():
                member.process.spawn(member.receive(places))
            if not self._again:
                self._balancing = False
                return

    def _ask(self, member: "Reader") -> "asyncio.Future[None]":
        """Ask a member to let go of its partitions; one that cannot hear it never answers."""
        if member.process.alive and self._broker.reachable(member.process):
            return member.process.spawn(member.let_go())
        return self._broker.world.loop.create_future()

    def _shares(self) -> "dict[Reader, list[TopicPartition]]":
        """The range assignor: by topic, consecutive partitions for each of its subscribers."""
        members = sorted(self._members, key=lambda member: member.number)
        shares: dict[Reader, list[TopicPartition]] = {member: [] for member in members}
        for topic in sorted({topic for member in members for topic in member.topics}):
            having = [member for member in members if topic in member.topics]
            each, more = divmod(self._broker.partitions, len(having))
            first = 0
            for nth, member in enumerate(having):
                count = each + (nth < more)
                shares[member] += [TopicPartition(topic, n) for n in range(first, first + count)]
                first += count
        return shares


class Reader:
    """A member of a group, with the interface of libs.messaging.consumer.RecordConsumer."""

    def __init__(
        self, broker: Broker, process: Process, group: str, topics: Sequence[str], listener: Assigned
    ) -> None:
        broker.world.readers += 1
        self.number = broker.world.readers
        self.process = process
        self.topics = topics
        self.evicted = False
        self._broker = broker
        self._world = broker.world
        self._group = broker.group(group)
        self._listener = listener
        self._assigned: dict[TopicPartition, int | None] = {}
        self._seen: dict[TopicPartition, tuple[int, float]] = {}
        self._slow: dict[TopicPartition, float] = {}
        self._news: asyncio.Future[None] | None = None
        self._answered_at = broker.world.time
        self._stopped = False
        self._coming = False

    async def start(self) -> None:
        """Join the group."""
        await asyncio.sleep(self._world.delay())
        if not self._alive():
            await asyncio.sleep(SEND_SECONDS)
            raise BrokerUnavailable("no broker answers")
        self._answered_at = self._world.time
        self._group.join(self)

    async def stop(self) -> None:
        """Leave the group; where nobody hears of that, the session runs out."""
        self._stopped = True
        self._broker.reads(self, self._assigned, now=False)
        if self._alive():
            self._group.leave(self)
        else:
            self._world.later(SESSION_SECONDS, self._group.leave, self)

    def silent_seconds(self) -> float:
        """For how long no broker has answered."""
        if self._alive():
            self._answered_at = self._world.time
        return self._world.time - self._answered_at

    async def poll(self, max_records: int, timeout_ms: int) -> list[Record]:
        """What has come, at most `max_records`."""
        if self.evicted and self._alive():
            self.evicted = False
            await self._listener.revoked(list(self._assigned))
            self._drop()
            self._group.join(self)
        if not (found := self._take(max_records)):
            self._news = self._world.loop.create_future()
            timer = self._world.loop.call_later(timeout_ms / 1_000, _ring, self._news)
            try:
                await self._news
            finally:
                timer.cancel()
                self._news = None
            found = self._take(max_records)
        return found

    def expect(self, place: TopicPartition) -> None:
        """A record was written: it will be fetched, a little later, or, now and then, much later."""
        drawn = self._world.chance.random()
        if drawn > 0.98:
            wait = HELD_BACK_SECONDS * self._world.slow * (drawn - 0.98) * 50
            self._slow[place] = self._world.time + wait
            self._world.later(wait, self._ring)
        elif not self._coming:
            self._coming = True
            self._world.later(self._world.delay() + GATHER_SECONDS * self._world.slow, self._ring)

    def seek(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Go on reading from these offsets."""
        for place, offset in offsets.items():
            if place in self._assigned:
                self._assigned[place] = offset
                self._seen.pop(place, None)

    async def bounds(self, places: Iterable[TopicPartition]) -> dict[TopicPartition, Bounds]:
        """Where each partition starts and ends now."""
        await asyncio.sleep(self._world.delay())
        if not self._alive():
            await asyncio.sleep(SEND_SECONDS)
            raise BrokerUnavailable("no broker answers")
        logs = {place: self._broker.logs[place] for place in places}
        return {place: Bounds(log.start, log.end) for place, log in logs.items()}

    def seen_to_end(self, places: Mapping[TopicPartition, int]) -> dict[TopicPartition, float]:
        """Which partitions end at the given next offsets, and since when."""
        return {
            place: self._seen[place][1]
            for place, next_offset in places.items()
            if place in self._seen and self._seen[place][0] <= next_offset
        }

    def unread(self, places: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        """How many records lie behind the given next offsets."""
        return {place: self._seen[place][0] - at for place, at in places.items() if place in self._seen}

    async def publish_offsets(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Tell Kafka how far this group is: nobody here reads it."""

    async def let_go(self) -> None:
        """The group takes everything back."""
        await self._listener.revoked(list(self._assigned))
        self._drop()

    async def receive(self, places: Sequence[TopicPartition]) -> None:
        """The group gives these partitions."""
        if self._stopped:
            return
        self._assigned = dict.fromkeys(places)
        self._broker.reads(self, places, now=True)
        await self._listener.assigned(places)
        self._ring()

    def _drop(self) -> None:
        self._broker.reads(self, self._assigned, now=False)
        self._assigned, self._seen = {}, {}

    def _alive(self) -> bool:
        return self.process.alive and self._broker.reachable(self.process)

    def _ring(self) -> None:
        self._coming = False
        if self._news is not None:
            _ring(self._news)

    def _take(self, limit: int) -> list[Record]:
        found: list[Record] = []
        if not self._alive():
            return found
        now = self._answered_at = self._world.time
        for place, position in self._assigned.items():
            log = self._broker.logs[place]
            if position is None or log.leaderless or len(found) >= limit:
                continue
            if self._slow.get(place, 0.0) > now:
                continue
            first = max(position, log.start)
            records = log.records[first : first + limit - len(found)]
            found += records
            self._assigned[place] = first + len(records)
            self._seen[place] = log.end, now
        return found


def _ring(news: "asyncio.Future[None]") -> None:
    if not news.done():
        news.set_result(None)


Sending = tuple[bytes | None, bytes | None, Sequence[tuple[str, bytes]]]


class Batch:
    """Records on their way."""

    def __init__(self) -> None:
        self.rows: list[Sending] = []

    def append(
        self,
        *,
        key: bytes | None,
        value: bytes | None,
        timestamp: int | None,
        headers: Sequence[tuple[str, bytes]],
    ) -> bool:
        """Take one more in."""
        del timestamp
        self.rows.append((key, value, headers))
        return True


class Sender:
    """An idempotent producer client, as far as libs.messaging.producer uses it.

    As aiokafka's, it does not recover from a batch whose fate it does not know: whatever it sends to that
    partition afterwards is refused for its sequence number.
    """

    def __init__(self, broker: Broker, process: Process) -> None:
        self._broker = broker
        self._world = broker.world
        self._process = process
        self._broken: set[TopicPartition] = set()

    async def start(self) -> None:
        """Connect."""
        await asyncio.sleep(self._world.delay())
        if not (self._process.alive and self._broker.reachable(self._process)):
            await asyncio.sleep(SEND_SECONDS)
            raise KafkaConnectionError("no broker answers")

    async def stop(self) -> None:
        """Disconnect."""

    async def partitions_for(self, _topic: str) -> set[int]:
        """The partitions of a topic."""
        await asyncio.sleep(self._world.delay())
        if not self._broker.reachable(self._process):
            raise KafkaTimeoutError
        return set(range(self._broker.partitions))

    def create_batch(self) -> Batch:
        """An empty batch."""
        return Batch()

    async def send_batch(self, batch: Batch, topic: str, *, partition: int) -> "asyncio.Future[None]":
        """Send a batch; the future tells its fate."""
        place = TopicPartition(topic, partition)
        fate: asyncio.Future[None] = self._world.loop.create_future()
        if place in self._broken:
            self._world.later(self._world.delay(), _fail, fate, OutOfOrderSequenceNumber())
        elif not (self._process.alive and self._broker.reachable(self._process)):
            self._fail(place, fate, KafkaTimeoutError(), SEND_SECONDS)
        else:
            self._world.later(self._world.delay(), self._arrive, place, batch.rows, fate)
        return fate

    def _arrive(self, place: TopicPartition, rows: Sequence[Sending], fate: "asyncio.Future[None]") -> None:
        broker, chance = self._broker, self._world.chance
        if not broker.reachable(self._process):
            self._fail(place, fate, KafkaTimeoutError(), SEND_SECONDS)
        elif broker.logs[place].leaderless:
            self._fail(place, fate, NotLeaderForPartitionError(), 0.1)
        elif broker.lose_sends and chance.random() < broker.lose_sends:
            self._world.faults["send unknown"] += 1
            if chance.random() < 0.7:  # it was written, or will be, when its sender has given up already
                self._world.later(chance.choice((0.0, 1.5)), broker.append, place, rows, self._process)
            self._fail(place, fate, KafkaTimeoutError(), SEND_SECONDS)
        else:
            broker.append(place, rows, self._process)
            if broker.double_sends and chance.random() < broker.double_sends:
                self._world.faults["duplicate"] += 1
                broker.append(place, rows, None)
            self._world.later(self._world.delay(), _acknowledge, fate)

    def _fail(
        self, place: TopicPartition, fate: "asyncio.Future[None]", error: KafkaError, after: float
    ) -> None:
        self._broken.add(place)
        self._world.later(after, _fail, fate, error)


def _fail(fate: "asyncio.Future[None]", error: KafkaError) -> None:
    if not fate.done():
        fate.set_exception(error)
        fate.exception()


def _acknowledge(fate: "asyncio.Future[None]") -> None:
    if not fate.done():
        fate.set_result(None)


def client(broker: Broker) -> Callable[..., Any]:
    """What libs.messaging.producer makes its clients with."""

    def made(**_settings: object) -> Sender:
        process = PROCESS.get()
        if process is None:
            raise LookupError("a producer belongs to a process")
        return Sender(broker, process)

    return made
