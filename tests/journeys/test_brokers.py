"""Three brokers, and the one that leads partitions killed with orders in flight: the other two go on, and nothing is lost."""

import json
import os
import signal
from asyncio import TaskGroup
from collections import Counter
from collections.abc import AsyncIterator
from typing import TypedDict

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from bench.stack import Stack, StackInfo, gone
from devstack.readiness import port_is_free
from libs.messaging.topics import retention
from tests.conftest import OFFSETS, PORTS, SHORT_DEADLINES
from tests.faults.auditor import audit, opened
from tests.faults.quiet import quiet
from tests.support.crowd import Crowd
from tests.support.shop import Operator, Shop
from tests.support.waiting import eventually

BROKERS = 3
BROKER_PORTS = range(9092, 9092 + 2 * BROKERS)
ORDERS = 200
REST_SECONDS = 180.0


class Partition(TypedDict):
    """What a broker says of a partition, as far as it matters here: brokers by their numbers."""

    leader: int
    isr: list[int]


@pytest.fixture(scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """A platform on three brokers, each record on all of them and on two before it counts."""
    ports = {*PORTS, *BROKER_PORTS}
    offset = next(n for n in OFFSETS if all(port_is_free(port + n) for port in ports))
    folder = tmp_path_factory.mktemp("brokers") / "stack"
    own = Stack(folder, port_offset=offset, environment={**SHORT_DEADLINES, "BROKERS": str(BROKERS)})
    try:
        await own.up()
        yield own
    finally:
        await own.clean()


async def test_a_partition_leader_killed_under_load_loses_nothing(
    stack: Stack, info: StackInfo, shop: Shop, operator: Operator
) -> None:
    crowd = await Crowd.gathered(shop, operator)
    await quiet(info.postgres_admin, info.kafka_bootstrap, within=REST_SECONDS)
    before = await opened(info.postgres_admin)
    async with TaskGroup() as group:
        group.create_task(crowd.order(ORDERS))

        async def some_accepted() -> bool:
            return len(crowd.accepted) >= ORDERS // 4

        await eventually(some_accepted, within=60, every=0.01)
        [(leader, led)] = (await leaders(info)).most_common(1)
        assert led > 0
        pid = broker_pids(stack)[leader - 1]
        os.kill(pid, signal.SIGKILL)
        await gone(pid)
    await quiet(info.postgres_admin, info.kafka_bootstrap, within=REST_SECONDS)
    assert len(crowd.accepted) == ORDERS
    assert leader not in await leaders(info)
    assert await audit(info.postgres_admin, before, crowd.given, bootstrap=info.kafka_bootstrap) == []

    await stack.up()

    async def all_in_sync() -> bool:
        copies = {len(partition["isr"]) for partition in await partitions(info)}
        assert copies == {BROKERS}, f"{copies} copies in sync"
        return True

    await eventually(all_in_sync, within=60, every=0.2)


def broker_pids(stack: Stack) -> list[int]:
    """The brokers' processes, by their number."""
    return [each["pid"] for each in json.loads((stack.folder / "stack.json").read_text())["brokers"]]


async def leaders(info: StackInfo) -> Counter[int]:
    """How many partitions each broker leads, by its number."""
    return Counter(partition["leader"] for partition in await partitions(info))


async def partitions(info: StackInfo) -> list[Partition]:
    """All partitions of the platform's topics, as a broker that lives describes them."""

    async def ask() -> list[Partition]:
        admin = AIOKafkaAdminClient(bootstrap_servers=info.kafka_bootstrap)
        await admin.start()
        try:
            described = await admin.describe_topics(list(retention()))
        except KafkaError as error:  # the client may have asked the one that is gone
            raise AssertionError(repr(error)) from error
        finally:
            await admin.close()
        return [partition for topic in described for partition in topic["partitions"]]

    return await eventually(ask, within=30, every=0.2)
