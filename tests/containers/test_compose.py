"""The platform of docker-compose.yml: an order through it, a container killed under load, and the orderly stop."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from uuid import UUID

import httpx
import pytest

from bench.stack import gone
from devstack.compose import container
from devstack.layout import SERVICE_PORTS
from libs.messaging.trail import trail
from tests.faults.auditor import audit, opened
from tests.faults.quiet import quiet
from tests.support.compose import ComposeStack
from tests.support.crowd import Crowd
from tests.support.shop import Operator, Shop
from tests.support.waiting import eventually

ORDERS = 100
REST_SECONDS = 120.0
STOP_SECONDS = 15.0
MESSAGES_OF_A_COMPLETED_ORDER = 11


@pytest.fixture
async def shop(platform: ComposeStack) -> AsyncIterator[Shop]:
    """The gateway, once everything is up."""
    info = await platform.up()
    async with httpx.AsyncClient(base_url=info.gateway_url, timeout=60) as http:
        yield Shop(http)


@pytest.fixture
async def operator(shop: Shop, platform: ComposeStack) -> Operator:
    """The account that a job made."""
    made = platform.info.operator
    return await shop.operator(made.email, made.password)


async def test_an_order_completes_and_its_messages_are_found(
    platform: ComposeStack, shop: Shop, operator: Operator
) -> None:
    customer, product = await shop.customer(), await operator.product()
    order: UUID = await customer.order(await customer.wallet(), [(product, 1)])
    assert (await customer.ended(order)).status == "completed"

    async def all_there() -> bool:
        found = await trail(platform.info.kafka_bootstrap, order)
        assert len(found) == MESSAGES_OF_A_COMPLETED_ORDER, [each.header("ce_type") for each in found]
        return True

    await eventually(all_there, every=0.5)


async def test_a_container_killed_under_load_and_started_again_loses_nothing(
    platform: ComposeStack, shop: Shop, operator: Operator
) -> None:
    info = platform.info
    crowd = await Crowd.gathered(shop, operator)
    await quiet(info.postgres_admin, info.kafka_bootstrap, within=REST_SECONDS)
    before = await opened(info.postgres_admin)
    orders = asyncio.create_task(crowd.order(ORDERS))

    async def some_accepted() -> bool:
        return len(crowd.accepted) >= ORDERS // 4

    await eventually(some_accepted, within=60, every=0.01)
    await gone(platform.signal("inventory", signal.SIGKILL))
    await orders
    await asyncio.to_thread(platform.compose, "start", "inventory")
    await quiet(info.postgres_admin, info.kafka_bootstrap, within=REST_SECONDS)
    assert len(crowd.accepted) == ORDERS
    assert await audit(info.postgres_admin, before, crowd.given, bootstrap=info.kafka_bootstrap) == []


async def test_all_services_stop_by_themselves(platform: ComposeStack) -> None:
    await platform.up()
    began = time.monotonic()
    await platform.down()
    assert time.monotonic() - began < STOP_SECONDS
    codes = platform.exit_codes()
    ours = [*(container(service) for service in SERVICE_PORTS), "card-provider"]
    assert {name: codes.get(name) for name in ours} == dict.fromkeys(ours, 0)
