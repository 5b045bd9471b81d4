"""The fixtures that tests of every tier share; unit tests use none of those that start something."""

import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Final

import httpx
import pytest

from bench.stack import ROOT, Stack, StackInfo, runs
from devstack.readiness import port_is_free
from tests.support.backing import Backing
from tests.support.backing import backing as a_backing
from tests.support.cards import Cards
from tests.support.compose import ComposeStack
from tests.support.databases import Database, Databases, databases
from tests.support.services import ServiceProcess
from tests.support.shop import Customer, Operator, Shop
from tests.support.topics import Topics
from tests.support.topics import topics as fresh_topics
from tests.support.waiting import eventually

OFFSETS: Final = range(12_000, 40_000, 150)
PORTS: Final = (5432, 9092, 9093, *range(8081, 8089))
SHORT_DEADLINES: Final = {"INVENTORY_TIMEOUT_SECONDS": "4", "PAYMENT_TIMEOUT_SECONDS": "5"}


def pytest_configure() -> None:
    """Let SIGTERM, a job's time limit, do what Ctrl-C does: servers and services that tests started are stopped."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


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


def free_offset() -> int:
    """A port offset at which nothing listens."""
    return next(n for n in OFFSETS if all(port_is_free(port + n) for port in PORTS))


@pytest.fixture(scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """A whole platform, ready; stopped and removed at the end when it was started here.

    `JOURNEY_STACK_DIR` names one that runs already; `JOURNEY_STACK=compose` takes that of `docker compose`.
    """
    if os.environ.get("JOURNEY_STACK") == "compose":
        containers = ComposeStack(ROOT / ".stack-compose", SHORT_DEADLINES)
        await containers.up()
        yield containers
        return
    given = os.environ.get("JOURNEY_STACK_DIR")
    if given:
        yield Stack(Path(given), port_offset=int(os.environ.get("STACK_PORT_OFFSET", "0")))
        return
    own = Stack(
        tmp_path_factory.mktemp("journeys") / "stack", port_offset=free_offset(), environment=SHORT_DEADLINES
    )
    try:
        await own.up()
        yield own
    finally:
        await own.clean()


@pytest.fixture
async def info(stack: Stack) -> StackInfo:
    """Where everything of the stack is; whatever an earlier test killed is brought back first."""
    known = stack.info
    return known if all(map(runs, known.pids.values())) else await stack.up()


@pytest.fixture
async def shop(info: StackInfo) -> AsyncIterator[Shop]:
    """The stack's gateway."""
    async with httpx.AsyncClient(base_url=info.gateway_url, timeout=60) as http:
        yield Shop(http)


@pytest.fixture
async def operator(shop: Shop, info: StackInfo) -> Operator:
    """The stack's operator, once the shop answers."""

    async def ask() -> Operator:
        return await shop.operator(info.operator.email, info.operator.password)

    return await eventually(ask, within=60)


@pytest.fixture
async def customer(shop: Shop) -> Customer:
    """A customer with ten thousand euros."""
    return await shop.customer()


@pytest.fixture
async def cards(info: StackInfo) -> AsyncIterator[Cards]:
    """The stack's simulated card provider."""
    if info.card_provider is None:
        pytest.skip("this stack does not say where its card provider is")
    async with httpx.AsyncClient(base_url=info.card_provider.url, timeout=10) as http:
        yield Cards(http)


@pytest.fixture
def payment_deadline() -> float:
    """How long the stack waits for a payment, in seconds; PAYMENT_TIMEOUT_SECONDS for a stack that is given."""
    given = os.environ.get("JOURNEY_STACK_DIR") and "60"
    return float(
        os.environ.get("PAYMENT_TIMEOUT_SECONDS", given or SHORT_DEADLINES["PAYMENT_TIMEOUT_SECONDS"])
    )
