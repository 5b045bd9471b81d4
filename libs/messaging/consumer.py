"""Reads records in batches from the partitions that the group gave this process."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final, Protocol

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import IllegalStateError, KafkaError

from libs.messaging import connections, fetching
from libs.messaging.closing import close_consumer
from libs.messaging.errors import BrokerUnavailable
from libs.messaging.record import Record, TopicPartition
from libs.messaging.requests import Requests

SESSION_TIMEOUT_MS: Final = 6_000
HEARTBEAT_MS: Final = 2_000
FETCH_WAIT_MS: Final = 100
MAX_POLL_INTERVAL_MS: Final = 24 * 3_600 * 1_000
"""The offsets in the database are the fence, so a slow batch need not cost the assignment."""

JOIN_SECONDS: Final = 20.0
"""A client that met a broker which knew of no broker yet, not even itself, would wait for five minutes or for ever."""
LEAVE_SECONDS: Final = 3.0
HINT_SECONDS: Final = 1.0
BOUNDS_SECONDS: Final = 10.0
TRUSTED_SECONDS: Final = 1.0
"""For how long a broker that has answered is not suspected."""

connections.install()
fetching.install()


@contextmanager
def unavailable() -> Iterator[None]:
    """Turn the client's errors into BrokerUnavailable."""
    try:
        yield
    except (KafkaError, TimeoutError) as error:
        raise BrokerUnavailable(repr(error)) from error


@dataclass(frozen=True, slots=True)
class Bounds:
    """The first offset that a partition still has, and the one that its next record will get."""

    start: int
    end: int


async def bounds_of(
    consumer: AIOKafkaConsumer, places: Collection[KafkaPartition]
) -> dict[TopicPartition, Bounds]:
    """Where each partition starts and ends now. Raises BrokerUnavailable."""
    with unavailable():
        starts = await consumer.beginning_offsets(places)
        ends = await consumer.end_offsets(places)
    return {TopicPartition(*place): Bounds(starts[place], ends[place]) for place in places}


class Assigned(Protocol):
    """What happens when the group gives partitions to this process or takes them away."""

    async def revoked(self, places: Iterable[TopicPartition]) -> None:
        """The partitions are about to go: finish what is in hand."""

    async def assigned(self, places: Iterable[TopicPartition]) -> None:
        """The partitions are here: seek to where they were left."""


class RecordConsumer:
    """A member of a consumer group; positions are set by its user, never taken from Kafka."""

    def __init__(
        self,
        bootstrap_servers: str,
        *,
        group: str,
        topics: Sequence[str],
        listener: Assigned,
        client_id: str,
        requests: Requests | None = None,
    ) -> None:
        self._topics = topics
        self._answered_at = time.time()
        self._asking_since: float | None = None
        """Since when the client was asked where partitions end, by time.monotonic(); None once it has told."""
        self._listener = _Listener(listener)
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=bootstrap_servers,
            group_id=group,
            client_id=client_id,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            partition_assignment_strategy=(RangePartitionAssignor,),
            session_timeout_ms=SESSION_TIMEOUT_MS,
            heartbeat_interval_ms=HEARTBEAT_MS,
            fetch_max_wait_ms=FETCH_WAIT_MS,
            max_poll_interval_ms=MAX_POLL_INTERVAL_MS,
            max_partition_fetch_bytes=2 * 1_048_576,
            retry_backoff_ms=100,
        )
        if requests is not None:
            requests.count(self._consumer._client)  # noqa: SLF001

    async def start(self) -> None:
        """Join the group. Raises BrokerUnavailable where no broker answers."""
        self._consumer.subscribe(list(self._topics), listener=self._listener)
        with unavailable():
            async with asyncio.timeout(JOIN_SECONDS):
                await self._consumer.start()
        self._answered_at = time.time()

    async def stop(self) -> None:
        """Leave the group, so that another member takes over at once; gives up where no broker answers."""
        await close_consumer(self._consumer, LEAVE_SECONDS)

    def silent_seconds(self) -> float:
        """For how long no broker has answered a fetch, or the client has been asked in vain where partitions end.

        What was seen to be answered is not looked at for a second. A member that the group has no partition for
        fetches nothing, and is not silent.
        """
        now = time.time()
        if self._listener.idle:
            self._answered_at, self._asking_since = now, None
        elif now - self._answered_at >= TRUSTED_SECONDS:
            answers = [self._answered_at]
            for place in self._consumer.assignment():
                with suppress(IllegalStateError):
                    answers.append((self._consumer.last_poll_timestamp(place) or 0) / 1_000)
            self._answered_at = max(answers)
        asking = 0.0 if self._asking_since is None else time.monotonic() - self._asking_since
        return max(now - self._answered_at, asking)

    async def poll(self, max_records: int, timeout_ms: int) -> list[Record]:
        """What has come, at most `max_records`, each partition in order of offset; waits up to `timeout_ms`."""
        with unavailable():
            polled = await self._consumer.getmany(timeout_ms=timeout_ms, max_records=max_records)
        return [
            Record(r.topic, r.partition, r.offset, r.key, r.value, r.headers)
            for records in polled.values()
            for r in records
        ]

    def seek(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Go on reading from these offsets; a partition that is no longer assigned is left out."""
        for place, offset in offsets.items():
            try:
                self._consumer.seek(KafkaPartition(*place), offset)
            except IllegalStateError:
                continue

    async def bounds(self, places: Iterable[TopicPartition]) -> dict[TopicPartition, Bounds]:
        """Where each partition starts and ends now. Raises BrokerUnavailable."""
        if self._asking_since is None:
            self._asking_since = time.monotonic()
        with unavailable():
            async with asyncio.timeout(BOUNDS_SECONDS):
                told = await bounds_of(self._consumer, [KafkaPartition(*place) for place in places])
        self._asking_since = None
        return told

    def seen_to_end(self, places: Mapping[TopicPartition, int]) -> dict[TopicPartition, float]:
        """Which partitions end at the given next offsets, and since when.

        The value is the time (by the event loop's clock, which is never put right) of the fetch
        whose answer showed that end: what was in the partition before it has been read.
        """
        seen: dict[TopicPartition, float] = {}
        now, told = asyncio.get_running_loop().time(), time.time()
        for place, next_offset in places.items():
            partition = KafkaPartition(*place)
            try:
                end = self._consumer.highwater(partition)
                at = self._consumer.last_poll_timestamp(partition)
            except IllegalStateError:
                continue
            if end is not None and at is not None and end <= next_offset:
                seen[place] = now - max(0.0, told - at / 1_000)
        return seen

    def unread(self, places: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        """How many records lie behind the given next offsets, by the ends that the last fetches showed."""
        counted: dict[TopicPartition, int] = {}
        for place, next_offset in places.items():
            try:
                end = self._consumer.highwater(KafkaPartition(*place))
            except IllegalStateError:
                continue
            if end is not None:
                counted[place] = max(0, end - next_offset)
        return counted

    async def publish_offsets(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Tell Kafka how far this group is, for lag tools only; a failure is none."""
        known = {KafkaPartition(*place): offset for place, offset in offsets.items()}
        known = {place: o for place, o in known.items() if place in self._consumer.assignment()}
        if not known:
            return
        with suppress(KafkaError, TimeoutError):
            async with asyncio.timeout(HINT_SECONDS):
                await self._consumer.commit(known)


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    """Passes the group's news on in this package's terms."""

    def __init__(self, listener: Assigned) -> None:
        self._revoked: Callable[[list[TopicPartition]], Awaitable[None]] = listener.revoked
        self._assigned: Callable[[list[TopicPartition]], Awaitable[None]] = listener.assigned
        self.idle = False
        """Whether the group has so many members that this one got nothing."""

    async def on_partitions_revoked(self, revoked: Iterable[KafkaPartition]) -> None:
        self.idle = False
        await self._revoked([TopicPartition(*place) for place in revoked])

    async def on_partitions_assigned(self, assigned: Iterable[KafkaPartition]) -> None:
        places = [TopicPartition(*place) for place in assigned]
        self.idle = not places
        await self._assigned(places)
