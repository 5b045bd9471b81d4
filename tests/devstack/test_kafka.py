"""The embedded Kafka as a library: topics survive a stop and a kill, and three brokers do without one."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
from aiokafka.errors import KafkaError

from devstack import processes
from devstack.kafka import EmbeddedKafka, Node, new_cluster_id
from devstack.readiness import free_port, port_is_free
from libs.messaging.topics import create_topics
from tests.support.waiting import eventually

pytestmark = pytest.mark.integration


@pytest.fixture
async def kafka(tmp_path: Path) -> AsyncIterator[EmbeddedKafka]:
    broker = EmbeddedKafka(tmp_path / "kafka", free_port(), free_port(), heap="256m")
    yield broker
    await broker.stop()
    broker.remove()


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[list[EmbeddedKafka]]:
    nodes = [Node(number, free_port(), free_port()) for number in (1, 2, 3)]
    cluster_id = new_cluster_id()
    brokers = [
        EmbeddedKafka(
            tmp_path / f"kafka-{node.id}",
            node.port,
            node.controller_port,
            cluster=nodes,
            cluster_id=cluster_id,
            heap="192m",
        )
        for node in nodes
    ]
    yield brokers
    await asyncio.gather(*(broker.stop() for broker in brokers))


async def test_topics_survive_a_stop_and_a_kill(kafka: EmbeddedKafka) -> None:
    await kafka.start()
    assert await create_topics(kafka.bootstrap_servers, partitions=2)
    await kafka.stop()
    assert port_is_free(kafka.port)
    process = await kafka.start()
    assert await create_topics(kafka.bootstrap_servers, partitions=2) == []
    await processes.stop(process, by=signal.SIGKILL)
    await kafka.start()
    assert await create_topics(kafka.bootstrap_servers, partitions=2) == []


async def test_a_broker_that_wakes_up_interrupts_nobody(kafka: EmbeddedKafka) -> None:
    process = await kafka.start()
    threads = Path(f"/proc/{process.pid}/task").iterdir()
    assert {os.sched_getscheduler(int(thread.name)) for thread in threads} == {os.SCHED_BATCH}


async def test_three_brokers_do_without_one(cluster: list[EmbeddedKafka]) -> None:
    started = await asyncio.gather(*(broker.start() for broker in cluster))
    bootstrap = cluster[0].bootstrap_servers
    create = partial(create_topics, bootstrap, partitions=1, replication_factor=3, min_insync_replicas=2)
    assert await create()
    await processes.stop(started[0], by=signal.SIGKILL)

    async def all_there() -> bool:
        try:
            return await create() == []
        except KafkaError:  # the client may have asked the one that is gone
            return False

    await eventually(all_there, what="topics known to those left")
