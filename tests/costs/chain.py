"""The services' batch transactions on real databases, one after another, without Kafka: batches of a known size."""

from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from libs.contracts.catalogue import CONTRACTS
from libs.contracts.order_saga import SagaCreateOrder
from libs.contracts.values import MessageId
from libs.messaging.codec import Codec, OutboxRow
from libs.messaging.record import Record, TopicPartition
from libs.outbox import mailbox, writers
from libs.outbox.connection import connect, transaction
from libs.outbox.mailbox import Move
from libs.outbox.pipeline import Connection
from libs.outbox.relay import DELETE, ONLY_LANE
from libs.outbox.transaction import Transaction
from libs.service.batch import Batch
from libs.service.command import load
from libs.service.host import new_message_id
from libs.service.service import Service
from tests.support.builders import a_record
from tests.support.databases import Database

CONSUMERS: Final = ("order_saga", "order", "product", "inventory", "payment", "order_history")

LSN: Final = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint"


@dataclass(frozen=True, slots=True)
class Cost:
    """What one batch of one service took; the WAL of its outbox rows' deletion is in it."""

    statements: int
    transactions: int
    wal_bytes: int


@dataclass
class Party:
    """One service, its database, and where it has read to."""

    service: Service[object]
    database: Database
    connection: Connection
    transactions: int = 0
    sent: list[tuple[int, OutboxRow]] = field(default_factory=list)
    offsets: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def __post_init__(self) -> None:
        self._batch = Batch(self.service, Codec(self.service.name), new_message_id, outlet=self._kept)

    def _kept(self, rows: Sequence[tuple[int, OutboxRow]] | None) -> None:
        assert rows, "somebody else writes to this outbox"
        self.sent.extend(rows)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """As a consumption opens it."""
        self.transactions += 1
        async with transaction(self.connection) as tx:
            yield tx

    async def prepare(self) -> None:
        """What a start does: the inbox's partitions and the first offsets."""
        places = [TopicPartition(topic, 0) for topic in self.service.topics]
        async with transaction(self.connection) as tx:
            await tx.read_clock()
            await tx.fetch("SELECT inbox_maintain()")
            await mailbox.offsets(tx, places, dict.fromkeys(places, 0))

    async def handle(self, topic: str, rows: Sequence[OutboxRow]) -> tuple[Cost, list[OutboxRow]]:
        """One batch, and what it sends."""
        start, now = self.offsets[topic], datetime.now(UTC)
        records = [
            Record(topic, 0, start + n, row.key.encode(), row.payload, row.kafka_headers())
            for n, row in enumerate(rows)
        ]
        self.offsets[topic] = start + len(records)
        move = Move(TopicPartition(topic, 0), start, start + len(records), rows[-1].message_id, now)
        written = await self._written()
        statements, transactions = self.connection.statements.sent, self.transactions
        outcome = await self._batch.consume(self.transaction, records, [move], now)
        assert outcome.decided + outcome.skipped == len(rows), f"{self.service.name}: {outcome}"
        statements = self.connection.statements.sent - statements
        sent, self.sent = self.sent, []
        if sent:
            await self.connection.ask(DELETE, [[number for number, _ in sent]])
        cost = Cost(statements, self.transactions - transactions, await self._written() - written)
        return cost, [row for _, row in sent]

    async def _written(self) -> int:
        (row,) = await (await self.connection.execute(LSN)).fetchall()
        return int(row[0])


class Chain:
    """All consumer services; what one sends, the next ones handle as one batch."""

    def __init__(self, parties: Mapping[str, Party]) -> None:
        self.parties = parties

    async def run(self, orders: Sequence[SagaCreateOrder]) -> dict[str, Cost]:
        """Take orders to their end; every batch's cost by service and by the types that were in it."""
        costs: dict[str, Cost] = {}
        waiting: dict[str, list[OutboxRow]] = {SagaCreateOrder.topic: [_sent(order) for order in orders]}
        while waiting:
            following: dict[str, list[OutboxRow]] = defaultdict(list)
            for topic, rows in sorted(waiting.items()):
                types = " and ".join(sorted({CONTRACTS[row.type].__name__ for row in rows}))
                for name, party in self.parties.items():
                    if topic in party.service.topics:
                        cost, sent = await party.handle(topic, rows)
                        assert costs.setdefault(f"{name}: {types}", cost) is cost, f"{name} had {types} twice"
                        for row in sent:
                            following[row.topic].append(row)
            waiting = following
        return costs


def _sent(order: SagaCreateOrder) -> OutboxRow:
    """A start as the gateway puts it into its outbox."""
    record = a_record(order)
    headers = {name: value.decode() for name, value in record.headers}
    return OutboxRow(
        MessageId(UUID(headers["ce_id"])),
        record.topic,
        str(order.order_id),
        0,
        order.wire,
        headers,
        record.value or b"",
    )


@asynccontextmanager
async def chain(database: Callable[[str], Awaitable[Database]]) -> AsyncIterator[Chain]:
    """All consumer services on fresh databases."""
    async with AsyncExitStack() as stack:
        parties: dict[str, Party] = {}
        for name in CONSUMERS:
            fresh = await database(name)
            connection = await connect(fresh.runtime_dsn, name="test")
            stack.push_async_callback(connection.close)
            relay = await connect(fresh.runtime_dsn, name="test")
            stack.push_async_callback(relay.close)
            assert await writers.alone(relay, ONLY_LANE, process=1)
            parties[name] = Party(load(name), fresh, connection)
            await parties[name].prepare()
        yield Chain(parties)
