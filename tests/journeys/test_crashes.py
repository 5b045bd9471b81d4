"""Any service killed with orders in flight, and the broker stopped: it delays, and loses or doubles nothing."""

import asyncio
import signal
from dataclasses import replace

import pytest

from bench.stack import Stack, StackInfo, gone
from tests.faults.auditor import audit, opened
from tests.faults.platform import databases_at, platform
from tests.faults.quiet import quiet
from tests.support.cards import Cards
from tests.support.crowd import Crowd
from tests.support.shop import Customer, Operator, Shop
from tests.support.waiting import eventually

SERVICES = ("gateway", "order_saga", "order", "product", "inventory", "payment", "order_history")
ORDERS = 200
REST_SECONDS = 120.0


@pytest.mark.parametrize("service", SERVICES)
async def test_killed_with_two_hundred_orders_in_flight(
    service: str, stack: Stack, info: StackInfo, shop: Shop, operator: Operator, cards: Cards
) -> None:
    crowd = await Crowd.gathered(shop, operator)
    await quiet(info.postgres_admin, info.kafka_bootstrap, within=REST_SECONDS)
    before = await opened(info.postgres_admin)
    async with asyncio.TaskGroup() as group:
        group.create_task(crowd.order(ORDERS, at_once=ORDERS))
        await eventually(lambda: accepted(crowd, ORDERS // 4), within=30, every=0.005)
        await gone(stack.signal(service, signal.SIGKILL))
        in_flight = ORDERS - len(crowd.accepted) + await open_sagas(info)
        await stack.up()
    await quiet(info.postgres_admin, info.kafka_bootstrap, within=REST_SECONDS)
    assert len(crowd.accepted) == ORDERS
    assert in_flight > ORDERS // 4, "the fault came too late to find anything in flight"
    given = replace(crowd.given, taken_from_cards=await cards.holds())
    found = await audit(info.postgres_admin, before, given, bootstrap=info.kafka_bootstrap)
    assert found == []


async def test_orders_are_accepted_without_kafka_and_complete_when_it_is_back(
    stack: Stack, info: StackInfo, shop: Shop, operator: Operator
) -> None:
    crowd = await Crowd.gathered(shop, operator)
    await quiet(info.postgres_admin, info.kafka_bootstrap, within=REST_SECONDS)
    before = await opened(info.postgres_admin)
    await gone(stack.signal("kafka", signal.SIGTERM), within=30)
    await crowd.order(20)
    assert len(crowd.accepted) == 20
    customer, method = crowd.solvent[0]
    order_id = await customer.order(method, [(crowd.products[0], 1)])
    assert (await customer.look(order_id)).status == "pending"
    await stack.up()
    assert (await customer.ended(order_id, within=REST_SECONDS)).status == "completed"
    await quiet(info.postgres_admin, info.kafka_bootstrap, within=REST_SECONDS)
    found = await audit(info.postgres_admin, before, crowd.given, bootstrap=info.kafka_bootstrap)
    assert found == []


@pytest.mark.parametrize(
    ("service", "reason"), [("inventory", "inventory_timeout"), ("payment", "payment_timeout")]
)
async def test_a_service_that_is_down_when_its_command_is_due(
    service: str, reason: str, stack: Stack, info: StackInfo, customer: Customer, operator: Operator
) -> None:
    product = await operator.product(cents=500, stock=7)
    wallet = await customer.wallet()
    await gone(stack.signal(service, signal.SIGKILL))
    order_id = await customer.order(wallet, [(product, 2)])
    cancelling = await customer.becomes(order_id, "cancelling", within=REST_SECONDS)
    assert cancelling.reason_code == reason
    assert "cancelled" not in cancelling.events
    await stack.up()
    order = await customer.ended(order_id, within=REST_SECONDS)
    assert (order.status, order.reason_code) == ("cancelled", reason)
    await quiet(info.postgres_admin, info.kafka_bootstrap, within=REST_SECONDS)
    shelf = await operator.stock(product)
    assert (shelf.on_hand, shelf.reserved, shelf.sold) == (7, 0, 0)
    assert await customer.balance() == 1_000_000


async def accepted(crowd: Crowd, count: int) -> bool:
    """Whether so many orders were accepted."""
    return len(crowd.accepted) >= count


async def open_sagas(info: StackInfo) -> int:
    """How many orders are under way in the orchestrator."""
    async with platform(databases_at(info.postgres_admin)) as seen:
        return await seen.scalar("order_saga", "SELECT count(*) FROM sagas WHERE deadline IS NOT NULL")
