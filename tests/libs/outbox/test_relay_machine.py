"""Tries the relay on a real outbox, with a log that loses acknowledgements, whatever order commits and deaths come in."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from functools import partial

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from psycopg import AsyncConnection

from libs.contracts.inventory import InventoryReleased
from libs.contracts.values import OrderId
from libs.messaging.codec import Codec, OutboxRow
from libs.messaging.errors import BrokerUnavailable
from libs.messaging.message import UNCORRELATED, Outgoing
from libs.messaging.producer import Sent
from libs.messaging.record import Sendable, TopicPartition
from libs.outbox import mailbox
from libs.outbox.connection import connect, transaction
from libs.outbox.relay import Relay
from libs.outbox.transaction import Row
from tests.support.builders import a_message_id, an_order_id
from tests.support.databases import Database, Databases
from tests.support.machines import DatabaseMachine, run_machine

pytestmark = pytest.mark.integration

CODEC = Codec("inventory")
KEYS = 3
FATES = st.lists(st.sampled_from(["", "", "before", "after", "half", "a partition"]), max_size=4)


@pytest.fixture
async def database(run_databases: Databases) -> AsyncIterator[Database]:
    made = await run_databases.fresh("inventory")
    yield made
    await run_databases.drop(made)


class Log:
    """A broker's log, whose answers get lost as it is told: `half` takes some of the records, and says nothing."""

    def __init__(self) -> None:
        self.records: list[tuple[str, str]] = []
        self.fates: list[str] = []

    async def partitions(self, topic: str) -> int:
        return 2

    async def send(self, records: Sequence[Sendable]) -> Sent:
        fate = self.fates.pop(0) if self.fates else ""
        if fate == "before":
            raise BrokerUnavailable("nothing was sent")
        taken = list(records)
        failed: dict[TopicPartition, str] = {}
        if fate == "half":
            taken = taken[: len(taken) // 2]
        if fate == "a partition":
            place = TopicPartition(records[0].topic, records[0].partition)
            taken = [one for one in records if (one.topic, one.partition) != place]
            failed = {place: "has no leader"}
        self.records += [(one.key.decode(), dict(one.headers)["ce_id"].decode()) for one in taken]
        if fate in {"after", "half"}:
            raise BrokerUnavailable("nobody was told")
        delivered = {TopicPartition(one.topic, one.partition) for one in taken}
        return Sent([one.row for one in taken], delivered, failed)

    async def close(self) -> None:
        """Nothing to let go of."""


class Outbox(DatabaseMachine):
    """Writers that commit when they like, in any order, and a relay that dies and comes back."""

    def __init__(self) -> None:
        super().__init__()
        self.log = Log()
        self.keys = [an_order_id() for _ in range(KEYS)]
        self.committed: dict[str, list[str]] = {str(key): [] for key in self.keys}
        self.slow: AsyncConnection[Row] | None = None
        self.relay: Relay | None = None
        self.running: asyncio.Task[None] | None = None

    @rule(keys=st.lists(st.integers(0, KEYS - 1), min_size=1, max_size=6))
    def a_batch_is_committed(self, keys: list[int]) -> None:
        """By the relay's own process where it runs: what is committed is handed over."""
        self.wait_for(self._put([self.keys[number] for number in keys]))

    @precondition(lambda self: self.slow is None)
    @rule(count=st.integers(1, 3))
    def a_slow_writer_takes_ids(self, count: int) -> None:
        """For a key of its own: as ever, the writers of one key exclude each other."""
        key = an_order_id()
        self.keys.append(key)
        self.late = [_row(key) for _ in range(count)]
        self.wait_for(self._begin())

    @precondition(lambda self: self.slow is not None)
    @rule()
    def the_slow_writer_commits(self) -> None:
        assert self.slow is not None
        self.wait_for(self.slow.commit())
        self.wait_for(self.slow.close())
        self.slow = None
        key = self.late[0].key
        self.committed[key] = [str(row.message_id) for row in self.late]

    @rule(fates=FATES)
    def the_relay_works(self, fates: list[str]) -> None:
        self.log.fates = list(fates)
        self.wait_for(self._relay())

    @precondition(lambda self: self.running is not None)
    @rule()
    def the_relay_dies(self) -> None:
        self.wait_for(self._die())

    def teardown(self) -> None:
        """In the end everything is there, and of each key the first time of each is in the order of its commits."""
        if self.slow is not None:
            self.the_slow_writer_commits()
        self.wait_for(self._die())
        self.log.fates = []
        self.wait_for(self._finish())
        for key, ids in self.committed.items():
            arrived = dict.fromkeys(message for to, message in self.log.records if to == key)
            assert list(arrived) == ids
        assert self.wait_for(self.database.rows("SELECT id FROM outbox")) == []

    async def _put(self, keys: Sequence[OrderId]) -> None:
        rows = [_row(key) for key in keys]
        outlet = self.relay.offer if self.relay is not None else lambda _: None
        connection = await connect(self.database.runtime_dsn, name="writer")
        async with connection, transaction(connection) as tx:
            await mailbox.put(tx, rows, outlet)
        for row in rows:
            self.committed[row.key].append(str(row.message_id))

    async def _begin(self) -> None:
        self.slow = await connect(self.database.runtime_dsn, name="slow writer")
        for row in self.late:
            await self.slow.execute(
                "INSERT INTO outbox (message_id, topic, key, key_hash, type, headers, payload)"
                " VALUES (%s, %s, %s, %s, %s, %s::text::jsonb, %s)",
                [row.message_id, row.topic, row.key, row.key_hash, row.type, _headers(row), row.payload],
            )

    async def _relay(self) -> None:
        if self.running is None:
            self.relay = Relay(partial(connect, self.database.runtime_dsn, name="relay"), self.log, process=1)
            self.running = asyncio.create_task(self.relay.run())
        assert self.relay is not None
        await self.relay.flush(0.3)

    async def _die(self) -> None:
        """As a killed process does: whatever it had in hand is gone."""
        if self.running is not None:
            self.running.cancel()
            await asyncio.wait([self.running])
        self.relay = self.running = None

    async def _finish(self) -> None:
        await self._relay()
        assert self.relay is not None
        assert await self.relay.flush(20)
        await self._die()


def _row(key: OrderId) -> OutboxRow:
    outgoing = Outgoing(InventoryReleased(order_id=key))
    return CODEC.encode(outgoing, a_message_id(), UNCORRELATED, "2026-01-01T00:00:00.000000Z")


def _headers(row: OutboxRow) -> str:
    return json.dumps(row.headers)


async def test_everything_is_relayed_in_order(database: Database) -> None:
    await run_machine(Outbox, database, examples=4, steps=8)
