"""The read model's SQL on the real database."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libs.contracts.message import Contract
from libs.contracts.order import OrderCreated
from libs.contracts.values import OrderId
from libs.messaging.message import Message
from migrations import runner
from order_history import store
from tests.order_history.rows import ROUTES, contents, fold_in, folded, transaction_on
from tests.order_history.stories import Story, retold, tellings, told
from tests.support.builders import a_message, an_order_id
from tests.support.databases import Database

pytestmark = pytest.mark.integration

Databases = Callable[[str], Awaitable[Database]]


@pytest.fixture
async def history(database: Databases) -> Database:
    return await database("order_history")


async def test_the_migrations_make_the_tables_that_the_code_knows(history: Database) -> None:
    await asyncio.to_thread(runner.check, "order_history", history.owner_dsn)


async def test_an_order_is_read_as_its_events_told_it(history: Database) -> None:
    story = Story()
    await folded(history, story.completes())
    async with transaction_on(history) as tx:
        found = await store.order(tx, story.order_id, story.user_id)
    assert found is not None
    assert (found.status, found.total_minor, found.currency) == ("completed", 2_000, "EUR")
    assert [line["name"] for line in found.lines] == ["Product 1", "Product 2"]
    assert [line.event for line in found.timeline] == [
        "created",
        "validated",
        "reserved",
        "paid",
        "completed",
    ]
    assert found.timeline[3].detail == {"amount": {"amount_minor": 2_000, "currency": "EUR"}}


async def test_an_order_is_nobody_elses(history: Database) -> None:
    story = Story()
    await folded(history, story.completes())
    async with transaction_on(history) as tx:
        assert await store.order(tx, story.order_id, Story().user_id) is None


async def test_an_order_without_an_owner_is_nobodys_until_it_is_told(history: Database) -> None:
    story = Story()
    created, reserved = told(story.created(), story.reserved())
    await folded(history, [reserved])
    async with transaction_on(history) as tx:
        assert await store.order(tx, story.order_id, story.user_id) is None
        assert await store.statuses(tx, [story.order_id]) == {}, "who asks here takes it for its owner's"
    await folded(history, [created])
    async with transaction_on(history) as tx:
        found = await store.order(tx, story.order_id, story.user_id)
        assert await store.statuses(tx, [story.order_id]) == {story.order_id: "pending"}
    assert found is not None
    assert [line.event for line in found.timeline] == ["reserved", "created"], "in order of arrival"


async def test_a_row_that_nothing_new_is_told_of_is_not_written(history: Database) -> None:
    story = Story().completes()
    await folded(history, story)
    before = await history.rows(
        "SELECT xmin::text FROM orders UNION ALL SELECT xmin::text FROM order_timeline"
    )
    await folded(history, story, story[2:3])
    after = await history.rows(
        "SELECT xmin::text FROM orders UNION ALL SELECT xmin::text FROM order_timeline"
    )
    assert before == after


async def test_an_earlier_telling_takes_its_place_and_keeps_the_order_of_arrival(history: Database) -> None:
    story = Story()
    first, second, end = told(story.reserved(), story.reserved(), story.completed())
    await folded(history, [second], [end], [first])
    async with transaction_on(history) as tx:
        found = await store.order(tx, story.order_id, story.user_id)
    assert found is not None
    assert [(line.event, line.ce_id) for line in found.timeline] == [
        ("reserved", first.id),
        ("completed", end.id),
    ]


async def test_two_processes_that_tell_a_new_order_at_once_lose_nothing(history: Database) -> None:
    """The slower one is refused by the key, which makes the host run its batch again."""
    story = Story()
    created = a_message(story.created())
    reserved = a_message(story.reserved())

    async def told_too_late() -> None:
        async with transaction_on(history) as slow:
            histories = await store.load(slow, [created])
            await folded(history, [reserved])
            ROUTES[OrderCreated](histories, created)
            await store.save(slow, histories)

    with pytest.raises(psycopg.errors.UniqueViolation):
        await told_too_late()
    await folded(history, [created])
    async with transaction_on(history) as tx:
        found = await store.order(tx, story.order_id, story.user_id)
    assert found is not None
    assert {line.event for line in found.timeline} == {"created", "reserved"}


async def test_a_batch_waits_for_another_one_of_the_same_order(history: Database) -> None:
    story = Story()
    created, reserved, validated = told(story.created(), story.reserved(), story.validated())
    await folded(history, [created])
    async with transaction_on(history) as first:
        await fold_in(first, [reserved])
        second = asyncio.create_task(folded(history, [validated]))
        _, pending = await asyncio.wait([second], timeout=0.2)
        assert pending
    await second
    assert await history.row("SELECT status, rank, total_minor FROM orders") == ("pending", 3, 2_000)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_any_batches_in_any_order_leave_the_same_rows(history: Database, data: st.DataObject) -> None:
    messages = data.draw(tellings(orders=2))
    again = data.draw(retold(messages))
    sizes = data.draw(st.lists(st.integers(1, 6), min_size=len(again), max_size=len(again)))
    await empty(history)
    await folded(history, messages)
    together = await contents(history)
    await empty(history)
    await folded(history, *batches(again, sizes))
    assert await contents(history) == together


def batches(messages: Sequence[Message[Contract]], sizes: Sequence[int]) -> list[Sequence[Message[Contract]]]:
    found = []
    for size in sizes:
        found.append(messages[:size])
        messages = messages[size:]
    return [batch for batch in found if batch]


async def empty(history: Database) -> None:
    await history.rows("TRUNCATE orders, order_timeline")


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE orders SET status = 'cancelled'",
        "UPDATE orders SET rank = 8, status = 'pending'",
        "UPDATE orders SET total_minor = -1",
        "UPDATE orders SET total_minor = NULL",
        "UPDATE orders SET currency = 'euro'",
        "UPDATE orders SET reason_code = 'why'",
        "UPDATE orders SET lines = '{}'",
        "UPDATE order_timeline SET event = 'shipped' WHERE event = 'paid'",
    ],
)
async def test_the_database_refuses_what_no_order_can_be(history: Database, damage: str) -> None:
    await folded(history, Story().completes())
    with pytest.raises(psycopg.errors.CheckViolation):
        await history.rows(damage)


@pytest.mark.parametrize(
    "query",
    [
        "EXPLAIN SELECT * FROM orders WHERE user_id = %s ORDER BY created_at DESC, order_id DESC",
        "EXPLAIN SELECT * FROM orders WHERE user_id = %s ORDER BY coalesce(total_minor, 0) DESC, order_id DESC",
    ],
)
async def test_both_sorts_are_read_from_the_owners_index(history: Database, query: str) -> None:
    story = Story()
    await folded(history, story.completes())
    async with await psycopg.AsyncConnection.connect(history.admin_dsn) as session:
        await session.execute("SET LOCAL enable_seqscan = off")
        await session.execute("SET LOCAL enable_sort = off")
        plan = await (await session.execute(query.encode(), [story.user_id])).fetchall()
    assert any("Index Scan Backward using ix_orders_user_id" in line for (line,) in plan), plan
    assert not any("Sort" in line for (line,) in plan), plan


async def test_unknown_orders_have_no_status(history: Database) -> None:
    async with transaction_on(history) as tx:
        assert await store.statuses(tx, [an_order_id()]) == {}
        assert await store.newest_arrivals(tx, [OrderId(an_order_id())]) == {}
