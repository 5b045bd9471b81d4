"""A client is closed in any outage, without taking its broken stop for a cancellation of ours or an error to end with."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import pytest
from aiokafka.client import AIOKafkaClient

from devstack.kafka import EmbeddedKafka
from devstack.processes import ProcessId
from devstack.readiness import free_port
from libs.messaging.consumer import RecordConsumer
from libs.messaging.errors import BrokerUnavailable
from libs.messaging.producer import RecordProducer
from libs.messaging.record import TopicPartition
from libs.messaging.topics import create_topics
from tests.support.waiting import eventually

pytestmark = pytest.mark.integration

TOPICS = ("order-events", "product-events")
PARTITIONS = 3
CLOSED_SECONDS = 10.0


class Nobody:
    """A listener that has nothing to do."""

    async def revoked(self, places: Iterable[TopicPartition]) -> None: ...
    async def assigned(self, places: Iterable[TopicPartition]) -> None: ...


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[tuple[EmbeddedKafka, ProcessId]]:
    """A broker of the test's own, to be killed."""
    kafka = EmbeddedKafka(tmp_path / "kafka", free_port(), free_port(), heap="256m")
    process = await kafka.start()
    await create_topics(kafka.bootstrap_servers, partitions=PARTITIONS)
    yield kafka, process
    if process.alive:
        os.kill(process.pid, signal.SIGCONT)
    await kafka.stop()
    kafka.remove()


def member_of_a_group(kafka: EmbeddedKafka) -> RecordConsumer:
    return RecordConsumer(kafka.bootstrap_servers, group="g", topics=TOPICS, listener=Nobody(), client_id="c")


def clients_tasks() -> list[str]:
    """What still runs of the Kafka client."""
    coroutines = [task.get_coro() for task in asyncio.all_tasks()]
    return [
        name
        for coroutine in coroutines
        if (name := getattr(coroutine, "__qualname__", "")).startswith(
            ("AIOKafka", "Fetcher", "GroupCoordinator")
        )
    ]


async def nothing_left() -> bool:
    assert clients_tasks() == []
    return True


async def let_die(client: AIOKafkaClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """End the task that looks after the client's metadata, by an error that is none of Kafka's."""

    async def die(*_arguments: object) -> None:
        raise RuntimeError("the handler is closed")

    monkeypatch.setattr(client, "_metadata_update", die)
    _ = client.force_metadata_update()
    await asyncio.wait([client._sync_task])


@pytest.mark.parametrize("fault", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "hanging"])
async def test_closing_ends_and_leaves_nothing_behind(
    broker: tuple[EmbeddedKafka, ProcessId], fault: signal.Signals
) -> None:
    kafka, process = broker
    consumer = member_of_a_group(kafka)
    await consumer.start()
    await consumer.poll(10, 500)
    os.kill(process.pid, fault)

    async def noticed() -> bool:
        await consumer.poll(10, 100)
        return consumer.silent_seconds() > 1

    await eventually(noticed)
    async with asyncio.timeout(CLOSED_SECONDS):
        await consumer.stop()

    await eventually(nothing_left)


async def test_a_consumer_that_is_dead_inside_is_closed_like_any_other(
    broker: tuple[EmbeddedKafka, ProcessId], monkeypatch: pytest.MonkeyPatch
) -> None:
    kafka, _process = broker
    consumer = member_of_a_group(kafka)
    await consumer.start()
    await let_die(consumer._consumer._client, monkeypatch)
    await consumer.stop()
    await eventually(nothing_left)


async def test_a_producer_that_is_dead_inside_is_closed_like_any_other(
    broker: tuple[EmbeddedKafka, ProcessId], monkeypatch: pytest.MonkeyPatch
) -> None:
    kafka, _process = broker
    producer = RecordProducer(kafka.bootstrap_servers, "c")
    assert await producer.partitions(TOPICS[0]) == PARTITIONS
    assert producer._producer is not None
    await let_die(producer._producer.client, monkeypatch)
    await producer.close()
    await eventually(nothing_left)


async def test_a_broker_that_is_away_is_said_so(broker: tuple[EmbeddedKafka, ProcessId]) -> None:
    kafka, _process = broker
    await kafka.stop()
    consumer = member_of_a_group(kafka)
    with pytest.raises(BrokerUnavailable):
        await consumer.start()
    await consumer.stop()
