"""What the gateway's tests share: databases for the run, and a gateway over them."""

from collections.abc import AsyncIterator

import pytest

from tests.gateway.front import Front, Shops, front, shops
from tests.support.databases import Databases


@pytest.fixture(scope="session")
async def over(run_databases: Databases) -> AsyncIterator[Shops]:
    """Databases that all tests of the gateway share: each test has users and orders of its own."""
    async with shops(run_databases) as made:
        yield made


@pytest.fixture(scope="session")
async def gate(over: Shops) -> AsyncIterator[Front]:
    """A gateway as the dev profile has it, patient on a slow machine; its tokens, and outbox, last for the run."""
    async with front(
        over,
        access_token_seconds=7_200,
        shed_outbox_age_seconds=86_400,
        request_seconds=300,
        commit_seconds=60,
        upstream_seconds=60,
    ) as made:
        yield made
