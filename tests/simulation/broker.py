"""A broker: partitioned logs, who is told of new records, and what goes wrong at present."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from libs.messaging.record import Record, TopicPartition
from tests.simulation.clock import Process
from tests.simulation.world import World

if TYPE_CHECKING:
    from tests.simulation.group import Group, Reader

KAFKA: Final = "kafka"
SEND_SECONDS: Final = 1.0
"""So long a client waits for an acknowledgement."""
Sending: TypeAlias = tuple[bytes | None, bytes | None, Sequence[tuple[str, bytes]]]
"""A record's key, value and headers, on their way."""


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
        network = self.world.network
        return self.up and (network.whole or network.between(process, KAFKA))

    def append(self, place: TopicPartition, rows: Sequence[Sending], sender: Process | None) -> None:
        """Write a batch to the end of a partition."""
        log, now = self.logs[place], self.world.loop.now
        topic, partition = place
        for key, value, headers in rows:
            record = Record(topic, partition, len(log.records), key, value, headers)
            log.records.append(record)
            log.times.append(now)
            self.watch(sender, record)
        self.world.note("append", topic, partition, log.end, len(rows))
        for reader in self._readers[place]:
            reader.expect(place)

    def truncate(self, place: TopicPartition, start: int) -> None:
        """Let retention run past everything before `start`."""
        log = self.logs[place]
        log.start = max(log.start, min(start, log.end))

    def reads(self, reader: "Reader", places: Iterable[TopicPartition], *, now: bool) -> None:
        """Note who is to be told of new records."""
        for place in places:
            if now:
                self._readers[place][reader] = None
            else:
                self._readers[place].pop(reader, None)
