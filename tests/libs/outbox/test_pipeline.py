"""What a buffered pipeline does with more than the network takes at once."""

import asyncio
import socket

import pytest

from libs.outbox.connection import connect, transaction
from tests.support.backing import Backing

pytestmark = pytest.mark.integration

SMALL_BUFFER = 4_096
LARGE = "x" * 32_000_000


async def test_a_transaction_larger_than_the_networks_buffers_is_committed(backing: Backing) -> None:
    connection = await connect(backing.postgres_admin, name="a large transaction")
    async with connection:
        narrow = socket.socket(fileno=connection.fileno())
        try:
            narrow.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BUFFER)
        finally:
            narrow.detach()
        async with asyncio.timeout(30), transaction(connection) as tx:
            length = await tx.queue("SELECT length(%s::text)", [LARGE])
        assert await length.fetched() == [(len(LARGE),)]
