"""Sends records in batches and says which ones the broker acknowledged."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    InvalidTopicError,
    KafkaError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    TopicAuthorizationFailedError,
)

from libs.crash_points import reach
from libs.messaging import connections
from libs.messaging.closing import close_producer
from libs.messaging.errors import BrokerUnavailable
from libs.messaging.record import Sendable, TopicPartition
from libs.messaging.requests import Requests

MAX_BATCH_BYTES: Final = 512 * 1024
MAX_REQUEST_BYTES: Final = 1_048_576
LEAVE_SECONDS: Final = 1.0
REFUSED_FOR_GOOD: Final = (
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    InvalidTopicError,
    TopicAuthorizationFailedError,
)

connections.install()


@dataclass(slots=True)
class Sent:
    """What became of a batch of sends: rows by their outbox ids, partitions that failed with their cause."""

    acknowledged: list[int] = field(default_factory=list)
    delivered: set[TopicPartition] = field(default_factory=set)
    failed: dict[TopicPartition, str] = field(default_factory=dict)
    refused: dict[int, str] = field(default_factory=dict)


class RecordProducer:
    """An idempotent producer (KIP-98) that is thrown away and rebuilt after any failure.

    aiokafka 0.14 does not recover from a sequence error or from a batch that timed out by itself.
    Sends wait for `acks=all`. A record may be sent twice after a failure; its reader drops the second.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        client_id: str,
        *,
        timeout_seconds: float = 10.0,
        client: Callable[..., AIOKafkaProducer] = AIOKafkaProducer,
        requests: Requests | None = None,
    ) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._client_id = client_id
        self._timeout = timeout_seconds
        self._client = client
        self._requests = requests
        self._producer: AIOKafkaProducer | None = None
        self._doubtful: set[TopicPartition] = set()

    async def partitions(self, topic: str) -> int:
        """How many partitions a topic has now. Raises BrokerUnavailable."""
        producer = await self._started()
        try:
            async with asyncio.timeout(self._timeout):
                return len(await producer.partitions_for(topic))
        except (KafkaError, TimeoutError) as error:
            raise BrokerUnavailable(repr(error)) from error

    async def send(self, records: Sequence[Sendable]) -> Sent:
        """Send records, in their order within a partition, and wait until all are settled.

        A record that does not fit ends its partition's batch: it and those after it are left out
        of `acknowledged` and come again with the next call. Raises BrokerUnavailable where no
        connection can be made at all.
        """
        by_partition: dict[TopicPartition, list[Sendable]] = defaultdict(list)
        for record in records:
            by_partition[TopicPartition(record.topic, record.partition)].append(record)
        producer = await self._started()
        sent = Sent()
        sends = [self._answered(producer, place, rows) for place, rows in by_partition.items()]
        # One partition's batch is sent at once, not by a task that is yet to start.
        for place, rows, result in [await sends[0]] if len(sends) == 1 else await asyncio.gather(*sends):
            if isinstance(result, int):
                sent.acknowledged.extend(row.row for row in rows[:result])
                sent.delivered.add(place)
                self._doubtful.discard(place)
            elif isinstance(result, REFUSED_FOR_GOOD) and self._alone(place, rows):
                sent.refused[rows[0].row] = repr(result)
            elif isinstance(result, KafkaError | TimeoutError | AssertionError):
                sent.failed[place] = repr(result)
            else:
                raise result
        if sent.failed or sent.refused:
            await self.close()
        return sent

    async def _answered(
        self, producer: AIOKafkaProducer, place: TopicPartition, rows: Sequence[Sendable]
    ) -> tuple[TopicPartition, Sequence[Sendable], int | Exception]:
        """A partition's rows with how many of them were taken and acknowledged, or with the error."""
        try:
            return place, rows, await self._send_batch(producer, place, rows)
        except Exception as error:  # noqa: BLE001 - what it means is for `send` to say
            return place, rows, error

    def _alone(self, place: TopicPartition, rows: Sequence[Sendable]) -> bool:
        """Whether the refused batch was one record; if not, they go one by one from now on."""
        alone = place in self._doubtful or len(rows) == 1
        self._doubtful.add(place)
        return alone

    async def _send_batch(
        self, producer: AIOKafkaProducer, place: TopicPartition, rows: Sequence[Sendable]
    ) -> int:
        batch = producer.create_batch()
        taken = 0
        for row in rows[:1] if place in self._doubtful else rows:
            metadata = batch.append(key=row.key, value=row.value, timestamp=None, headers=row.headers)
            if metadata is None:
                break
            taken += 1
        if taken == 0:
            raise MessageSizeTooLargeError(f"outbox row {rows[0].row} fits no batch")
        async with asyncio.timeout(self._timeout):
            delivered = await producer.send_batch(batch, place.topic, partition=place.partition)
            await delivered
        reach("producer.part_sent")
        return taken

    async def _started(self) -> AIOKafkaProducer:
        if self._producer is None:
            producer = self._client(
                bootstrap_servers=self._bootstrap_servers,
                client_id=self._client_id,
                acks="all",
                enable_idempotence=True,
                linger_ms=0,
                max_batch_size=MAX_BATCH_BYTES,
                max_request_size=MAX_REQUEST_BYTES,
                request_timeout_ms=int(self._timeout * 1_000),
                retry_backoff_ms=100,
            )
            if self._requests is not None:
                self._requests.count(producer.client)
            try:
                async with asyncio.timeout(self._timeout):
                    await producer.start()
            except (KafkaError, TimeoutError, OSError) as error:
                await close_producer(producer, LEAVE_SECONDS)
                raise BrokerUnavailable(repr(error)) from error
            self._producer = producer
        return self._producer

    async def close(self) -> None:
        """Let go of the connection, whatever it still has in flight; the next send makes a new one."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await close_producer(producer, LEAVE_SECONDS)
