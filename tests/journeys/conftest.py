"""The stack that journeys go through: a running one named by JOURNEY_STACK_DIR, or one of the run's own."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from bench.stack import Stack, StackInfo, runs
from devstack.readiness import port_is_free
from tests.support.shop import Customer, Operator, Shop
from tests.support.waiting import eventually

OFFSETS = range(12_000, 40_000, 150)
PORTS = (5432, 9092, 9093, *range(8081, 8089))
SHORT_DEADLINES = {"INVENTORY_TIMEOUT_SECONDS": "4", "PAYMENT_TIMEOUT_SECONDS": "5"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder is a journey."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.journey)


def free_offset() -> int:
    """A port offset at which nothing listens."""
    return next(n for n in OFFSETS if all(port_is_free(port + n) for port in PORTS))


@pytest.fixture(scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """A whole platform, ready; stopped and removed at the end when it was started here."""
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

    return await eventually(ask, within=20)


@pytest.fixture
async def customer(shop: Shop) -> Customer:
    """A customer with ten thousand euros."""
    return await shop.customer()
