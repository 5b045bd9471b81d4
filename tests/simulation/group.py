"""Consumer groups: who is in them, how they rebalance, and how their members read."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from libs.messaging.consumer import Assigned, Bounds
from libs.messaging.errors import BrokerUnavailable
from libs.messaging.record import Record, TopicPartition
from tests.simulation.broker import SEND_SECONDS, Broker, Log
from tests.simulation.clock import Process

SESSION_SECONDS: Final = 3.0
"""After so long without a heartbeat a member is thrown out of its group."""
HELD_BACK_SECONDS: Final = 0.6
GATHER_SECONDS: Final = 0.1
"""So long a fetch gathers records."""


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


@dataclass(slots=True)
class Place:
    """How far a reader is in a partition, and which end of that its last fetch has seen, at what time."""

    place: TopicPartition
    log: Log
    position: int | None = None
    end: int | None = None
    seen_at: float = 0.0


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
        self._group = broker.groups.setdefault(group, Group(broker, group))
        self._listener = listener
        self._assigned: dict[TopicPartition, Place] = {}
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
            if (at := self._assigned.get(place)) is not None:
                at.position, at.end = offset, None

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
        assigned = self._assigned
        return {
            place: at.seen_at
            for place, next_offset in places.items()
            if (at := assigned.get(place)) is not None and at.end is not None and at.end <= next_offset
        }

    def unread(self, places: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        """How many records lie behind the given next offsets."""
        ends = {place: at.end for place, at in self._assigned.items()}
        return {
            place: end - offset for place, offset in places.items() if (end := ends.get(place)) is not None
        }

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
        self._assigned = {place: Place(place, self._broker.logs[place]) for place in places}
        self._broker.reads(self, places, now=True)
        await self._listener.assigned(places)
        self._ring()

    def _drop(self) -> None:
        self._broker.reads(self, self._assigned, now=False)
        self._assigned = {}

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
        now = self._answered_at = self._world.loop.now
        slow = self._slow
        for place, at in self._assigned.items():
            log, position = at.log, at.position
            if position is None or log.leaderless or (slow and slow.get(place, 0.0) > now):
                continue
            at.end = end = len(log.records)
            at.seen_at = now
            if position < end:
                first = max(position, log.start)
                records = log.records[first : first + limit - len(found)]
                found += records
                at.position = first + len(records)
                if len(found) >= limit:
                    break
        return found


def _ring(news: "asyncio.Future[None]") -> None:
    if not news.done():
        news.set_result(None)
