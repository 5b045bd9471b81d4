"""Closes an aiokafka consumer, whatever state an outage has left it in."""

import asyncio
from collections.abc import Coroutine
from typing import Final

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

GIVE_UP_SECONDS: Final = 1.0


async def close(consumer: AIOKafkaConsumer, within: float) -> None:
    """Leave the group, if any, and let go of the connections; gives up after `within` seconds and a little.

    aiokafka's `stop` (0.14) cancels tasks of its own and awaits them: with a fetch under way it ends with their
    CancelledError, which must not be taken for ours, and leaves the rest open; it may also swallow ours. So it runs in
    a task apart, and what it should have closed is closed after it in any case.
    """
    if await _over(consumer.stop(), within):
        return
    if consumer._fetcher is not None:  # noqa: SLF001
        await _over(consumer._fetcher.close(), GIVE_UP_SECONDS)  # noqa: SLF001
    await _over(consumer._client.close(), GIVE_UP_SECONDS)  # noqa: SLF001


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
        raise error
    return error is None
