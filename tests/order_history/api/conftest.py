"""The read model's routes on a real database."""

from collections.abc import AsyncIterator

import httpx
import pytest

from order_history.app import service
from tests.support.api import asked
from tests.support.databases import Database, Databases


@pytest.fixture(scope="module")
async def history(run_databases: Databases) -> AsyncIterator[Database]:
    """One database for all: each test has customers and orders of its own."""
    made = await run_databases.fresh("order_history")
    yield made
    await run_databases.drop(made)


@pytest.fixture
async def api(history: Database) -> AsyncIterator[httpx.AsyncClient]:
    async with asked(service, history) as client:
        yield client
