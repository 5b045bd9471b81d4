"""The client that libs.messaging.producer makes, for sends whose fate may stay unknown."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    NotLeaderForPartitionError,
    OutOfOrderSequenceNumber,
)

from libs.messaging.record import TopicPartition
from tests.simulation.broker import SEND_SECONDS, Broker, Sending
from tests.simulation.clock import PROCESS, Process


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
