"""Tries the deadlines' claim on the real database: when a saga is due, who gets it, how many at a time."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from libs.messaging.codec import Codec
from libs.messaging.message import Message
from libs.outbox.connection import connect, transaction
from libs.outbox.transaction import Transaction
from libs.service.batch import Batch
from libs.service.host import Host, new_message_id
from order_saga import store
from order_saga.app import service
from order_saga.cancel_completed_order import cancel_completed_order
from order_saga.create_order import create_order
from order_saga.domain import Book, Desk, Due
from order_saga.timers import Watch, timers
from tests.order_saga.desks import BOOK, Office
from tests.support.databases import Database
from tests.support.store import a_transaction
from tests.support.waiting import eventually

pytestmark = pytest.mark.integration

TOPICS = BOOK.known.reply_topics
CAUGHT_UP = """
    INSERT INTO consumer_offsets (topic, partition, next_offset, caught_up_at)
    SELECT topic, 0, 1, clock_timestamp() + %s::interval FROM unnest(%s::text[]) AS topic
    ON CONFLICT (topic, partition) DO UPDATE SET caught_up_at = excluded.caught_up_at
"""
AHEAD = timedelta(seconds=-5)
"""A saga that was due this long ago."""


class Orchestrator:
    """A database with sagas in it that are due."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.batch: Batch[Desk] = Batch(service, Codec("order_saga"), new_message_id)

    async def caught_up(self, by: timedelta = timedelta(0), *topics: str) -> None:
        """The topics (all that answers come on) were read to their end, so long from now."""
        await self.database.rows(CAUGHT_UP, by, list(topics or TOPICS))

    async def has(self, *offices: Office, due: timedelta = AHEAD) -> None:
        """These sagas are stored, and their deadline is so long from now."""
        async with a_transaction(self.database.runtime_dsn) as tx:
            await tx.fetch("SELECT 1")
            for office in offices:
                office.desk.now = tx.now + due - create_order.steps["open_order"].within / 2
                office.starts()
                await store.save(tx, office.desk)

    async def claim(self, book: Book = BOOK, limit: int = 200) -> list[Message[object]]:
        """What would be fired now; the claim is given back."""
        async with a_transaction(self.database.runtime_dsn) as tx:
            return await store.claim_due(book, TOPICS, tx, limit=limit)

    async def fire(self) -> int:
        """Work off one batch of what is due, as the worker does."""

        async def due(tx: Transaction) -> Sequence[Message[object]]:
            return await store.claim_due(BOOK, TOPICS, tx)

        @asynccontextmanager
        async def transactions() -> AsyncIterator[Transaction]:
            async with a_transaction(self.database.runtime_dsn) as tx:
                yield tx

        return await self.batch.feed(transactions, due)


@pytest.fixture
async def orchestrator(database: Callable[[str], Awaitable[Database]]) -> Orchestrator:
    return Orchestrator(await database("order_saga"))


async def test_a_deadline_fires_when_every_reply_topic_was_read_up_to_it(orchestrator: Orchestrator) -> None:
    office = Office()
    await orchestrator.has(office)
    assert await orchestrator.claim() == [], "nothing was ever read"
    await orchestrator.caught_up(timedelta(0), *TOPICS[:-1])
    assert await orchestrator.claim() == [], "one topic was never read"
    await orchestrator.caught_up(timedelta(minutes=-1), TOPICS[-1])
    assert await orchestrator.claim() == [], "one topic was read to its end before the deadline only"
    await orchestrator.caught_up(timedelta(0), TOPICS[-1])
    [message] = await orchestrator.claim()
    assert isinstance(message.body, Due)
    assert message.body.saga_id == message.key == office.order.order_id
    assert message.body.timeout.step == "open_order"


async def test_a_deadline_to_come_does_not_fire_even_if_the_topics_are_read_ahead_of_it(
    orchestrator: Orchestrator,
) -> None:
    await orchestrator.has(Office(), due=timedelta(seconds=60))
    await orchestrator.caught_up(timedelta(hours=1))
    assert await orchestrator.claim() == []


async def test_another_partition_that_lags_holds_up_nobody(orchestrator: Orchestrator) -> None:
    await orchestrator.has(Office())
    await orchestrator.caught_up()
    await orchestrator.database.rows(
        "INSERT INTO consumer_offsets (topic, partition, next_offset) SELECT unnest(%s::text[]), 1, 1",
        list(TOPICS),
    )
    assert len(await orchestrator.claim()) == 1


async def test_two_processes_never_claim_the_same_saga(orchestrator: Orchestrator) -> None:
    await orchestrator.has(*(Office() for _ in range(6)))
    await orchestrator.caught_up()
    one = await connect(orchestrator.database.runtime_dsn, name="one")
    try:
        async with transaction(one):
            tx = Transaction(one)
            await tx.read_clock()
            first = await store.claim_due(BOOK, TOPICS, tx, limit=4)
            second = await asyncio.wait_for(orchestrator.claim(), timeout=5)
    finally:
        await one.close()
    assert (len(first), len(second)) == (4, 2)
    assert not {message.key for message in first} & {message.key for message in second}


async def test_sagas_of_versions_that_are_not_known_are_left_to_those_who_know_them(
    orchestrator: Orchestrator,
) -> None:
    known, newer = Office(), Office()
    await orchestrator.has(known, newer)
    await orchestrator.caught_up()
    await orchestrator.database.rows(
        "UPDATE sagas SET version = 2 WHERE id = %s RETURNING id", newer.order.order_id
    )
    assert [message.key for message in await orchestrator.claim()] == [known.order.order_id]
    assert await orchestrator.claim(Book.of(create_order, cancel_completed_order)) != []


async def test_what_is_due_is_fired_in_the_order_of_the_deadlines(orchestrator: Orchestrator) -> None:
    later, sooner = Office(), Office()
    await orchestrator.has(later, due=timedelta(seconds=-2))
    await orchestrator.has(sooner, due=timedelta(seconds=-20))
    await orchestrator.caught_up()
    assert [message.key for message in await orchestrator.claim()] == [
        sooner.order.order_id,
        later.order.order_id,
    ]


async def test_a_saga_that_cannot_take_its_timeout_keeps_no_other_from_its_own(
    orchestrator: Orchestrator,
) -> None:
    broken, sound = Office(), Office()
    await orchestrator.has(broken, due=timedelta(seconds=-9))
    await orchestrator.has(sound)
    await orchestrator.caught_up()
    await orchestrator.database.rows(
        "UPDATE sagas SET data = data #- '{data,payment_method_id}' WHERE id = %s RETURNING id",
        broken.order.order_id,
    )
    host = Host(service, service.settings(database_url=orchestrator.database.runtime_dsn))
    await host.runtime.database.open()
    worker = asyncio.create_task(timers(BOOK)(host.runtime))
    try:

        async def fired() -> bool:
            told = await orchestrator.database.rows("SELECT saga_id FROM saga_journal WHERE kind = 'resent'")
            return told == [(sound.order.order_id,)]

        await eventually(fired, what="the other saga's command sent again")
    finally:
        worker.cancel()
        await asyncio.wait([worker])
        await host.runtime.database.close()
        await host.runtime.http.aclose()
    assert worker.cancelled()


async def test_the_gap_in_which_nobody_read_reaches_the_sagas_of_its_partition(
    orchestrator: Orchestrator,
) -> None:
    await orchestrator.has(Office())
    await orchestrator.caught_up(timedelta(seconds=-30))
    async with a_transaction(orchestrator.database.runtime_dsn) as tx:
        read_until = await store.read_until(TOPICS, tx)
        gaps = Watch().look(tx.now, read_until)
        assert gaps[0].end - gaps[0].start >= timedelta(seconds=30)
    await orchestrator.caught_up()
    async with a_transaction(orchestrator.database.runtime_dsn) as tx:
        [message] = await store.claim_due(BOOK, TOPICS, tx, unwatched=gaps)
    assert isinstance(message.body, Due)
    assert message.body.timeout.unwatched == gaps[0]


async def test_ten_thousand_due_sagas_are_worked_off_in_batches(orchestrator: Orchestrator) -> None:
    offices = [Office() for _ in range(100)]
    await orchestrator.has(*offices)
    # A hundred times as many: the same sagas under other ids.
    await orchestrator.database.rows(
        """
        INSERT INTO sagas (id, type, version, business_key, partition, status, step, attempt, awaiting, data,
            deadline, revision, started_at, updated_at)
        SELECT copy, type, version, copy, partition, status, step, attempt, awaiting, data, deadline, revision,
            started_at, updated_at
        FROM (SELECT gen_random_uuid() AS copy, sagas.* FROM sagas, generate_series(1, 99)) AS copies
        """
    )
    (stored,) = await orchestrator.database.row("SELECT count(*) FROM sagas")
    assert stored == 10_000
    await orchestrator.caught_up()
    batches = []
    while fired := await orchestrator.fire():
        batches.append(fired)
    assert batches == [store.CLAIM] * 50
    (sent,) = await orchestrator.database.row("SELECT count(*) FROM outbox")
    (written,) = await orchestrator.database.row("SELECT count(*) FROM saga_journal WHERE kind = 'resent'")
    assert sent == written == 10_000
