"""The numbers of fetch requests and of their answers, packed many at once.

aiokafka walks a schema, with a call and an object for each number. A consumer of four topics names twelve
partitions in every request and is answered with as many: for small batches that was a sixth of what it cost.
Only the arrays of topics in version 11 (KIP-392) are replaced; with other versions aiokafka goes its own way.
"""

import struct
from collections.abc import Sequence
from functools import cache
from io import BytesIO
from typing import Any, Final, TypeAlias

from aiokafka.protocol.fetch import FetchRequest_v11, FetchResponse_v11
from aiokafka.protocol.types import Schema

Wanted: TypeAlias = tuple[int, int, int, int, int]
"""Partition, leader epoch, offset, start of the log, most bytes."""
Aborted: TypeAlias = list[tuple[int, int]]
Fetched: TypeAlias = tuple[int, int, int, int, int, Aborted | None, int, bytes | None]
"""Partition, error, high watermark, last stable offset, start of the log, aborted transactions, replica, records."""

_COUNT: Final = struct.Struct(">i")
_LENGTH: Final = struct.Struct(">h")
_WANTED: Final = struct.Struct(">iiqqi")
_FETCHED: Final = struct.Struct(">ihqqqi")
_ABORTED: Final = struct.Struct(">qq")
_RECORDS: Final = struct.Struct(">ii")


class WantedTopics:
    """The topics of a request."""

    @staticmethod
    def encode(topics: Sequence[tuple[str, Sequence[Wanted]]]) -> bytes:
        """As the protocol has it: a count, then each name with its partitions."""
        parts = [_COUNT.pack(len(topics))]
        for topic, partitions in topics:
            parts += [_name(topic), _COUNT.pack(len(partitions))]
            parts += [_WANTED.pack(*partition) for partition in partitions]
        return b"".join(parts)


class FetchedTopics:
    """The topics of an answer."""

    @staticmethod
    def decode(data: BytesIO) -> list[tuple[str, list[Fetched]]]:
        """Topics with their partitions; reads on where `data` stands. Raises ValueError where it ends too early."""
        raw, at = data.getvalue(), data.tell()
        topics: list[tuple[str, list[Fetched]]] = []
        try:
            (count,), at = _COUNT.unpack_from(raw, at), at + 4
            for _ in range(count):
                (length,), at = _LENGTH.unpack_from(raw, at), at + 2
                topic, at = raw[at : at + length].decode(), at + length
                (partitions,), at = _COUNT.unpack_from(raw, at), at + 4
                fetched: list[Fetched] = []
                for _ in range(partitions):
                    one, at = _fetched(raw, at)
                    fetched.append(one)
                topics.append((topic, fetched))
        except struct.error as error:
            raise ValueError(f"the answer to a fetch ends too early: {error}") from error
        data.seek(at)
        return topics


def _fetched(raw: bytes, at: int) -> tuple[Fetched, int]:
    partition, error, end, stable, start, transactions = _FETCHED.unpack_from(raw, at)
    at += _FETCHED.size
    aborted: Aborted | None = None
    if transactions >= 0:
        behind = at + transactions * _ABORTED.size
        aborted, at = list(_ABORTED.iter_unpack(raw[at:behind])), behind
    replica, size = _RECORDS.unpack_from(raw, at)
    at += _RECORDS.size
    records = None if size < 0 else raw[at : at + size]
    if records is not None and len(records) != size:
        raise ValueError(f"the answer to a fetch ends too early: {len(records)} of {size} bytes are there")
    return (partition, error, end, stable, start, aborted, replica, records), at + max(size, 0)


@cache
def _name(topic: str) -> bytes:
    encoded = topic.encode()
    return _LENGTH.pack(len(encoded)) + encoded


def with_topics(schema: Schema, topics: Any) -> Schema:
    """The same schema, but for how its topics are read or written."""
    return Schema(
        *(
            (name, topics if name == "topics" else field)
            for name, field in zip(schema.names, schema.fields, strict=True)
        )
    )


def install() -> None:
    """Let every consumer of this process pack and unpack so."""
    FetchRequest_v11.SCHEMA = with_topics(FetchRequest_v11.SCHEMA, WantedTopics)
    FetchResponse_v11.SCHEMA = with_topics(FetchResponse_v11.SCHEMA, FetchedTopics)
