"""Tries the orchestrator's SQL on the real database."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from migrations import runner
from tests.support.databases import Database

pytestmark = pytest.mark.integration


async def test_the_migrations_make_the_tables_that_the_code_knows(
    database: Callable[[str], Awaitable[Database]],
) -> None:
    fresh = await database("order_saga")
    await asyncio.to_thread(runner.check, "order_saga", fresh.owner_dsn)
