"""The host on a real database and a real broker: what comes in is answered once, across restarts and lost topics."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace

import psycopg
import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.errors import KafkaTimeoutError

from libs.contracts.inventory import InventoryReserved, ReserveInventory
from libs.contracts.product import ValidateProducts
from libs.messaging.consumer import RecordConsumer
from libs.messaging.record import TopicPartition
from libs.service import consumption
from libs.service.host import Host
from libs.service.service import Paced, Service
from libs.service.settings import Settings
from tests.libs.service import tally
from tests.support.backing import Backing
from tests.support.builders import a_record, an_order_id, some_lines
from tests.support.databases import Database
from tests.support.topics import RawRecord, Topics
from tests.support.waiting import eventually

pytestmark = pytest.mark.integration

TALLY = tally.tally()
STOPPED_SECONDS = 60.0
END_SESSIONS = """
    SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


class Newcomer:
    """A member of the group that only takes its share of the partitions."""

    def __init__(self) -> None:
        self.has_its_share = asyncio.Event()

    async def revoked(self, places: Iterable[TopicPartition]) -> None: ...

    async def assigned(self, places: Iterable[TopicPartition]) -> None:
        del places
        self.has_its_share.set()


@pytest.fixture
async def tallied(database: Callable[[str], Awaitable[Database]]) -> Database:
    fresh = await database("inventory")
    await fresh.rows(tally.TABLE)
    await fresh.rows("GRANT ALL ON tally TO PUBLIC")
    return fresh


@asynccontextmanager
async def hosted(
    database: Database, topics: Topics, service: Service[tally.Counts] = TALLY, **settings: object
) -> AsyncIterator[Host[tally.Counts]]:
    """The tally service in this process until the block ends."""
    host = Host(
        service,
        Settings.model_validate(
            {
                "database_url": database.runtime_dsn,
                "kafka_bootstrap_servers": topics.bootstrap_servers,
                "topic_prefix": topics.prefix,
                "topic_partitions": 2,
            }
            | settings
        ),
    )
    running = asyncio.create_task(host.run())
    try:
        yield host
    finally:
        host.stop()
        await running


def reservations(count: int) -> list[ReserveInventory]:
    return [ReserveInventory(order_id=an_order_id(), lines=some_lines(1)) for _ in range(count)]


def strange() -> RawRecord:
    """A command to another service, in this one's topic."""
    record = a_record(ValidateProducts(order_id=an_order_id(), lines=some_lines(1)))
    return replace(record, topic=ReserveInventory.topic)


async def test_commands_are_answered_once_across_a_restart(
    backing: Backing, tallied: Database, topics: Topics
) -> None:
    first, second = reservations(50), reservations(50)
    records = [a_record(command) for command in first]
    async with hosted(tallied, topics):
        await topics.publish(*records, *records)
        await topics.expect("inventory-events", 50)
    await topics.publish(*records, *(a_record(command) for command in second))
    async with hosted(tallied, topics):
        await topics.expect("inventory-events", 100)
    events = await topics.read("inventory-events")
    assert sorted(event.key or b"" for event in events) == sorted(
        str(command.order_id).encode() for command in (*first, *second)
    )
    assert {event.header("ce_type") for event in events} == {InventoryReserved.wire}
    assert await tallied.row("SELECT count(*), max(heard) FROM tally") == (100, 1)
    assert await tallied.rows("SELECT 1 FROM outbox") == []


async def test_who_keeps_a_pace_takes_all_that_came_while_it_rested(
    backing: Backing, tallied: Database, topics: Topics
) -> None:
    sizes: list[int] = []
    paced = replace(
        TALLY,
        paced=Paced(topics=(ReserveInventory.topic,), seconds=2.0),
        committed=lambda _runtime, counts: sizes.append(len(counts.changed)),
    )
    async with hosted(tallied, topics, paced):
        await topics.publish(a_record(reservations(1)[0]))
        await topics.expect("inventory-events", 1)
        for command in reservations(6):
            await topics.publish(a_record(command))
        await topics.expect("inventory-events", 7)
    assert sizes == [1, 6]


@pytest.mark.parametrize("from_the_start", [True, False])
async def test_a_client_that_does_not_tell_where_partitions_end_is_replaced(
    backing: Backing,
    tallied: Database,
    topics: Topics,
    monkeypatch: pytest.MonkeyPatch,
    from_the_start: bool,
) -> None:
    deaf: set[AIOKafkaConsumer] = set()
    start, ends = AIOKafkaConsumer.start, AIOKafkaConsumer.end_offsets

    async def first_is_deaf(consumer: AIOKafkaConsumer) -> None:
        if from_the_start and not deaf:
            deaf.add(consumer)
        await start(consumer)

    async def unless_deaf(
        consumer: AIOKafkaConsumer, places: Collection[KafkaPartition]
    ) -> dict[KafkaPartition, int]:
        if consumer in deaf:
            raise KafkaTimeoutError
        told: dict[KafkaPartition, int] = await ends(consumer, places)
        return told

    monkeypatch.setattr(AIOKafkaConsumer, "start", first_is_deaf)
    monkeypatch.setattr(AIOKafkaConsumer, "end_offsets", unless_deaf)
    monkeypatch.setattr(consumption, "SILENT_SECONDS", 1.0)
    async with hosted(tallied, topics) as host:
        if not from_the_start:
            await topics.publish(a_record(reservations(1)[0]))
            await topics.expect("inventory-events", 1)
            reader = host._engine.consumptions[0]._reader
            assert isinstance(reader, RecordConsumer)
            deaf.add(reader._consumer)
            await tallied.rows(END_SESSIONS)
        await topics.publish(*(a_record(command) for command in reservations(5)))
        await topics.expect("inventory-events", 5 if from_the_start else 6)
    assert len(deaf) == 1


async def test_who_waits_for_a_database_to_say_where_partitions_were_left_can_be_stopped(
    backing: Backing, tallied: Database, topics: Topics
) -> None:
    newcomer = Newcomer()
    another = RecordConsumer(
        topics.bootstrap_servers,
        group=topics.prefix + TALLY.name,
        topics=[topics.prefix + topic for topic in TALLY.topics],
        listener=newcomer,
        client_id="another",
    )
    async with asyncio.timeout(STOPPED_SECONDS), hosted(tallied, topics) as host:
        await eventually(lambda: _fit(host))
        server = replace(tallied, admin_dsn=backing.postgres_admin)
        await server.rows(f"ALTER DATABASE {tallied.name} WITH ALLOW_CONNECTIONS false")
        await server.rows(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = %s", tallied.name
        )
        await another.start()
        await newcomer.has_its_share.wait()
        await another.stop()


async def test_offsets_follow_what_is_not_for_the_service_within_a_moment(
    backing: Backing, tallied: Database, topics: Topics
) -> None:
    async with hosted(tallied, topics):
        await topics.publish(*(a_record(command) for command in reservations(2)))
        await topics.expect("inventory-events", 2)
        await topics.publish(*(strange() for _ in range(5)))

        async def stored() -> bool:
            return await tallied.row("SELECT sum(next_offset)::int FROM consumer_offsets") == (7,)

        await eventually(stored)
    assert await tallied.row("SELECT count(*) FROM inbox") == (2,)


async def test_a_stored_offset_beyond_the_topic_is_an_alarm_until_somebody_settles_it(
    backing: Backing, tallied: Database, topics: Topics
) -> None:
    for partition in range(2):
        await tallied.rows(
            "INSERT INTO consumer_offsets (topic, partition, next_offset) VALUES (%s, %s, 1000)",
            f"{topics.prefix}inventory-commands",
            partition,
        )
    async with hosted(tallied, topics) as host:
        await eventually(lambda: _alarmed(host))
        await topics.publish(*(a_record(command) for command in reservations(5)))
        assert await tallied.rows("SELECT 1 FROM tally") == []
        await tallied.rows("UPDATE consumer_offsets SET next_offset = 0")
        await topics.expect("inventory-events", 5)


async def test_a_topic_made_anew_under_a_stored_offset_is_an_alarm(
    backing: Backing, tallied: Database, topics: Topics
) -> None:
    await topics.publish(*(a_record(command) for command in reservations(20)))
    for partition in range(2):
        await tallied.rows(
            "INSERT INTO consumer_offsets (topic, partition, next_offset, last_message_id)"
            " VALUES (%s, %s, 1, gen_random_uuid())",
            f"{topics.prefix}inventory-commands",
            partition,
        )
    async with hosted(tallied, topics) as host:
        await eventually(lambda: _alarmed(host))
        assert await tallied.rows("SELECT 1 FROM tally") == []


async def test_a_database_that_hung_up_is_a_fault_before_anything_is_asked_of_it(
    backing: Backing, tallied: Database, topics: Topics
) -> None:
    async with hosted(tallied, topics) as host:
        await eventually(lambda: _fit(host))
        with psycopg.connect(tallied.admin_dsn) as session:  # the loop stands still: nobody asks in between
            session.execute(END_SESSIONS)
        assert host.faults() == ["the database has hung up"]
        await eventually(lambda: _fit(host))
        await topics.publish(*(a_record(command) for command in reservations(2)))
        await topics.expect("inventory-events", 2)


async def _fit(host: Host[tally.Counts]) -> bool:
    return host.faults() == []


async def _alarmed(host: Host[tally.Counts]) -> bool:
    return any("accept-offset" in fault for fault in host.faults())
