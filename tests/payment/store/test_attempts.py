"""Tries the claiming of what is due at the provider."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta

import pytest

from libs.contracts.values import OrderId, PaymentMethodId
from libs.outbox.transaction import Transaction
from payment import store
from payment.app import service
from payment.store import Call, Outlook
from tests.payment.till import pay
from tests.support.builders import a_message_id, a_user_id
from tests.support.databases import Database
from tests.support.store import a_transaction, handle

pytestmark = pytest.mark.integration

LEASE = timedelta(seconds=15)


async def due(books: Database, count: int) -> list[OrderId]:
    """New charges, the first due longest."""
    orders = []
    for _ in range(count):
        user_id, method_id = a_user_id(), PaymentMethodId(a_message_id())
        async with a_transaction(books.runtime_dsn) as tx:
            await store.add_card(tx, user_id, method_id, "tok_approve", "Card")
        command = pay(user_id=user_id, method_id=method_id)
        await handle(books.runtime_dsn, service, command)
        orders.append(command.order_id)
    return orders


@asynccontextmanager
async def claiming(books: Database, *, first: int = 9, again: int = 9) -> AsyncIterator[Sequence[OrderId]]:
    """What a claim takes; committed at the end."""
    async with a_transaction(books.runtime_dsn) as tx:
        yield [call.order_id for call in await store.claim(tx, first=first, again=again, lease=LEASE)]


async def claim(books: Database, *, first: int = 9, again: int = 9) -> list[Call]:
    """The same, committed."""
    async with a_transaction(books.runtime_dsn) as tx:
        return await store.claim(tx, first=first, again=again, lease=LEASE)


async def test_what_is_due_longest_is_claimed_first_and_once(books: Database) -> None:
    orders = await due(books, 3)
    assert {call.order_id for call in await claim(books, first=2)} == set(orders[:2])
    [call] = await claim(books)
    assert (call.order_id, call.ask, call.first) == (orders[2], "charge", True)
    assert await claim(books) == []
    row = await books.row(
        "SELECT attempts, first_sent_at = updated_at, claimed_until = next_at, claimed_until - updated_at"
        " FROM payment_attempts WHERE order_id = %s",
        call.order_id,
    )
    assert row == (1, True, True, LEASE)


async def test_two_who_claim_at_once_get_different_ones(books: Database) -> None:
    orders = await due(books, 4)
    async with AsyncExitStack() as stack:
        taken = [await stack.enter_async_context(claiming(books, first=2)) for _ in range(3)]
    assert [len(one) for one in taken] == [2, 2, 0]
    assert {order for one in taken for order in one} == set(orders)


async def test_what_was_tried_before_has_a_lane_of_its_own(books: Database) -> None:
    tried, new = await due(books, 3), await due(books, 3)
    await books.rows(
        "UPDATE payment_attempts SET attempts = 5, next_at = now() - interval '1 hour' WHERE order_id = ANY(%s)",
        tried,
    )
    calls = await claim(books, first=2, again=1)
    assert {call.order_id for call in calls if call.first} == set(new[:2])
    assert len([call for call in calls if not call.first]) == 1
    assert await claim(books, first=0, again=0) == []


async def test_a_charge_is_claimed_as_a_query_once_its_key_is_old(books: Database) -> None:
    young, old = await due(books, 2)
    await books.rows(
        "UPDATE payment_attempts SET first_sent_at = now() - CASE order_id WHEN %s"
        " THEN interval '11:59:00' ELSE interval '12:00:01' END",
        young,
    )
    assert {call.order_id: call.ask for call in await claim(books)} == {young: "charge", old: "query"}


@pytest.mark.parametrize("state", ["parked", "done"])
async def test_only_what_is_due_is_claimed(books: Database, state: str) -> None:
    await due(books, 1)
    await books.rows(
        "UPDATE payment_attempts SET state = %s, token = NULL, waiters = '[]', kind = 'query'", state
    )
    assert await claim(books) == []
    async with a_transaction(books.runtime_dsn) as tx:
        assert await store.outlook(tx) == Outlook(None, parked=1 if state == "parked" else 0)


async def test_it_is_known_how_long_there_is_nothing_to_do(books: Database) -> None:
    async def seconds(tx: Transaction) -> float:
        found = (await store.outlook(tx)).due_in
        assert found is not None
        return found

    await due(books, 1)
    async with a_transaction(books.runtime_dsn) as tx:
        assert await seconds(tx) <= 0
    await claim(books)
    async with a_transaction(books.runtime_dsn) as tx:
        assert 0 < await seconds(tx) <= LEASE.total_seconds()
