"""The fixtures that tests of every tier share; unit tests use none of those that start something."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import pytest

from tests.support.backing import Backing
from tests.support.backing import backing as a_backing
from tests.support.databases import Database, Databases, databases
from tests.support.services import ServiceProcess
from tests.support.topics import Topics
from tests.support.topics import topics as fresh_topics


@pytest.fixture(scope="session")
async def backing(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Backing]:
    """The run's PostgreSQL and Kafka; `TEST_PROVIDER` chooses where they come from."""
    async with a_backing(tmp_path_factory.mktemp("backing")) as both:
        yield both


@pytest.fixture(scope="session")
async def run_databases(backing: Backing) -> AsyncIterator[Databases]:
    """The run's templates, one per service that some test asks for."""
    async with databases(backing.postgres_admin) as made:
        yield made


@pytest.fixture
async def database(run_databases: Databases) -> AsyncIterator[Callable[[str], Awaitable[Database]]]:
    """Fresh, migrated databases, one per call with a service's name; dropped after the test."""
    async with AsyncExitStack() as stack:

        async def fresh(service: str) -> Database:
            made = await run_databases.fresh(service)
            stack.push_async_callback(run_databases.drop, made)
            return made

        yield fresh


@pytest.fixture
async def topics(backing: Backing) -> AsyncIterator[Topics]:
    """All topics of the platform under a prefix of the test's own, with two partitions each."""
    async with fresh_topics(backing.kafka_bootstrap) as made:
        yield made


@pytest.fixture
async def service(
    database: Callable[[str], Awaitable[Database]], topics: Topics, tmp_path: Path
) -> AsyncIterator[Callable[..., Awaitable[ServiceProcess]]]:
    """Services as processes on the test's own topics, by their names; keywords are environment variables.

    `on` names the database; without it the service gets a fresh one.
    """
    async with AsyncExitStack() as stack:

        async def start(name: str, on: Database | None = None, **environment: str) -> ServiceProcess:
            process = ServiceProcess(name, on or await database(name), topics, tmp_path, environment)
            stack.push_async_callback(partial(process.stop))
            await process.start()
            return process

        yield start
