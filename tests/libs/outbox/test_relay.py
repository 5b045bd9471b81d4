"""The relay on a real outbox and a real broker: everything, in order for each key, whatever fails."""

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

import pytest

from libs.contracts.inventory import InventoryReleased
from libs.contracts.values import OrderId
from libs.messaging.codec import Codec, OutboxRow
from libs.messaging.errors import BrokerUnavailable
from libs.messaging.message import UNCORRELATED, Outgoing
from libs.messaging.partitioning import key_hash
from libs.messaging.producer import RecordProducer, Sent
from libs.messaging.record import Sendable
from libs.outbox import mailbox, writers
from libs.outbox.connection import connect, transaction
from libs.outbox.mailbox import Outlet
from libs.outbox.pipeline import Connection
from libs.outbox.relay import Producer, Relay
from libs.outbox.transaction import Transaction
from libs.outbox.writers import Lane
from libs.service.host import new_message_id
from tests.support.builders import an_order_id
from tests.support.databases import Database
from tests.support.topics import Topics
from tests.support.waiting import eventually

pytestmark = pytest.mark.integration

TOPIC = "inventory-events"
ALL = Lane()
ONE, OTHER = 1, 2
"""Two processes that write to one outbox."""


END_RELAYS: Final = """
    SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
    WHERE application_name = 'relay' AND datname = current_database()
"""


class Outbox:
    """An outbox with somebody who writes to it."""

    def __init__(self, database: Database, prefix: str) -> None:
        self.database = database
        self._codec = Codec("inventory", prefix)

    async def put(self, *orders: OrderId, outlet: Outlet = lambda _: None) -> None:
        """One message for each order id, in one transaction."""
        connection = await connect(self.database.runtime_dsn, name="writer")
        async with connection:
            await self.put_on(connection, *orders, outlet=outlet)

    async def put_on(self, connection: Connection, *orders: OrderId, outlet: Outlet = lambda _: None) -> None:
        """The same on a connection that is there already."""
        async with transaction(connection) as tx:
            await mailbox.put(tx, [self.row(order_id) for order_id in orders], outlet)

    async def writer(self, process: int) -> Connection:
        """A connection of a process that writes."""
        connection = await connect(self.database.runtime_dsn, name="writer")
        await writers.enter(connection, process)
        return connection

    def row(self, order_id: OrderId) -> OutboxRow:
        outgoing = Outgoing(InventoryReleased(order_id=order_id))
        return self._codec.encode(outgoing, new_message_id(), UNCORRELATED, "2026-01-01T00:00:00.000000Z")

    async def ids(self) -> list[str]:
        """The message ids in the outbox, oldest first."""
        rows = await self.database.rows("SELECT message_id::text FROM outbox ORDER BY id")
        return [row[0] for row in rows]

    async def empty(self) -> bool:
        return await self.ids() == []


@pytest.fixture
async def outbox(database: Callable[[str], Awaitable[Database]], topics: Topics) -> Outbox:
    return Outbox(await database("inventory"), topics.prefix)


@asynccontextmanager
async def relaying(
    outbox: Outbox, producer: Producer, *, process: int = ONE, batch_size: int = 1_000, lane: Lane = ALL
) -> AsyncIterator[Relay]:
    """A relay that runs until the block ends."""
    relay = Relay(
        partial(connect, outbox.database.runtime_dsn, name="relay"),
        producer,
        process=process,
        batch_size=batch_size,
        lane=lane,
    )
    running = asyncio.create_task(relay.run())
    try:
        yield relay
    finally:
        running.cancel()
        await asyncio.wait([running])


def sender(topics: Topics) -> RecordProducer:
    return RecordProducer(topics.bootstrap_servers, "test", timeout_seconds=5)


class Flaky:
    """A real producer whose calls fail as a test says: before they reach the broker, or after it has answered."""

    def __init__(self, producer: RecordProducer, failures: Sequence[str]) -> None:
        self._producer = producer
        self._failures = list(failures)
        self.partitions = producer.partitions
        self.close = producer.close

    async def send(self, records: Sequence[Sendable]) -> Sent:
        failure = self._failures.pop(0) if self._failures else ""
        if failure == "before":
            raise BrokerUnavailable("nothing was sent")
        sent = await self._producer.send(records)
        if failure == "after":
            raise BrokerUnavailable("everything was sent, and nobody was told")
        return sent


async def test_everything_arrives_in_order_for_each_key_and_the_outbox_is_emptied(
    outbox: Outbox, topics: Topics
) -> None:
    orders = [an_order_id() for _ in range(5)]
    for _ in range(20):
        await outbox.put(*orders)
    expected = {
        str(o): [
            r[0]
            for r in await outbox.database.rows(
                "SELECT message_id::text FROM outbox WHERE key = %s ORDER BY id", str(o)
            )
        ]
        for o in orders
    }
    async with relaying(outbox, sender(topics), batch_size=7):
        await eventually(outbox.empty)
    records = await topics.read(TOPIC)
    assert len(records) == 100
    for order_id in orders:
        mine = [r for r in records if r.key == str(order_id).encode()]
        assert [r.header("ce_id") for r in mine] == expected[str(order_id)]
        assert {r.partition for r in mine} == {key_hash(str(order_id)) % 2}


@pytest.mark.parametrize("failure", ["before", "after"])
async def test_a_failed_send_is_sent_again_and_nothing_is_lost(
    outbox: Outbox, topics: Topics, failure: str
) -> None:
    order_id = an_order_id()
    await outbox.put(order_id, order_id, order_id)
    ids = await outbox.ids()
    async with relaying(outbox, Flaky(sender(topics), [failure])):
        await eventually(outbox.empty)
    arrived = [record.header("ce_id") for record in await topics.read(TOPIC)]
    assert arrived == (ids if failure == "before" else ids + ids)


async def test_a_row_that_commits_late_with_a_lower_id_is_sent_too(outbox: Outbox, topics: Topics) -> None:
    late = await connect(outbox.database.runtime_dsn, name="late writer")
    async with late, relaying(outbox, sender(topics)) as relay:
        async with transaction(late) as tx:
            await mailbox.put(tx, [outbox.row(an_order_id())], lambda _: None)
            await tx.fetch("SELECT 1")
            await outbox.put(an_order_id())
            relay.wake()
            await topics.expect(TOPIC, 1)
        relay.wake()
        await topics.expect(TOPIC, 2)
        await eventually(outbox.empty)


async def test_what_was_committed_and_handed_over_waits_for_no_collector(outbox: Outbox) -> None:
    async with await outbox.writer(ONE) as connection:
        gc.disable()
        try:
            before = _kept()
            await outbox.put_on(connection, an_order_id())
            assert _kept() == before
        finally:
            gc.enable()


def _kept() -> int:
    """How many transactions and rows of theirs there are."""
    return sum(isinstance(kept, Transaction | OutboxRow) for kept in gc.get_objects())


async def test_a_row_that_the_broker_refuses_holds_its_key_and_no_other(
    outbox: Outbox, topics: Topics
) -> None:
    stuck, free = an_order_id(), an_order_id()
    await outbox.put(stuck, stuck, free)
    await outbox.database.rows(
        "UPDATE outbox SET headers = jsonb_build_object('pad', repeat('x', 1200000))"
        " WHERE id = (SELECT min(id) FROM outbox)"
    )

    async def only_the_stuck_are_left() -> bool:
        rows = await outbox.database.rows("SELECT key FROM outbox")
        return rows == [(str(stuck),), (str(stuck),)]

    async with relaying(outbox, sender(topics)) as relay:
        await eventually(lambda: _has_refused(relay))
        await eventually(only_the_stuck_are_left)
    assert [record.key for record in await topics.read(TOPIC)] == [str(free).encode()]


async def test_one_relay_at_a_time_and_the_next_takes_over(outbox: Outbox, topics: Topics) -> None:
    async with relaying(outbox, sender(topics)) as first:
        await eventually(lambda: _owns(first))
        async with relaying(outbox, sender(topics)) as second:
            await outbox.put(an_order_id())
            await eventually(outbox.empty)
            assert (first.counters.sent, second.counters.owner) == (1, False)
    async with relaying(outbox, sender(topics)) as third:
        await outbox.put(an_order_id())
        await eventually(outbox.empty)
        assert third.counters.sent == 1


async def test_lanes_share_the_keys_and_each_key_keeps_its_order(outbox: Outbox, topics: Topics) -> None:
    orders = [an_order_id() for _ in range(10)]
    for _ in range(5):
        await outbox.put(*orders)
    ids = {row[0]: row[1] for row in await outbox.database.rows("SELECT message_id::text, id FROM outbox")}
    async with (
        relaying(outbox, sender(topics), lane=Lane(0, 2)) as even,
        relaying(outbox, sender(topics), lane=Lane(1, 2)) as odd,
    ):
        await eventually(outbox.empty)
        assert even.counters.sent + odd.counters.sent == 50
    records = await topics.read(TOPIC)
    for order_id in orders:
        sent = [ids[r.header("ce_id") or ""] for r in records if r.key == str(order_id).encode()]
        assert sent == sorted(sent)


async def test_what_is_handed_over_is_sent_without_looking_at_the_table(
    outbox: Outbox, topics: Topics
) -> None:
    order_id = an_order_id()
    async with relaying(outbox, sender(topics)) as relay:
        await eventually(lambda: _looked(relay))
        for _ in range(20):
            await outbox.put(order_id, outlet=relay.offer)
        await topics.expect(TOPIC, 20)
        await eventually(outbox.empty)
        assert relay.counters.sent == 20
        assert relay.counters.handed_over >= 10
    ids = [record.header("ce_id") or "" for record in await topics.read(TOPIC)]
    assert len(set(ids)) == 20
    assert ids == sorted(ids)


async def test_a_second_writer_is_let_in_and_then_the_table_alone_counts(
    outbox: Outbox, topics: Topics
) -> None:
    orders = [an_order_id() for _ in range(10)]
    async with relaying(outbox, sender(topics)) as relay, await outbox.writer(ONE) as own:
        await eventually(lambda: _hands_over(outbox, relay, own))
        async with asyncio.timeout(5):
            other = await outbox.writer(OTHER)
        async with other:
            await _take_turns(outbox, relay, own, other, orders)
    await _in_order(topics, orders)


async def test_who_writes_while_the_own_relay_is_gone_keeps_the_others_from_writing_alone(
    outbox: Outbox, topics: Topics
) -> None:
    orders = [an_order_id() for _ in range(10)]
    async with await outbox.writer(OTHER) as other:
        async with relaying(outbox, sender(topics), process=OTHER) as gone:
            await eventually(lambda: _hands_over(outbox, gone, other))
        async with relaying(outbox, sender(topics), process=ONE) as relay, await outbox.writer(ONE) as own:
            await eventually(lambda: _owns(relay))
            await _take_turns(outbox, relay, own, other, orders)
    await _in_order(topics, orders)


async def test_a_relay_that_comes_back_hands_over_though_its_own_process_went_on_writing(
    outbox: Outbox, topics: Topics
) -> None:
    async with await outbox.writer(ONE) as own:
        async with relaying(outbox, sender(topics)) as first:
            await eventually(lambda: _hands_over(outbox, first, own))
        async with relaying(outbox, sender(topics)) as second:
            await eventually(lambda: _hands_over(outbox, second, own))


async def test_nothing_is_handed_over_once_the_relays_session_has_ended(
    outbox: Outbox, topics: Topics
) -> None:
    orders = [an_order_id() for _ in range(10)]
    async with relaying(outbox, sender(topics)) as relay, await outbox.writer(ONE) as own:
        await eventually(lambda: _hands_over(outbox, relay, own))
        async with await connect(outbox.database.runtime_dsn, name="writer") as other:
            await own.execute(END_RELAYS)
            await writers.enter(other, OTHER)  # the relay itself has not noticed yet
            await _take_turns(outbox, relay, own, other, orders)
    await _in_order(topics, orders)


async def test_a_process_that_writes_alone_lets_its_own_connections_in_at_once(
    outbox: Outbox, topics: Topics
) -> None:
    async with relaying(outbox, sender(topics)) as relay, await outbox.writer(ONE) as own:
        await eventually(lambda: _hands_over(outbox, relay, own))
        async with await outbox.writer(ONE) as another:
            before = relay.counters.handed_over
            await outbox.put_on(another, an_order_id(), outlet=relay.offer)
            await eventually(outbox.empty)
            assert relay.counters.handed_over == before + 1


async def _take_turns(
    outbox: Outbox, relay: Relay, own: Connection, other: Connection, orders: Sequence[OrderId]
) -> None:
    """Two processes write, of each order first the one without the relay, which hears of the other one's rows only."""
    before = relay.counters.handed_over
    for order_id in orders:
        await outbox.put_on(other, order_id)
        await outbox.put_on(own, order_id, outlet=relay.offer)
    await eventually(outbox.empty)
    assert relay.counters.handed_over == before


async def _in_order(topics: Topics, orders: Sequence[OrderId]) -> None:
    records = await topics.read(TOPIC)
    for order_id in orders:
        ids = [r.header("ce_id") or "" for r in records if r.key == str(order_id).encode()]
        assert len(ids) == 2
        assert ids == sorted(ids)


async def _hands_over(outbox: Outbox, relay: Relay, own: Connection) -> bool:
    """Whether the relay sends what its process writes without looking at the table."""
    await outbox.put_on(own, an_order_id(), outlet=relay.offer)
    await eventually(outbox.empty)
    return relay.counters.handed_over > 0


async def _looked(relay: Relay) -> bool:
    return relay.counters.looks > 0


async def _has_refused(relay: Relay) -> bool:
    return relay.counters.refused == 1


async def _owns(relay: Relay) -> bool:
    return relay.counters.owner
