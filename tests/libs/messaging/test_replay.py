"""Reading topics from the beginning, on the real broker: up to a mark, on from there, past what is gone."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from devstack.readiness import free_port
from libs.contracts.topics import ORDER_EVENTS, PAYMENT_EVENTS
from libs.messaging.errors import BrokerUnavailable
from libs.messaging.record import TopicPartition
from libs.messaging.replay import Replay
from tests.support.topics import RawRecord, Topics

pytestmark = pytest.mark.integration


def records(topic: str, partition: int, count: int) -> list[RawRecord]:
    return [RawRecord(topic, None, str(number).encode(), (), partition) for number in range(count)]


@asynccontextmanager
async def replaying(topics: Topics) -> AsyncIterator[Replay]:
    names = [topics.prefix + ORDER_EVENTS, topics.prefix + PAYMENT_EVENTS]
    replay = Replay(topics.bootstrap_servers, names, "test")
    await replay.start()
    try:
        yield replay
    finally:
        await replay.stop()


async def read(replay: Replay, until: Mapping[TopicPartition, int]) -> dict[TopicPartition, list[int]]:
    found: dict[TopicPartition, list[int]] = {}
    for record in await replay.read(until):
        found.setdefault(record.place, []).append(record.offset)
    return found


async def test_each_partition_is_read_to_its_mark_and_on_from_there(topics: Topics) -> None:
    orders, payments = (topics.prefix + topic for topic in (ORDER_EVENTS, PAYMENT_EVENTS))
    await topics.publish(*records(ORDER_EVENTS, 0, 50), *records(PAYMENT_EVENTS, 1, 30))
    async with replaying(topics) as replay:
        bounds = await replay.bounds()
        assert {place: (b.start, b.end) for place, b in bounds.items()} == {
            (orders, 0): (0, 50),
            (orders, 1): (0, 0),
            (payments, 0): (0, 0),
            (payments, 1): (0, 30),
        }
        first = {TopicPartition(orders, 0): 17, TopicPartition(orders, 1): 0, TopicPartition(payments, 1): 30}
        assert await read(replay, first) == {(orders, 0): [*range(17)], (payments, 1): [*range(30)]}
        assert await read(replay, first) == {}
        await topics.publish(*records(PAYMENT_EVENTS, 1, 5))
        second = {TopicPartition(orders, 0): 50, TopicPartition(payments, 1): 33}
        assert await read(replay, second) == {(orders, 0): [*range(17, 50)], (payments, 1): [30, 31, 32]}


async def test_what_the_topic_no_longer_has_is_passed_over(topics: Topics) -> None:
    await topics.publish(*records(ORDER_EVENTS, 0, 20))
    place = TopicPartition(topics.prefix + ORDER_EVENTS, 0)
    admin = AIOKafkaAdminClient(bootstrap_servers=topics.bootstrap_servers)
    await admin.start()
    await admin.delete_records({KafkaPartition(*place): RecordsToDelete(before_offset=8)})
    await admin.close()
    async with replaying(topics) as replay:
        assert await read(replay, {place: 5}) == {}
        assert await read(replay, {place: 20}) == {place: [*range(8, 20)]}


async def test_nothing_is_left_at_the_broker(topics: Topics) -> None:
    await topics.publish(*records(ORDER_EVENTS, 0, 3))
    admin = AIOKafkaAdminClient(bootstrap_servers=topics.bootstrap_servers)
    await admin.start()
    before = await admin.list_consumer_groups()
    async with replaying(topics) as replay:
        await read(replay, {TopicPartition(topics.prefix + ORDER_EVENTS, 0): 3})
    assert await admin.list_consumer_groups() == before
    await admin.close()


async def test_a_broker_that_is_away_is_said_so() -> None:
    with pytest.raises(BrokerUnavailable):
        await Replay(f"127.0.0.1:{free_port()}", [ORDER_EVENTS], "test").start()
