"""What the payment service's integration tests stand on."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from tests.payment.provider import Provider
from tests.payment.till import Till
from tests.payment.till import till as a_till
from tests.support.databases import Database


@pytest.fixture
async def books(database: Callable[[str], Awaitable[Database]]) -> Database:
    """A fresh database of the service."""
    return await database("payment")


@pytest.fixture(scope="session")
async def running_provider(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Provider]:
    """The run's card provider."""
    made = Provider(tmp_path_factory.mktemp("provider"))
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def provider(running_provider: Provider) -> Provider:
    """The card provider in its usual mood."""
    await running_provider.settle()
    return running_provider


@pytest.fixture
async def till(books: Database, provider: Provider) -> AsyncIterator[Till]:
    """One process of the service, impatient with the provider."""
    async with a_till(books, card_provider_url=provider.url, card_timeout_seconds=0.4) as made:
        yield made
