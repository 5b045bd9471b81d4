"""A record as Kafka holds it, before anybody looked inside."""

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

Headers: TypeAlias = Sequence[tuple[str, bytes]]


class TopicPartition(NamedTuple):
    """One partition of one topic."""

    topic: str
    partition: int


class Record(NamedTuple):
    """What was read at one offset."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers

    @property
    def place(self) -> TopicPartition:
        """The partition that the record was read from."""
        return TopicPartition(self.topic, self.partition)


class Sendable(NamedTuple):
    """A record on its way out; `row` is the outbox id by which its acknowledgement is known."""

    row: int
    topic: str
    partition: int
    key: bytes
    value: bytes
    headers: Headers
