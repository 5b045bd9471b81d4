"""A connection to Kafka that breaks is an error of Kafka's, which its client survives; in event loops of either kind."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import pytest
import uvloop
from aiokafka.client import AIOKafkaClient
from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.metadata import MetadataRequest

from libs.messaging import connections
from tests.support.backing import Backing

pytestmark = pytest.mark.integration

Run: TypeAlias = Callable[[Coroutine[Any, Any, None]], Awaitable[None]]
AT_ONCE_SECONDS = 10.0

connections.install()


@pytest.fixture(params=[asyncio.run, uvloop.run])
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a coroutine in an event loop of its own, beside the one that keeps the broker."""
    return lambda talk: asyncio.to_thread(request.param, talk)


@asynccontextmanager
async def broken(backing: Backing) -> AsyncIterator[tuple[AIOKafkaClient, AIOKafkaConnection]]:
    """A client, with its connection: the socket is closed, and the reader has yet to see that."""
    client = AIOKafkaClient(bootstrap_servers=backing.kafka_bootstrap)
    await client.bootstrap()
    try:
        assert await client.ready(client.get_random_node())
        (connection,) = client._conns.values()
        connection._writer.transport.abort()
        await asyncio.sleep(0)
        yield client, connection
    finally:
        await client.close()


async def test_sending_on_a_broken_connection_is_an_error_of_kafkas(backing: Backing, run: Run) -> None:
    async def talk() -> None:
        async with broken(backing) as (_, connection):
            with pytest.raises(KafkaConnectionError):
                await connection.send(MetadataRequest([]))

    await run(talk())


async def test_a_client_still_looks_after_its_metadata(
    backing: Backing, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def talk() -> None:
        async with broken(backing) as (client, connection), asyncio.timeout(AT_ONCE_SECONDS):
            with monkeypatch.context() as patch:
                # So it is for a moment after a reset: the reader's error is not the end of what it reads.
                connection._read_task.cancel()
                patch.setattr(connection, "connected", lambda: True)
                await client.force_metadata_update()
            assert await client.force_metadata_update()

    await asyncio.to_thread(uvloop.run, talk())
