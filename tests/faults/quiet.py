"""When a platform is quiet: no saga open, nothing to send, nothing parked, nothing unread."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Final

from tests.faults import topics
from tests.faults.platform import CONSUMERS, DATABASES, Platform, databases_at, platform

OPEN: Final = "SELECT count(*) FROM sagas WHERE deadline IS NOT NULL"
OUTBOX: Final = "SELECT count(*) FROM outbox"
PARKED: Final = "SELECT count(*) FROM parked_messages"
BETWEEN_SECONDS: Final = 0.2


class NotQuietError(AssertionError):
    """The platform did not come to rest in time; the message says what was still going on."""


async def quiet(
    admin_dsn: str,
    bootstrap: str,
    *,
    within: float,
    prefix: str = "",
    dsns: Mapping[str, str] | None = None,
) -> None:
    """Return once everything has come to rest. Raises NotQuietError after `within` seconds."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within
    async with platform(dsns or databases_at(admin_dsn), bootstrap, prefix) as seen:
        while busy := await _busy(seen):
            if loop.time() > deadline:
                raise NotQuietError(f"not quiet within {within:.0f} s: {'; '.join(busy)}")
            await asyncio.sleep(BETWEEN_SECONDS)


async def _busy(seen: Platform) -> list[str]:
    if sagas := await seen.scalar("order_saga", OPEN):
        return [f"{sagas} open sagas"]
    waiting = await _filled(seen, OUTBOX, DATABASES) + await _filled(seen, PARKED, CONSUMERS)
    return waiting or [str(violation) async for violation in topics.lag(seen)]


async def _filled(seen: Platform, query: str, services: Iterable[str]) -> list[str]:
    counts = {service: await seen.scalar(service, query) for service in services}
    return [f"{service} has {rows}: {query}" for service, rows in counts.items() if rows]
