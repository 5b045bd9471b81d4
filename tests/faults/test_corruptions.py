"""The auditor is itself tried: corruptions are planted in the books of a stack that is right, and each must be found.

Each is planted inside transactions that the auditor reads through and that are then rolled back.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

import httpx
import psycopg
import pytest

from bench.stack import Stack, StackInfo
from tests.faults.auditor import Given, audit, inspect, opened
from tests.faults.books import Books
from tests.faults.corruptions import CORRUPTIONS, Corruption
from tests.faults.platform import Platform, databases_at
from tests.faults.quiet import quiet
from tests.support.cards import Cards
from tests.support.crowd import Crowd
from tests.support.shop import Operator, Shop

pytestmark = pytest.mark.journey


@dataclass(frozen=True, slots=True)
class Audited:
    """A stack's books after a load that went well."""

    info: StackInfo
    before: Books
    given: Given
    taken_from_cards: int


@pytest.fixture(scope="module")
async def audited(stack: Stack) -> AsyncIterator[Audited]:
    """Forty orders, a quarter of them refused; nothing is wrong with them."""
    info = await stack.up()
    async with httpx.AsyncClient(base_url=info.gateway_url, timeout=60) as http:
        shop = Shop(http)
        operator = await shop.operator(info.operator.email, info.operator.password)
        yield await forty_orders(info, shop, operator)


async def forty_orders(info: StackInfo, shop: Shop, operator: Operator) -> Audited:
    """The books before and after them."""
    crowd = await Crowd.gathered(shop, operator, customers=3)
    await quiet(info.postgres_admin, info.kafka_bootstrap, within=60)
    before = await opened(info.postgres_admin)
    await crowd.order(40)
    await quiet(info.postgres_admin, info.kafka_bootstrap, within=60)
    assert info.card_provider is not None
    async with httpx.AsyncClient(base_url=info.card_provider.url) as http:
        taken = await Cards(http).holds()
    given = replace(crowd.given, taken_from_cards=taken)
    assert await audit(info.postgres_admin, before, given, bootstrap=info.kafka_bootstrap) == []
    return Audited(info, before, given, taken)


@asynccontextmanager
async def planted(info: StackInfo, corruption: Corruption) -> AsyncIterator[Platform]:
    """The platform with one database corrupted, for the auditor's eyes only."""
    async with AsyncExitStack() as stack:
        dsns = databases_at(info.postgres_admin)
        sessions = {
            name: await stack.enter_async_context(await psycopg.AsyncConnection.connect(dsn))
            for name, dsn in dsns.items()
        }
        session = sessions[corruption.service]
        stack.push_async_callback(session.rollback)
        for statement in corruption.statements:
            cursor = await session.execute(statement.encode())
            assert cursor.rowcount != 0, f"planted nothing: {statement}"
        yield Platform(sessions, info.kafka_bootstrap, "")


@pytest.mark.parametrize("corruption", CORRUPTIONS, ids=lambda corruption: corruption.name)
async def test_a_planted_corruption_is_found(audited: Audited, corruption: Corruption) -> None:
    async with planted(audited.info, corruption) as seen:
        found = await inspect(seen, audited.before, audited.given)
    assert corruption.invariant in {violation.invariant for violation in found}, found


async def test_a_lost_order_is_found(audited: Audited) -> None:
    given = replace(audited.given, acknowledged=audited.given.acknowledged | {uuid4()})
    found = await audit(audited.info.postgres_admin, audited.before, given)
    assert [violation.invariant for violation in found] == ["I3"]


async def test_an_order_that_somebody_else_can_read_is_found_over_http(audited: Audited) -> None:
    rich, *_, other = sorted(audited.given.eyes, key=lambda one: len(one.orders))
    stolen = max(other.orders)
    mine = replace(rich, orders=rich.orders | {stolen})
    theirs = replace(other, orders=other.orders - {stolen})
    given = replace(audited.given, eyes=[mine, theirs])
    found = await audit(audited.info.postgres_admin, audited.before, given)
    assert {violation.invariant for violation in found} == {"I14"}
    assert f"order {stolen}" in {violation.subject for violation in found}


async def test_an_order_that_its_owner_cannot_see_is_found_over_http(audited: Audited) -> None:
    [order, *_] = (orders := sorted(max(audited.given.eyes, key=lambda one: len(one.orders)).orders))
    async with await psycopg.AsyncConnection.connect(
        databases_at(audited.info.postgres_admin)["order_history"], autocommit=True
    ) as session:
        cursor = await session.execute("SELECT user_id FROM orders WHERE order_id = %s", [order])
        [(owner,)] = await cursor.fetchall()
        await session.execute("UPDATE orders SET user_id = %s WHERE order_id = %s", [uuid4(), order])
        try:
            found = await audit(audited.info.postgres_admin, audited.before, audited.given, deep=False)
        finally:
            await session.execute("UPDATE orders SET user_id = %s WHERE order_id = %s", [owner, order])
    told = {
        (violation.invariant, violation.finding) for violation in found if str(order) in violation.subject
    }
    assert ("I14", "is not in its owner's list") in told, orders
    assert await audit(audited.info.postgres_admin, audited.before, audited.given) == []


async def test_one_key_with_two_orders_is_found(audited: Audited) -> None:
    given = replace(audited.given, keys={"k": frozenset({uuid4(), uuid4()})})
    found = await audit(audited.info.postgres_admin, audited.before, given)
    assert [violation.invariant for violation in found] == ["I12"]


async def test_a_secret_in_a_log_is_found(audited: Audited, tmp_path: Path) -> None:
    await asyncio.to_thread((tmp_path / "gateway.log").write_text, '{"password": "canary-7"}')
    given = replace(audited.given, canaries=frozenset({"canary-7"}), log_folder=tmp_path)
    found = await audit(audited.info.postgres_admin, audited.before, given)
    assert [violation.invariant for violation in found] == ["I15"]


async def test_memory_that_grows_is_found(audited: Audited) -> None:
    times = [10.0 * sample for sample in range(60)]
    leaking = [(second, 1e8 + 1e5 * second) for second in times]
    steady = [(second, 1e8 + (second % 7) * 1e4) for second in times]
    settling = [(second, 1e8 + 1e5 * min(second, 300.0)) for second in times]
    given = replace(audited.given, memory={"leaking": leaking, "steady": steady, "settling": settling})
    found = await audit(audited.info.postgres_admin, audited.before, given)
    assert [(violation.invariant, violation.subject) for violation in found] == [("I16", "leaking")]


async def test_a_card_charged_behind_the_ledgers_back_is_found(audited: Audited) -> None:
    given = replace(audited.given, taken_from_cards=audited.taken_from_cards + 1)
    found = await audit(audited.info.postgres_admin, audited.before, given)
    assert [(violation.invariant, violation.subject) for violation in found] == [("I1", "card provider")]
