"""Closes aiokafka's clients, whatever state an outage has left them in: none of their errors is raised."""

import asyncio
from collections.abc import Coroutine
from typing import Final

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError

GIVE_UP_SECONDS: Final = 1.0


async def close_consumer(consumer: AIOKafkaConsumer, within: float) -> None:
    """Leave the group, if any, and let go of the connections; gives up after `within` seconds and a little.

    aiokafka's `stop` (0.14) cancels tasks of its own and awaits them: with a fetch under way it ends with their
    CancelledError, which must not be taken for ours, and leaves the rest open; it may also swallow ours. So it runs in
    a task apart, and what it should have closed is closed after it in any case.
    """
    if await _over(consumer.stop(), within):
        return
    if consumer._fetcher is not None:  # noqa: SLF001
        await _over(consumer._fetcher.close(), GIVE_UP_SECONDS)  # noqa: SLF001
    await _let_go(consumer._client)  # noqa: SLF001


async def close_producer(producer: AIOKafkaProducer, within: float) -> None:
    """Send what waits to be sent, and let go of the connections; gives up after `within` seconds and a little.

    `stop` gives up before it ends the sender and the connections where it cannot send.
    """
    if await _over(producer.stop(), within):
        return
    await _over(producer._sender.close(), GIVE_UP_SECONDS)  # noqa: SLF001
    await _let_go(producer.client)


async def _let_go(client: AIOKafkaClient) -> None:
    """Close the connections; a task for the metadata that has failed would fail this as well."""
    if client._sync_task is not None and client._sync_task.done():  # noqa: SLF001
        client._sync_task = None  # noqa: SLF001
    await _over(client.close(), GIVE_UP_SECONDS)


async def _over(closing: Coroutine[None, None, None], within: float) -> bool:
    """Whether it came to an end by itself; what does not is cancelled, and then left alone."""
    task = asyncio.create_task(closing)
    await asyncio.wait([task], timeout=within)
    if not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=GIVE_UP_SECONDS)
        return False
    if task.cancelled():
        return False
    error = task.exception()
    if error is not None and not isinstance(error, KafkaError | OSError):
        structlog.get_logger("kafka").warning("kafka.closing_failed", error=repr(error), exc_info=error)
    return error is None
