"""The sagas of a whole platform under stops, cancels and undos that fail: every order ends once, the books balance."""

import asyncio
import random
import re
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from uuid import UUID

import httpx
import pytest

from bench.stack import Stack, StackInfo, gone
from tests.faults.auditor import audit, opened
from tests.faults.books import Books
from tests.faults.platform import databases_at, platform
from tests.faults.quiet import quiet
from tests.support.crowd import Crowd
from tests.support.shop import Customer, Operator, Shop
from tests.support.waiting import eventually

REST_SECONDS = 180.0
CANCELLED = 500
UNDER_WAY = 500
ACCEPTED = 2_000
OUTAGE_SECONDS = 60
PATIENT = {"INVENTORY_TIMEOUT_SECONDS": "120", "PAYMENT_TIMEOUT_SECONDS": "120"}

OPEN = "SELECT count(*) FROM sagas WHERE deadline IS NOT NULL"
OVERDUE = "SELECT count(*) FROM sagas WHERE deadline < clock_timestamp() - interval '2 seconds'"
SILENCE = """
    SELECT coalesce(extract(epoch FROM clock_timestamp() - max(updated_at)), 0)::float8 FROM sagas
"""
TIMED_OUT = "SELECT count(*) FROM sagas WHERE reason_code LIKE '%%timeout' AND started_at >= %s"
CAUSE = "SELECT detail ->> 'why' FROM saga_journal WHERE saga_id = %s AND kind = 'parked'"
PARKED = "SELECT id FROM sagas WHERE parked_at IS NOT NULL AND business_key = %s"


async def asked(info: StackInfo, query: str, *parameters: object) -> float:
    """The one number that the orchestrator's database answers."""
    async with platform(databases_at(info.postgres_admin)) as seen:
        [(number,)] = await seen.rows("order_saga", query, list(parameters))
        return float(number)


async def rested(info: StackInfo) -> Books:
    """The books, once everything is at rest."""
    await quiet(info.postgres_admin, info.kafka_bootstrap, within=REST_SECONDS)
    return await opened(info.postgres_admin)


async def balanced(info: StackInfo, before: Books, crowd: Crowd) -> None:
    """Everything comes to rest, and the auditor finds nothing."""
    await quiet(info.postgres_admin, info.kafka_bootstrap, within=REST_SECONDS)
    assert await audit(info.postgres_admin, before, crowd.given, bootstrap=info.kafka_bootstrap) == []


@asynccontextmanager
async def refunds_refused(info: StackInfo) -> AsyncIterator[None]:
    """The card provider gives nothing back, until the block ends."""
    assert info.card_provider is not None
    async with httpx.AsyncClient(base_url=info.card_provider.url, timeout=10) as provider:
        (await provider.put("/admin/settings", json={"refuse_refunds": True})).raise_for_status()
        try:
            yield
        finally:
            (await provider.put("/admin/settings", json={"refuse_refunds": False})).raise_for_status()


@contextmanager
def held_back(stack: Stack) -> Iterator[None]:
    """Orders gather under way, however fast the machine or slow a signal: nobody looks at their products."""
    stack.signal("product", signal.SIGSTOP)
    try:
        yield
    finally:
        stack.signal("product", signal.SIGCONT)


@pytest.mark.parametrize("service", ["order_saga", "inventory", "payment"])
async def test_stopped_for_longer_than_the_deadline(
    service: str, stack: Stack, info: StackInfo, shop: Shop, operator: Operator
) -> None:
    crowd = await Crowd.gathered(shop, operator)
    before = await rested(info)

    async def under_way() -> bool:
        return await asked(info, OPEN) >= 20

    async def overslept() -> bool:
        timed_out = await asked(info, TIMED_OUT, before.since)
        return (await asked(info, OVERDUE) if service == "order_saga" else timed_out) > 0

    async with asyncio.TaskGroup() as group:
        with held_back(stack):
            group.create_task(crowd.order(80, at_once=80))
            await eventually(under_way, within=30, what="orders under way")
            stack.signal(service, signal.SIGSTOP)
        try:
            await eventually(overslept, within=90, what="a deadline passed")
        finally:
            stack.signal(service, signal.SIGCONT)
    await balanced(info, before, crowd)
    if service == "order_saga":
        assert await asked(info, TIMED_OUT, before.since) == 0


async def test_an_undo_that_fails_parks_the_saga_and_an_operator_ends_it(
    info: StackInfo, customer: Customer, operator: Operator
) -> None:
    product = await operator.product()
    async with refunds_refused(info):
        order_id = await customer.order(await customer.card(), [(product, 1)])
        assert (await customer.ended(order_id)).status == "completed"
        assert (await customer.cancel(order_id)).status_code == httpx.codes.ACCEPTED

        async def parked() -> bool:
            return len(await seen_parked(info, order_id)) == 1

        await eventually(parked, within=90, what="the saga parked")
        await eventually(lambda: gauge_shows(info, 1), what="saga_parked is 1")
        [saga_id] = await seen_parked(info, order_id)
        [why] = await column(info, CAUSE, saga_id)
        assert "refund_payment was not answered" in str(why)
        assert (await customer.look(order_id)).status == "cancelling"
    await resumed(info, operator, saga_id)
    order = await customer.ended(order_id)
    assert (order.status, order.reason_code) == ("cancelled", "cancelled_by_customer")
    assert "refunded" in order.events
    await eventually(lambda: gauge_shows(info, 0), what="saga_parked is 0")
    shelf = await operator.stock(product)
    assert (shelf.on_hand, shelf.reserved, shelf.sold) == (100, 0, 0)


async def test_cancelled_at_any_moment(info: StackInfo, shop: Shop, operator: Operator) -> None:
    crowd = await Crowd.gathered(shop, operator)
    before = await rested(info)
    draw = random.Random(500)  # noqa: S311 - the same moments in every run
    room = asyncio.Semaphore(40)
    cancelled: list[tuple[Customer, UUID]] = []

    async def one(number: int, moment: int) -> None:
        async with room:
            customer, wallet = crowd.solvent[number % len(crowd.solvent)]
            order_id = await customer.order(wallet, [(crowd.products[number % 5], 1)])
            crowd.answers[f"cancelled-{number}"].add(order_id)

            async def far_enough() -> bool:
                return len((await customer.look(order_id)).events) >= moment

            await eventually(far_enough, within=REST_SECONDS, every=0.02)

            async def told() -> httpx.Response | None:
                answer = await customer.cancel(order_id)
                return None if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE else answer

            answer = await eventually(
                told, within=REST_SECONDS, every=1, what="an answer to the cancellation"
            )
            assert answer.status_code == httpx.codes.ACCEPTED, answer.text
            cancelled.append((customer, order_id))

    async with asyncio.TaskGroup() as group:
        for number in range(CANCELLED):
            group.create_task(one(number, draw.randint(0, 5)))
    await balanced(info, before, crowd)
    ended = [await customer.look(order_id) for customer, order_id in cancelled]
    assert {(order.status, order.reason_code) for order in ended} == {("cancelled", "cancelled_by_customer")}
    both = await asked(info, "SELECT count(DISTINCT type) FROM sagas WHERE started_at >= %s", before.since)
    assert both == 2, "some were stopped on their way, and some were taken back"


async def test_an_outage_of_the_orchestrator_cancels_nothing(
    stack: Stack, info: StackInfo, shop: Shop, operator: Operator
) -> None:
    crowd = await Crowd.gathered(shop, operator)
    crowd = replace(crowd, broke=crowd.solvent)
    before = await rested(info)

    async def enough() -> bool:
        return await asked(info, OPEN) >= UNDER_WAY // 5

    async with asyncio.TaskGroup() as group:
        with held_back(stack):
            group.create_task(crowd.order(UNDER_WAY + ACCEPTED, at_once=100))
            await eventually(enough, within=60, every=0.005, what="orders under way")
            await gone(stack.signal("order_saga", signal.SIGKILL))

    async def silent() -> bool:
        return await asked(info, SILENCE) >= OUTAGE_SECONDS

    await eventually(silent, within=2 * OUTAGE_SECONDS, every=0.5, what="a minute without an orchestrator")
    assert len(crowd.accepted) == UNDER_WAY + ACCEPTED
    assert await asked(info, OVERDUE) > 0
    info = await stack.up(PATIENT)  # what was asked before is overdue; what is asked from now on has time
    try:
        await balanced(info, before, crowd)
        assert await asked(info, TIMED_OUT, before.since) == 0
        begun = await asked(info, "SELECT count(*) FROM sagas WHERE started_at >= %s", before.since)
        assert begun == len(crowd.accepted)
    finally:
        await gone(stack.signal("order_saga", signal.SIGKILL))
        await stack.up()


async def column(info: StackInfo, query: str, *parameters: object) -> list[object]:
    async with platform(databases_at(info.postgres_admin)) as seen:
        return [row[0] for row in await seen.rows("order_saga", query, list(parameters))]


async def seen_parked(info: StackInfo, order_id: UUID) -> list[object]:
    return await column(info, PARKED, order_id)


async def gauge_shows(info: StackInfo, parked: int) -> bool:
    """Whether so many sagas are parked, as Prometheus reads it."""
    async with httpx.AsyncClient(timeout=10) as http:
        told = (await http.get(f"{info.service_urls['order_saga']}/metrics")).text
    [value] = re.findall(r"(?m)^saga_parked (\S+)$", told)
    return float(value) == parked


async def resumed(info: StackInfo, operator: Operator, saga_id: object) -> None:
    """What an operator does: look at the saga, and push on what he saw."""
    headers = {"Authorization": f"Bearer {operator.token}"}
    async with httpx.AsyncClient(
        base_url=info.service_urls["order_saga"], headers=headers, timeout=10
    ) as console:
        listed = (await console.get("/sagas", params={"status": "parked"})).json()["items"]
        [saga] = [each for each in listed if each["saga_id"] == str(saga_id)]
        body = {"revision": saga["revision"], "reason": "the provider gives money back again"}
        answer = await console.post(f"/sagas/{saga_id}/resume", json=body)
        assert answer.status_code == httpx.codes.OK, answer.text
