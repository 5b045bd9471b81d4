"""What the harness does to the broker's contents, past the proxies: read, write again, delete."""

import asyncio
import struct
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.coordinator.assignors.range import RangePartitionAssignor

from tests.faults.platform import COMMAND_TOPICS, EVENT_TOPICS
from tests.support.topics import RawRecord, Topics

TOPICS: Final = (*COMMAND_TOPICS, *EVENT_TOPICS)
DELETE_GROUPS: Final = 42
NO_ERROR: Final = 0
GROUP_NOT_FOUND: Final = 69
Place = tuple[str, int]


class NotDoneError(Exception):
    """The broker refused."""


@dataclass(frozen=True, slots=True)
class Raw:
    """A record as it lies, to be written as it was."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


class Broker:
    """The stack's broker."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap

    async def ends(self, topics: Sequence[str] = TOPICS) -> dict[Place, int]:
        """The offset after the last record of each partition."""
        async with self._reader(topics) as (reader, places):
            ends = await reader.end_offsets(places)
        return {(place.topic, place.partition): ends[place] for place in places}

    async def starts(self, topics: Sequence[str] = TOPICS) -> dict[Place, int]:
        """The offset of the first record that each partition still has."""
        async with self._reader(topics) as (reader, places):
            starts = await reader.beginning_offsets(places)
        return {(place.topic, place.partition): starts[place] for place in places}

    async def since(self, offsets: Mapping[Place, int]) -> list[Raw]:
        """What has come since, each partition in its order."""
        found: list[Raw] = []
        async with self._reader(sorted({topic for topic, _ in offsets})) as (reader, places):
            ends = await reader.end_offsets(places)
            for place in places:
                reader.seek(place, offsets[place.topic, place.partition])
            while any([await reader.position(place) < ends[place] for place in places]):
                for records in (await reader.getmany(timeout_ms=500)).values():
                    found += [
                        Raw(r.topic, r.partition, r.key, r.value, tuple(r.headers))
                        for r in records
                        if r.offset < ends[TopicPartition(r.topic, r.partition)]
                    ]
        return found

    async def write(self, records: Sequence[Raw]) -> list[tuple[str, int, int]]:
        """Append records as they are; returns where each lies. A partition below 0 is chosen by the key."""
        topics = Topics(self._bootstrap, prefix="", partitions=0)
        placed = await topics.publish(
            *(RawRecord(r.topic, r.key, r.value, r.headers, r.partition) for r in records)
        )
        return [(one.topic, one.partition, one.offset) for one in placed]

    async def forget(self, topic: str) -> dict[Place, int]:
        """Delete every record of a topic, as retention does in the end; returns where each partition starts now."""
        ends = await self.ends([topic])
        admin = AIOKafkaAdminClient(bootstrap_servers=self._bootstrap)
        await admin.start()
        try:
            await admin.delete_records(
                {TopicPartition(*place): RecordsToDelete(before_offset=end) for place, end in ends.items()}
            )
        finally:
            await admin.close()
        return ends

    async def forget_groups(self, groups: Sequence[str]) -> None:
        """Delete consumer groups with their committed offsets; no member may be left ("DeleteGroups", version 0)."""
        names = b"".join(struct.pack(">h", len(name)) + name.encode() for name in groups)
        request = struct.pack(">hhih", DELETE_GROUPS, 0, 1, -1) + struct.pack(">i", len(groups)) + names
        host, port = self._bootstrap.split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            writer.write(struct.pack(">i", len(request)) + request)
            (size,) = struct.unpack(">i", await reader.readexactly(4))
            answer = await reader.readexactly(size)
        finally:
            writer.close()
        at, errors = 12, {}
        for _ in groups:
            (length,) = struct.unpack_from(">h", answer, at)
            name = answer[at + 2 : at + 2 + length].decode()
            (errors[name],) = struct.unpack_from(">h", answer, at + 2 + length)
            at += 4 + length
        if refused := {
            name: code for name, code in errors.items() if code not in (NO_ERROR, GROUP_NOT_FOUND)
        }:
            raise NotDoneError(f"groups not deleted, with Kafka's error codes: {refused}")

    def member(self, group: str, topics: Sequence[str]) -> AIOKafkaConsumer:
        """A stranger to join a group: it reads nothing, and what it is assigned nobody reads meanwhile."""
        member = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap,
            group_id=group,
            enable_auto_commit=False,
            partition_assignment_strategy=(RangePartitionAssignor,),
            session_timeout_ms=6_000,
            heartbeat_interval_ms=500,
        )
        member.subscribe(list(topics))
        return member

    @asynccontextmanager
    async def _reader(
        self, topics: Sequence[str]
    ) -> AsyncIterator[tuple[AIOKafkaConsumer, list[TopicPartition]]]:
        reader = AIOKafkaConsumer(bootstrap_servers=self._bootstrap, enable_auto_commit=False)
        await reader.start()
        try:
            places = await self._places(topics)
            reader.assign(places)
            yield reader, places
        finally:
            await reader.stop()

    async def _places(self, topics: Sequence[str]) -> list[TopicPartition]:
        admin = AIOKafkaAdminClient(bootstrap_servers=self._bootstrap)
        await admin.start()
        try:
            described = await admin.describe_topics(list(topics))
        finally:
            await admin.close()
        return [TopicPartition(t["topic"], p["partition"]) for t in described for p in t["partitions"]]
