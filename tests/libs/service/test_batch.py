"""The batch transaction on a real database: exactly once, whatever is in the batch."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from libs.contracts.inventory import InventoryReserved, ReleaseInventory, ReserveInventory
from libs.contracts.message import Contract
from libs.contracts.product import ValidateProducts
from libs.contracts.values import MessageId, OrderId
from libs.messaging.codec import Codec
from libs.messaging.message import UNCORRELATED, Correlation
from libs.messaging.record import Record, TopicPartition
from libs.outbox.connection import connect, transaction
from libs.outbox.errors import Fenced
from libs.outbox.mailbox import Move
from libs.outbox.transaction import Transaction
from libs.service.batch import Batch, Outcome, Parking
from libs.service.errors import AlikeFailures
from libs.service.host import new_message_id
from tests.libs.service import tally
from tests.support.builders import a_correlation, a_message_id, a_record, an_order_id, some_lines
from tests.support.databases import Database

pytestmark = pytest.mark.integration

PLACE = TopicPartition("inventory-commands", 0)
AT_ONCE = Parking(attempts=3, first_delay=timedelta(0), max_delay=timedelta(0))

Transactions = Callable[[], AbstractAsyncContextManager[Transaction]]


@dataclass
class Bench:
    """A batch under test, its database, and the log that its records come from."""

    database: Database
    transactions: Transactions
    next_offset: int = 0
    records: list[Record] = field(default_factory=list)

    def batch(self, service: object = None) -> Batch[tally.Counts]:
        return Batch(service or tally.tally(), Codec("inventory"), new_message_id, parking=AT_ONCE)  # type: ignore[arg-type]

    def record(
        self, body: Contract, message_id: MessageId | None = None, correlation: Correlation = UNCORRELATED
    ) -> Record:
        raw = a_record(body, message_id=message_id, correlation=correlation)
        return self.raw(raw.key, raw.value, raw.headers)

    def raw(self, key: bytes | None, value: bytes | None, headers: Sequence[tuple[str, bytes]]) -> Record:
        record = Record(PLACE.topic, PLACE.partition, len(self.records), key, value, headers)
        self.records.append(record)
        return record

    async def consume(self, batch: Batch[tally.Counts], *records: Record) -> Outcome:
        move = Move(PLACE, self.next_offset, records[-1].offset + 1, None)
        outcome = await batch.consume(self.transactions, records, [move], datetime.now(UTC))
        self.next_offset = move.next_offset
        return outcome

    async def heard(self) -> dict[UUID, int]:
        return dict(await self.database.rows("SELECT order_id, heard FROM tally"))

    async def outbox(self) -> list[tuple[str, str]]:
        rows = await self.database.rows("SELECT type, key FROM outbox ORDER BY id")
        return [(row[0], row[1]) for row in rows]


@pytest.fixture
async def bench(database: Callable[[str], Awaitable[Database]]) -> AsyncIterator[Bench]:
    fresh = await database("inventory")
    await fresh.rows(tally.TABLE)
    await fresh.rows("GRANT ALL ON tally TO PUBLIC")
    await fresh.rows(
        "INSERT INTO consumer_offsets (topic, partition, next_offset) VALUES ('inventory-commands', 0, 0)"
    )
    connection = await connect(fresh.runtime_dsn, name="test")

    @asynccontextmanager
    async def transactions() -> AsyncIterator[Transaction]:
        async with transaction(connection) as tx:
            await tx.read_clock()
            yield tx

    try:
        yield Bench(fresh, transactions)
    finally:
        await connection.close()


def reserve(order_id: OrderId) -> ReserveInventory:
    return ReserveInventory(order_id=order_id, lines=some_lines(1))


async def test_a_message_is_decided_once_within_a_batch_and_across_batches(bench: Bench) -> None:
    batch, order_id, message_id = bench.batch(), an_order_id(), a_message_id()
    first = await bench.consume(batch, *(bench.record(reserve(order_id), message_id) for _ in range(2)))
    second = await bench.consume(batch, bench.record(reserve(order_id), message_id))
    assert (first.decided, first.duplicates, second.decided, second.duplicates) == (1, 1, 0, 1)
    assert await bench.heard() == {order_id: 1}
    assert await bench.outbox() == [(InventoryReserved.wire, str(order_id))]


async def test_offsets_may_wait_while_nothing_is_for_the_service(bench: Bench) -> None:
    batch = bench.batch()
    strange = bench.record(ValidateProducts(order_id=an_order_id(), lines=some_lines(1)))
    wanted = bench.record(reserve(an_order_id()))
    left = await batch.consume(
        bench.transactions, [strange], [Move(PLACE, 0, 1, None)], datetime.now(UTC), lazily=True
    )
    assert (left.written, left.skipped, left.records) == (False, 1, 1)
    assert await bench.database.row("SELECT next_offset FROM consumer_offsets") == (0,)
    done = await batch.consume(
        bench.transactions, [wanted], [Move(PLACE, 0, 2, None)], datetime.now(UTC), lazily=True
    )
    assert (done.written, done.decided) == (True, 1)
    assert await bench.database.row("SELECT next_offset FROM consumer_offsets") == (2,)


async def test_poison_is_buried_at_once_however_lazy_the_batch(bench: Bench) -> None:
    poison = bench.raw(b"key", b"{", [])
    outcome = await bench.batch().consume(
        bench.transactions, [poison], [Move(PLACE, 0, 1, None)], datetime.now(UTC), lazily=True
    )
    assert (outcome.written, outcome.dead) == (True, 1)
    assert await bench.database.row("SELECT next_offset FROM consumer_offsets") == (1,)


async def test_an_answer_echoes_the_saga_step_and_attempt_and_names_its_cause(bench: Bench) -> None:
    order_id, message_id = an_order_id(), a_message_id()
    await bench.consume(
        bench.batch(),
        bench.record(reserve(order_id), message_id, a_correlation(order_id, "reserve_inventory", 2)),
    )
    (headers,) = await bench.database.row("SELECT headers FROM outbox")
    assert headers["saga_id"] == str(order_id)
    assert (headers["step"], headers["attempt"]) == ("reserve_inventory", "2")
    assert headers["causation_id"] == str(message_id)
    assert headers["ce_source"] == "/inventory"


async def test_an_offset_that_another_process_moved_rolls_everything_back(bench: Bench) -> None:
    await bench.database.rows("UPDATE consumer_offsets SET next_offset = 7")
    with pytest.raises(Fenced):
        await bench.consume(bench.batch(), bench.record(reserve(an_order_id())))
    assert await bench.heard() == {}
    assert await bench.outbox() == []
    assert await bench.database.rows("SELECT 1 FROM inbox") == []


async def test_a_failing_message_parks_with_those_behind_it_and_others_go_on(bench: Bench) -> None:
    bad, good = an_order_id(), an_order_id()
    broken = True

    def decide(counts: tally.Counts, command: ReserveInventory) -> InventoryReserved | None:
        if command.order_id == bad and broken:
            raise KeyError("a bug")
        return tally.reserve(counts, command)

    batch = bench.batch(tally.tally(decide))
    outcome = await bench.consume(
        batch,
        bench.record(reserve(bad)),
        bench.record(reserve(good)),
        bench.record(ReleaseInventory(order_id=bad)),
    )
    assert (outcome.decided, outcome.parked) == (1, 2)
    later = await bench.consume(batch, bench.record(ReleaseInventory(order_id=bad)))
    assert (later.decided, later.parked) == (0, 1)
    assert await bench.heard() == {good: 1}
    broken = False
    retried = [await batch.retry_parked(bench.transactions) for _ in range(4)]
    assert [r and r.decided for r in retried] == [1, 1, 1, None]
    assert await bench.heard() == {good: 1, bad: 3}
    assert [wire for wire, key in await bench.outbox() if key == str(bad)] == [
        "inventory.InventoryReserved.v1",
        "inventory.InventoryReleased.v1",
        "inventory.InventoryReleased.v1",
    ]


async def test_the_last_attempt_makes_a_dead_letter_whole_and_lets_the_next_one_go_on(bench: Bench) -> None:
    order_id = an_order_id()

    def decide(_counts: tally.Counts, _command: ReserveInventory) -> None:
        raise KeyError("always")

    batch = bench.batch(tally.tally(decide))
    record = bench.record(reserve(order_id))
    await bench.consume(batch, record, bench.record(ReleaseInventory(order_id=order_id)))
    outcomes = [await batch.retry_parked(bench.transactions) for _ in range(4)]
    assert [(o.parked, o.dead, o.decided) for o in outcomes if o] == [(1, 0, 0), (0, 1, 0), (0, 0, 1)]
    topic, offset, payload, attempts, error = await bench.database.row(
        'SELECT topic, "offset", payload, attempts, error FROM dead_letters'
    )
    assert (topic, offset, payload, attempts) == (record.topic, record.offset, record.value, 3)
    assert "KeyError: 'always'" in error
    (headers,) = await bench.database.row("SELECT headers FROM outbox WHERE topic = 'inventory-dead-letters'")
    names = [name for name, _ in headers]
    assert [name for name, _ in record.headers] == names[: len(record.headers)]
    assert {"dlq_reason", "dlq_error", "dlq_topic", "dlq_partition", "dlq_offset"} <= set(names)
    assert await bench.database.rows("SELECT 1 FROM parked_messages") == []


async def test_data_that_the_database_refuses_makes_only_its_message_guilty(bench: Bench) -> None:
    often, other = an_order_id(), an_order_id()
    batch = bench.batch()
    outcome = await bench.consume(
        batch,
        *(bench.record(reserve(often)) for _ in range(4)),
        bench.record(reserve(other)),
    )
    assert (outcome.decided, outcome.parked) == (4, 1)
    assert await bench.heard() == {often: 3, other: 1}
    assert await bench.database.row("SELECT next_offset FROM consumer_offsets") == (5,)


async def test_five_orders_that_fail_alike_stop_consumption(bench: Bench) -> None:
    def decide(_counts: tally.Counts, _command: ReserveInventory) -> None:
        raise RuntimeError("the service is broken")

    batch = bench.batch(tally.tally(decide))
    with pytest.raises(AlikeFailures):
        await bench.consume(batch, *(bench.record(reserve(an_order_id())) for _ in range(6)))
    assert await bench.database.rows("SELECT 1 FROM parked_messages") == []
    assert await bench.database.row("SELECT next_offset FROM consumer_offsets") == (0,)


def poison(bench: Bench) -> dict[str, Record]:
    """One record for each reason for which a record cannot be read."""
    order_id = an_order_id()
    good = a_record(reserve(order_id))
    headers = dict(good.headers)

    def changed(**values: str | None) -> list[tuple[str, bytes]]:
        merged = headers | {name: value.encode() for name, value in values.items() if value is not None}
        return [(name, value) for name, value in merged.items() if values.get(name, "") is not None]

    ahead = UUID(
        int=(int((datetime.now(UTC) + timedelta(days=3)).timestamp() * 1000) << 80) | (7 << 76) | (2 << 62)
    )
    return {
        "not_json": bench.raw(good.key, b"{", good.headers),
        "no_value": bench.raw(good.key, None, changed(ce_id=str(a_message_id()))),
        "unknown_type": bench.raw(good.key, good.value, changed(ce_type="inventory.Nonsense.v1")),
        "unknown_version": bench.raw(good.key, good.value, changed(ce_type="inventory.ReserveInventory.v9")),
        "wrong_topic": bench.raw(good.key, b"{}", changed(ce_type="order.OrderCompleted.v1")),
        "no_type": bench.raw(good.key, good.value, changed(ce_type=None)),
        "no_id": bench.raw(good.key, good.value, changed(ce_id=None)),
        "id_v4": bench.raw(good.key, good.value, changed(ce_id=str(uuid4()))),
        "id_ahead": bench.raw(good.key, good.value, changed(ce_id=str(ahead))),
        "twice": bench.raw(good.key, good.value, [*good.headers, good.headers[1]]),
        "not_utf8": bench.raw(good.key, good.value, [*good.headers, ("step", b"\xff\x00")]),
        "wrong_key": bench.raw(b"another", good.value, changed(ce_id=str(a_message_id()))),
        "too_big": bench.raw(good.key, b'"' + b"x" * 900_001 + b'"', changed(ce_id=str(a_message_id()))),
        "wrong_shape": bench.raw(good.key, b'{"order_id": 5}', changed(ce_id=str(a_message_id()))),
    }


async def test_each_unreadable_record_is_one_dead_letter_and_the_partition_flows_on(bench: Bench) -> None:
    bad, order_id = poison(bench), an_order_id()
    batch = bench.batch()
    outcome = await bench.consume(batch, *bad.values(), bench.record(reserve(order_id)))
    expected = len(bad) - 1  # the tally has no route for OrderCompleted, which is a type of this platform
    assert (outcome.dead, outcome.skipped, outcome.decided) == (expected, 1, 1)
    letters = await bench.database.rows(
        'SELECT "offset", reason, payload FROM dead_letters ORDER BY "offset"'
    )
    assert {offset: payload for offset, _, payload in letters} == {
        r.offset: r.value for name, r in bad.items() if name != "wrong_topic"
    }
    reasons = {offset: reason for offset, reason, _ in letters}
    assert reasons[bad["unknown_version"].offset] == "unknown_type"
    assert reasons[bad["wrong_key"].offset] == "wrong_key"
    assert reasons[bad["too_big"].offset] == "too_big"
    published = [wire for wire, _ in await bench.outbox() if wire == "dead_letter"]
    assert len(published) == expected
    assert await bench.heard() == {order_id: 1}


async def test_a_failed_internal_message_changes_nothing(bench: Bench) -> None:
    order_id = an_order_id()

    def decide(counts: tally.Counts, command: ReserveInventory) -> None:
        tally.reserve(counts, command)
        raise KeyError("no")

    async def source(_tx: Transaction) -> list[object]:
        record = bench.record(reserve(order_id))
        message = Codec("inventory").decode(
            record, datetime.now(UTC), {ReserveInventory.wire: ReserveInventory}
        )
        assert message is not None
        return [message._replace(origin=None)]

    with pytest.raises(Exception, match="no"):
        await bench.batch(tally.tally(decide)).feed(bench.transactions, source)  # type: ignore[arg-type]
    assert await bench.heard() == {}
    assert await bench.batch().feed(bench.transactions, source) == 1  # type: ignore[arg-type]
    assert await bench.heard() == {order_id: 1}
