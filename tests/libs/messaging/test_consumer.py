"""A member of a group knows whether a broker still answers it."""

import asyncio
import time
from collections.abc import Iterable
from contextlib import AsyncExitStack

import pytest

from libs.messaging.consumer import RecordConsumer
from libs.messaging.record import TopicPartition
from tests.support.topics import Topics
from tests.support.waiting import eventually

pytestmark = pytest.mark.integration

LATER_SECONDS = 100.0


class Share:
    """What the group has given to one member."""

    def __init__(self) -> None:
        self.places: set[TopicPartition] | None = None

    async def revoked(self, places: Iterable[TopicPartition]) -> None:
        del places
        self.places = None

    async def assigned(self, places: Iterable[TopicPartition]) -> None:
        self.places = set(places)


async def test_a_member_for_which_there_is_no_partition_is_not_silent(
    topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    shares = [Share() for _ in range(topics.partitions + 1)]
    members = [
        RecordConsumer(
            topics.bootstrap_servers,
            group=f"{topics.prefix}g",
            topics=[f"{topics.prefix}order-events"],
            listener=share,
            client_id="c",
        )
        for share in shares
    ]
    async with AsyncExitStack() as stack:
        for member in members:
            await member.start()
            stack.push_async_callback(member.stop)

        async def shared() -> bool:
            await asyncio.gather(*(member.poll(1, 100) for member in members))
            assert sorted(len(share.places or ()) for share in shares) == [0] + [1] * topics.partitions
            return all(share.places is not None for share in shares)

        await eventually(shared)
        now = time.time()
        monkeypatch.setattr(time, "time", lambda: now + LATER_SECONDS)
        silent = {
            len(share.places or ()): m.silent_seconds() for share, m in zip(shares, members, strict=True)
        }
        monkeypatch.undo()
    assert silent[0] == 0
    assert silent[1] > LATER_SECONDS / 2
