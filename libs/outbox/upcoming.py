"""Which rows of an outbox its relay sends next: the oldest, but for what it leaves alone for a while."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, LiteralString

from libs.messaging.record import TopicPartition
from libs.outbox.writers import Lane

NEXT: Final = """
    SELECT id, topic, key, key_hash, headers, payload FROM outbox ORDER BY id LIMIT %s
"""
NEXT_IN_LANE: Final = """
    SELECT id, topic, key, key_hash, headers, payload FROM outbox
    WHERE key_hash %% %s = %s ORDER BY id LIMIT %s
"""
NEXT_AVAILABLE: Final = """
    SELECT id, topic, key, key_hash, headers, payload FROM outbox
    WHERE key_hash %% %s = %s
      AND NOT EXISTS (SELECT 1 FROM unnest(%s::text[], %s::bigint[], %s::bigint[])
                          AS away (topic, partition, partitions)
                      WHERE away.topic = outbox.topic AND outbox.key_hash %% away.partitions = away.partition)
      AND NOT (topic, key) IN (SELECT * FROM unnest(%s::text[], %s::text[]))
    ORDER BY id LIMIT %s
"""
FIRST_BACK_OFF_SECONDS: Final = 0.2
MAX_BACK_OFF_SECONDS: Final = 5.0
REFUSED_BACK_OFF_SECONDS: Final = 60.0


@dataclass(slots=True)
class _BackOff:
    """Until when a partition is left alone."""

    until: float
    delay: float
    partitions: int


class Upcoming:
    """The rows of a lane that may be sent.

    A partition that did not take its records is left alone, longer each time, until it takes some: one that
    has no leader starves no other. A row that the broker refuses for good holds its key.
    """

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._away: dict[TopicPartition, _BackOff] = {}
        self._refused: dict[tuple[str, str], float] = {}

    @property
    def all_available(self) -> bool:
        """Whether nothing is left alone."""
        return not (self._away or self._refused)

    def delivered(self, places: Iterable[TopicPartition]) -> None:
        """These partitions take records."""
        for place in places:
            self._away.pop(place, None)

    def back_off(self, place: TopicPartition, partitions: int) -> None:
        """Leave a partition alone; `partitions` is how many its topic has."""
        before = self._away.get(place)
        delay = min(before.delay * 2, MAX_BACK_OFF_SECONDS) if before else FIRST_BACK_OFF_SECONDS
        self._away[place] = _BackOff(asyncio.get_running_loop().time() + delay, delay, partitions)

    def refuse(self, topic: str, key: str) -> None:
        """Leave a key of a topic alone."""
        self._refused[topic, key] = asyncio.get_running_loop().time() + REFUSED_BACK_OFF_SECONDS

    def statement(self, limit: int) -> tuple[LiteralString, list[object]]:
        """What gives at most so many of these rows, the oldest first, and its parameters."""
        now = asyncio.get_running_loop().time()
        away = [place for place, back_off in self._away.items() if back_off.until > now]
        self._refused = {key: until for key, until in self._refused.items() if until > now}
        refused = list(self._refused)
        lane = self._lane
        if away or refused:
            return NEXT_AVAILABLE, [
                lane.of,
                lane.number,
                [place.topic for place in away],
                [place.partition for place in away],
                [self._away[place].partitions for place in away],
                [topic for topic, _ in refused],
                [key for _, key in refused],
                limit,
            ]
        if lane.of > 1:
            return NEXT_IN_LANE, [lane.of, lane.number, limit]
        return NEXT, [limit]
