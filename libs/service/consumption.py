"""Reads a service's topics and hands batches to its batch transaction, for as long as it runs."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Final, Generic, Protocol, TypeVar

import psycopg
import structlog
from psycopg import AsyncConnection

from libs.contracts.values import MessageId
from libs.crash_points import reach
from libs.messaging.codec import message_id_of
from libs.messaging.consumer import Bounds
from libs.messaging.errors import MessagingError
from libs.messaging.record import Record, TopicPartition
from libs.outbox import mailbox
from libs.outbox.connection import hung_up, transaction
from libs.outbox.errors import Fenced, OffsetAlarm
from libs.outbox.mailbox import Move
from libs.outbox.transaction import Row, Transaction
from libs.service.batch import Batch, Outcome
from libs.service.errors import SystemFault
from libs.service.pace import Pace

State = TypeVar("State")

EXPECTED: Final = (psycopg.Error, SystemFault, Fenced, OffsetAlarm, MessagingError, OSError)
"""Faults that a line says enough of; any other comes with its traceback."""
POLL_MS: Final = 500
SINCE_MS: Final = 5
"""How long a reader that has rested waits for what came meanwhile: a fetch of what is there takes 1 or 2."""
IDLE_WRITE_SECONDS: Final = 1.0
HINT_SECONDS: Final = 5.0
TOLD_AFTER_SECONDS: Final = 0.001
"""Within this time the relay brings a batch's messages to the socket: the log line about it can wait."""
FIRST_BACK_OFF_SECONDS: Final = 0.1
MAX_BACK_OFF_SECONDS: Final = 5.0
ALARM_CHECK_SECONDS: Final = 5.0
SILENT_SECONDS: Final = 20.0
"""A client that has had no answer for so long is thrown away: aiokafka may never recover by itself."""


class Reader(Protocol):
    """The member of a consumer group that records come from (libs.messaging.consumer)."""

    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    async def poll(self, max_records: int, timeout_ms: int) -> list[Record]: ...
    def seek(self, offsets: dict[TopicPartition, int]) -> None: ...
    async def bounds(self, places: Iterable[TopicPartition]) -> dict[TopicPartition, Bounds]: ...
    def seen_to_end(self, places: dict[TopicPartition, int]) -> dict[TopicPartition, float]: ...
    def unread(self, places: dict[TopicPartition, int]) -> dict[TopicPartition, int]: ...
    async def publish_offsets(self, offsets: dict[TopicPartition, int]) -> None: ...
    def silent_seconds(self) -> float: ...


class Consumption(Generic[State]):
    """One consumer of one service, on a connection of its own.

    The offsets that count are the database's. Every change of assignment raises `epoch`, and what
    was polled before it is thrown away and read again from the stored offsets.
    """

    def __init__(
        self,
        batch: Batch[State],
        *,
        reader: Callable[["Consumption[State]"], Reader],
        connect: Callable[[], Awaitable[AsyncConnection[Row]]],
        batch_size: int,
        done: Callable[[Outcome, float], None],
        room: Callable[[], Awaitable[int]] | None = None,
        pace_seconds: float = 0.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._batch = batch
        self._connect = connect
        self._batch_size = batch_size
        self._done = done
        self._room = room
        self._pace = Pace(pace_seconds)
        self._clock = clock
        self._new_reader = reader
        self._reader: Reader
        self._connection: AsyncConnection[Row] | None = None
        self._expected: dict[TopicPartition, int] = {}
        self._unwritten: dict[TopicPartition, Move] = {}
        """How far partitions were read beyond what is stored, while nothing in them was for this service."""
        self._to_check: dict[TopicPartition, MessageId] = {}
        self._alarms: dict[TopicPartition, str] = {}
        self._epoch = 0
        self._lost = False
        self._stopping = False
        self._busy = asyncio.Lock()
        self._database_ahead: float | None = None
        self._last_idle_write = 0.0
        self._last_write = float("-inf")
        self._last_hint = 0.0
        self._last_alarm_check = 0.0
        self._log = structlog.get_logger("consumer")
        self._fault: str | None = "not started"

    async def run(self) -> None:
        """Consume until cancelled; every fault is waited out, on new connections."""
        delay = FIRST_BACK_OFF_SECONDS
        while True:
            reader = self._reader = self._new_reader(self)
            try:
                await reader.start()
                while (silent := reader.silent_seconds()) < SILENT_SECONDS:
                    if await self._turn_or_recover(delay):
                        delay = FIRST_BACK_OFF_SECONDS
                    else:
                        delay = min(delay * 2, MAX_BACK_OFF_SECONDS)
                self._log.warning("consumer.silent", seconds=round(silent))
                self._fault = f"no broker has answered for {silent:.0f} s"
            except (MessagingError, OSError) as error:
                self._log.warning("consumer.start_failed", error=repr(error), retry_in_seconds=delay)
                self._fault = repr(error)
                await asyncio.sleep(delay)
                delay = min(delay * 2, MAX_BACK_OFF_SECONDS)
            finally:
                await self._leave(reader)

    async def stop(self, task: "asyncio.Task[None]") -> None:
        """End `run`, whose task is given, between two batches."""
        self._stopping = True
        async with self._busy:
            task.cancel()
        await asyncio.wait([task])

    @property
    def fault(self) -> str | None:
        """What keeps this consumer from its work; None while it is fit for it."""
        if self._fault is None and self._connection is not None and hung_up(self._connection):
            return "the database has hung up"
        return self._fault

    def lag(self) -> dict[TopicPartition, int]:
        """How many records of each partition wait to be handled; none of those that are not assigned."""
        return self._reader.unread(self._expected) if self._expected else {}

    async def _turn_or_recover(self, delay: float) -> bool:
        try:
            await self._turn()
        except Exception as error:  # noqa: BLE001 - whatever it is, what is in Kafka must be read
            self._fault = repr(error)
            expected = isinstance(error, EXPECTED)
            self._log.warning(
                "batch.failed", error=repr(error), exc_info=not expected, retry_in_seconds=delay
            )
            await self._recover()
            await asyncio.sleep(delay)
            return False
        self._fault = next(iter(self._alarms.values()), None)
        return True

    async def _leave(self, reader: Reader) -> None:
        reach("consumer.leaving")
        await reader.publish_offsets(dict(self._expected))
        await reader.stop()
        self._epoch += 1
        self._expected.clear()
        self._unwritten.clear()
        self._to_check.clear()
        self._alarms.clear()
        if self._connection is not None:
            await self._connection.close()

    async def _turn(self) -> None:
        limit = self._batch_size
        if self._room is not None:
            limit = min(limit, await self._room())
            if limit <= 0:
                return
        epoch = self._epoch
        records = await self._reader.poll(limit, POLL_MS)
        if self._pace.rested and 0 < len(records) < limit:
            # These were fetched when it began to rest; what has come since is fetched now that they are taken.
            records += await self._reader.poll(limit - len(records), SINCE_MS)
        async with self._busy:
            if self._lost:
                await self._locate(list(self._expected))
                return
            if epoch != self._epoch:
                self._reader.seek(self._positions())
                return
            began = asyncio.get_running_loop().time()
            records = self._wanted(records)
            if records:
                reach("consumer.polled")
                await self._handle(records)
            else:
                await self._idle()
            await self._check_alarms()
        await self._hint()
        if records:
            rest = self._pace.rest(len(records), began, asyncio.get_running_loop().time())
            if rest > 0:
                await asyncio.sleep(rest)

    def _wanted(self, records: Sequence[Record]) -> list[Record]:
        """Drop what is not to be handled: repeats, the record that only proves continuity, alarmed partitions."""
        wanted = []
        for record in records:
            place = record.place
            expected = self._expected.get(place)
            if expected is None or place in self._alarms:
                continue
            last = self._to_check.pop(place, None)
            if record.offset < expected:
                if last is not None and record.offset == expected - 1 and message_id_of(record) != last:
                    self._raise_alarm(
                        place, "the topic was made anew: another record lies before the stored offset"
                    )
                continue
            wanted.append(record)
        return wanted

    async def _handle(self, records: Sequence[Record]) -> None:
        await self._check_gaps(records)
        started = asyncio.get_running_loop().time()
        moves = self._moves(records)
        now = self._in_database_time(started) or datetime.fromtimestamp(self._clock(), UTC)
        lazily = started - self._last_write < IDLE_WRITE_SECONDS
        outcome = await self._batch.consume(self._transaction, records, moves, now, lazily=lazily)
        reach("consumer.handled")
        for move in moves:
            self._expected[move.place] = move.next_offset
        if outcome.written:
            self._last_write = started
            self._unwritten.clear()
        else:
            self._unwritten = {move.place: move for move in moves}
        seconds = asyncio.get_running_loop().time() - started
        asyncio.get_running_loop().call_later(TOLD_AFTER_SECONDS, self._done, outcome, seconds)

    def _moves(self, records: Sequence[Record]) -> list[Move]:
        """From what is stored to behind the records; partitions that were read on without writing come along."""
        last = {record.place: record for record in records}
        ends = self._reader.seen_to_end({place: r.offset + 1 for place, r in last.items()})
        moves = dict(self._unwritten)
        for place, record in last.items():
            left = moves.get(place)
            moves[place] = Move(
                place,
                self._expected[place] if left is None else left.expected,
                record.offset + 1,
                message_id_of(record),
                self._in_database_time(ends.get(place)),
            )
        return list(moves.values())

    async def _check_gaps(self, records: Sequence[Record]) -> None:
        """A gap is fine where the broker left one, and an alarm where retention ran past the stored offset."""
        first: dict[TopicPartition, Record] = {}
        for record in records:
            first.setdefault(record.place, record)
        ahead = [p for p, record in first.items() if record.offset > self._expected[p]]
        if not ahead:
            return
        for place, bounds in (await self._reader.bounds(ahead)).items():
            if bounds.start > self._expected[place]:
                self._raise_alarm(place, f"records from {self._expected[place]} to {bounds.start} are gone")
        if any(place in self._alarms for place in ahead):
            raise OffsetAlarm("; ".join(self._alarms.values()))

    async def _idle(self) -> None:
        """Once a second, note until when the partitions were read to their end."""
        now = asyncio.get_running_loop().time()
        if not self._expected or now - self._last_idle_write < IDLE_WRITE_SECONDS:
            return
        self._last_idle_write = now
        if self._unwritten:
            moves = list(self._unwritten.values())
            await self._batch.consume(
                self._transaction, [], moves, datetime.fromtimestamp(self._clock(), UTC)
            )
            self._unwritten.clear()
        seen = self._reader.seen_to_end(self._expected)
        at = {place: self._in_database_time(when) for place, when in seen.items()}
        known = {place: when for place, when in at.items() if when is not None}
        reach("idle.before_write")
        async with self._transaction() as tx:
            await tx.read_clock()
            await mailbox.catch_up(tx, self._expected, known)
        reach("idle.written")

    async def _check_alarms(self) -> None:
        """See whether somebody has settled an alarm."""
        now = asyncio.get_running_loop().time()
        if self._alarms and now - self._last_alarm_check >= ALARM_CHECK_SECONDS:
            self._last_alarm_check = now
            await self._locate(list(self._alarms))

    async def _hint(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._expected and now - self._last_hint >= HINT_SECONDS:
            self._last_hint = now
            reach("hint.before_publish")
            await self._reader.publish_offsets(dict(self._expected))
            reach("hint.published")

    def _in_database_time(self, seen_at: float | None) -> datetime | None:
        if seen_at is None or self._database_ahead is None:
            return None
        return datetime.fromtimestamp(seen_at + self._database_ahead, UTC)

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[Transaction]:
        if self._connection is None or self._connection.closed:
            self._connection = await self._connect()
        async with transaction(self._connection) as tx:
            yield tx
        # Read before now, so this is at most the difference: a caught-up time is never too late.
        # By the loop's clock: the machine's may be put right between the two, and would then claim to have read the future.
        self._database_ahead = tx.now.timestamp() - asyncio.get_running_loop().time()

    async def _recover(self) -> None:
        """Forget what is in hand and go on from the stored offsets."""
        if self._connection is not None:
            await self._connection.close()
            self._connection = None
        async with self._busy:
            try:
                await self._locate(list(self._expected))
            except (psycopg.Error, MessagingError, OSError) as error:
                self._lost = True
                self._log.warning("consumer.not_located", error=repr(error))

    async def revoked(self, places: Iterable[TopicPartition]) -> None:
        """Finish the batch in hand, then forget the partitions."""
        async with self._busy:
            self._epoch += 1
            for place in places:
                self._expected.pop(place, None)
                self._unwritten.pop(place, None)
                self._to_check.pop(place, None)
                self._alarms.pop(place, None)

    async def assigned(self, places: Iterable[TopicPartition]) -> None:
        """Find where the partitions were left; waits for the database, because nothing can be done without."""
        wanted = list(places)
        delay = FIRST_BACK_OFF_SECONDS
        async with self._busy:
            while True:
                try:
                    await self._locate(wanted)
                except (psycopg.Error, MessagingError, OSError) as error:
                    self._fault = repr(error)
                    self._log.warning("consumer.not_located", error=repr(error), retry_in_seconds=delay)
                    if self._stopping or (
                        isinstance(error, MessagingError) and self._reader.silent_seconds() >= SILENT_SECONDS
                    ):
                        return  # `run` ends, or has another client
                    await asyncio.sleep(delay)
                    delay = min(delay * 2, MAX_BACK_OFF_SECONDS)
                else:
                    break
        self._log.info("consumer.assigned", partitions=len(wanted))

    async def _locate(self, places: Sequence[TopicPartition]) -> None:
        """Read the stored offsets, hold them against the topics, seek."""
        self._epoch += 1
        if not places:
            return
        bounds = await self._reader.bounds(places)
        async with self._transaction() as tx:
            await tx.read_clock()
            stored = await mailbox.offsets(tx, places, {p: b.start for p, b in bounds.items()})
        reach("offsets.located")
        self._lost = False
        for place, left in stored.items():
            self._alarms.pop(place, None)
            self._to_check.pop(place, None)
            self._unwritten.pop(place, None)
            self._expected[place] = left.next_offset
            lies = bounds[place]
            if not lies.start <= left.next_offset <= lies.end:
                self._raise_alarm(
                    place, f"the stored offset {left.next_offset} is not within {lies.start} to {lies.end}"
                )
            elif left.last_message_id is not None and lies.start < left.next_offset:
                self._to_check[place] = left.last_message_id
        self._reader.seek({p: at for p, at in self._positions().items() if p in stored})

    def _positions(self) -> dict[TopicPartition, int]:
        """Where to read on: one record earlier where that one has yet to prove that the topic is the same."""
        return {
            place: offset - 1 if place in self._to_check else offset
            for place, offset in self._expected.items()
        }

    def _raise_alarm(self, place: TopicPartition, what: str) -> None:
        alarm = (
            f"{place.topic}/{place.partition}: {what}; settle it with"
            f" `python -m libs.service accept-offset <service> {place.topic} {place.partition} <offset>`"
        )
        self._alarms[place] = alarm
        self._log.error("consumer.offset_alarm", topic=place.topic, partition=place.partition, error=alarm)
