"""The proxy against an echo, against the real PostgreSQL and against the real Kafka."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError

from devstack.kafka import EmbeddedKafka
from devstack.readiness import free_port, port_is_free
from tests.faults.harness.broker import Broker
from tests.faults.harness.chance import chance
from tests.faults.harness.inspectors import Commits, Produces, Unread
from tests.faults.harness.ports import BROKER_FOR, KAFKA_PROXY, SERVICES, Ports
from tests.faults.harness.proxy import Proxy
from tests.faults.harness.weather import Loss, answers
from tests.support.backing import Backing
from tests.support.waiting import eventually

START_SECONDS = 240.0


@asynccontextmanager
async def running(proxy: Proxy) -> AsyncIterator[Proxy]:
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.stop()


@pytest.fixture
async def echo() -> AsyncIterator[Proxy]:
    """A proxy in front of a server that says everything again."""

    async def again(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1_000):
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(again, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, running(Proxy("echo", free_port(), port, Unread, chance(1))) as proxy:
        yield proxy


@asynccontextmanager
async def talking(proxy: Proxy) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def said(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, word: bytes) -> bytes:
    writer.write(word)
    return await asyncio.wait_for(reader.readexactly(len(word)), 10)


async def test_fair_weather_changes_nothing(echo: Proxy) -> None:
    async with talking(echo) as (reader, writer):
        assert await said(reader, writer, b"x" * 100_000) == b"x" * 100_000
        writer.write_eof()
        assert await asyncio.wait_for(reader.read(), 10) == b""


async def test_what_is_sent_into_a_blackhole_arrives_once_it_is_gone(echo: Proxy) -> None:
    async with talking(echo) as (reader, writer):
        assert await said(reader, writer, b"before") == b"before"
        echo.weather.blackhole()
        writer.write(b"meanwhile")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.3)
        echo.weather.clear()
        assert await asyncio.wait_for(reader.readexactly(9), 10) == b"meanwhile"


async def test_a_reset_is_seen_as_one(echo: Proxy) -> None:
    async with talking(echo) as (reader, writer):
        assert await said(reader, writer, b"before") == b"before"
        assert echo.reset() == 1
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(), 10)


async def test_a_half_closed_connection_ends_for_reading_only(echo: Proxy) -> None:
    async with talking(echo) as (reader, writer):
        assert await said(reader, writer, b"before") == b"before"
        assert echo.half_close() == 1
        assert await asyncio.wait_for(reader.read(), 10) == b""
        assert echo.links == 1


async def test_a_refusing_way_lets_nobody_in(echo: Proxy) -> None:
    echo.weather.refusing = True
    async with talking(echo) as (reader, writer):
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await said(reader, writer, b"anybody?")


@pytest.fixture
async def before_postgres(backing: Backing) -> AsyncIterator[tuple[Proxy, str, str]]:
    """A proxy, the DSN through it, and the DSN past it."""
    past = backing.postgres_admin
    port = psycopg.conninfo.conninfo_to_dict(past)["port"]
    proxy = Proxy("postgres", free_port(), int(str(port)), Commits, chance(1))
    async with running(proxy):
        yield proxy, past.replace(f":{port}/", f":{proxy.port}/"), past


@pytest.mark.integration
@pytest.mark.parametrize("pipelined", [True, False])
@pytest.mark.parametrize("loss", Loss)
async def test_a_commit_whose_answer_is_lost_has_happened_and_one_that_is_lost_itself_has_not(
    before_postgres: tuple[Proxy, str, str], loss: Loss, pipelined: bool
) -> None:
    proxy, through, past = before_postgres
    table = f"lost_{uuid4().hex}"
    async with await psycopg.AsyncConnection.connect(past, autocommit=True) as seen:
        await seen.execute(f"CREATE TABLE {table} (n int)".encode())
        try:
            writing = await psycopg.AsyncConnection.connect(through)
            for n in range(8):  # often enough that the client prepares what it repeats
                await _written(writing, table, n, pipelined=pipelined)
            proxy.weather.losing = lambda: loss
            with pytest.raises(psycopg.OperationalError):
                await _written(writing, table, 8, pipelined=pipelined)
            await writing.close()
            assert proxy.lost == {Loss.REQUEST: loss is Loss.REQUEST, Loss.ANSWER: loss is Loss.ANSWER}

            async def settled() -> bool:
                cursor = await seen.execute(f"SELECT max(n) FROM {table}".encode())  # noqa: S608
                return (await cursor.fetchall()) == [(8 if loss is Loss.ANSWER else 7,)]

            await eventually(settled, what=f"the commit with its {loss.value} lost")
        finally:
            await seen.execute(f"DROP TABLE {table}".encode())


async def _written(
    connection: psycopg.AsyncConnection[psycopg.rows.TupleRow], table: str, n: int, *, pipelined: bool
) -> None:
    statement = f"INSERT INTO {table} VALUES (%s)".encode()  # noqa: S608
    if not pipelined:
        await connection.execute(statement, [n])
        await connection.commit()
        return
    async with connection.pipeline():
        await connection.execute(statement, [n])
        await connection.commit()


@pytest.fixture(scope="module")
async def before_kafka(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Proxy, str]]:
    """A proxy for one service in front of a broker with a listener for each, and the address past it."""
    ports = Ports(next(n for n in range(11_000, 22_000, 150) if _are_free(n)))
    port, controller = free_port(), free_port()
    broker = EmbeddedKafka(
        tmp_path_factory.mktemp("proxied") / "kafka",
        port,
        controller,
        settings=ports.broker_settings(port, controller),
        heap="256m",
    )
    proxy = Proxy("kafka", ports.kafka("payment"), ports.broker_for("payment"), Produces, chance(1))
    async with AsyncExitStack() as stack:
        stack.callback(broker.remove)
        stack.push_async_callback(broker.stop)
        await broker.ready(await asyncio.to_thread(broker.launch), within=START_SECONDS)
        await stack.enter_async_context(running(proxy))
        yield proxy, f"127.0.0.1:{port}"


def _are_free(offset: int) -> bool:
    return all(
        port_is_free(base + n + offset) for base in (BROKER_FOR, KAFKA_PROXY) for n in range(len(SERVICES))
    )


@pytest.mark.integration
@pytest.mark.parametrize("loss", Loss)
async def test_a_record_whose_ack_is_lost_is_written_and_one_that_is_lost_itself_is_not(
    before_kafka: tuple[Proxy, str], loss: Loss, tmp_path: Path
) -> None:
    proxy, past = before_kafka
    topic = f"lost-{uuid4().hex}"
    admin = AIOKafkaAdminClient(bootstrap_servers=past)
    await admin.start()
    await admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)])
    await admin.close()
    producer = AIOKafkaProducer(
        bootstrap_servers=f"127.0.0.1:{proxy.port}",
        acks="all",
        enable_idempotence=True,
        request_timeout_ms=1_500,
        retry_backoff_ms=100,
    )
    await producer.start()
    try:
        await producer.send_and_wait(topic, b"arrives")
        proxy.weather.losing = lambda: loss
        with pytest.raises((KafkaError, TimeoutError)):
            await asyncio.wait_for(producer.send_and_wait(topic, b"in doubt"), 5)
        assert proxy.lost[loss] > 0
        written = [record.value for record in await Broker(past).since({(topic, 0): 0})]
    finally:
        proxy.weather.clear()
        await producer.stop()
    # However often it was tried: an idempotent producer's repeat is no second record.
    assert written == ([b"arrives", b"in doubt"] if loss is Loss.ANSWER else [b"arrives"])


def test_a_share_of_the_answers_is_lost_and_the_same_for_the_same_seed() -> None:
    first, second = (answers(chance(7), 0.2) for _ in range(2))
    lost = [first() for _ in range(1_000)]
    assert lost == [second() for _ in range(1_000)]
    assert 150 < lost.count(Loss.ANSWER) < 250
    assert Loss.REQUEST not in lost
