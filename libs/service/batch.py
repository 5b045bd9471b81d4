"""The batch transaction: load, decide, save, once for many messages."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Generic, TypeVar

import psycopg

from libs.contracts.message import Contract
from libs.contracts.values import MessageId
from libs.crash_points import reach
from libs.messaging.codec import Codec, OutboxRow, message_id_of, rfc3339
from libs.messaging.errors import Undecodable
from libs.messaging.message import Message, Outgoing
from libs.messaging.record import Record
from libs.outbox import mailbox
from libs.outbox.dead_letters import letter
from libs.outbox.errors import Fenced, Undeliverable
from libs.outbox.faults import blames_message
from libs.outbox.mailbox import Death, Move, Outlet
from libs.outbox.transaction import Transaction
from libs.service.errors import DecideFailed, SystemFault
from libs.service.failures import Failures, described
from libs.service.letters import Letters, opened
from libs.service.runtime import Source
from libs.service.service import Answer, Service

State = TypeVar("State")


@dataclass(frozen=True, slots=True)
class Parking:
    """How often and how slowly a failed message is tried again before it is a dead letter."""

    attempts: int = 5
    first_delay: timedelta = timedelta(seconds=1)
    max_delay: timedelta = timedelta(minutes=1)

    def delay(self, attempt: int) -> timedelta:
        """How long to wait after so many failed attempts."""
        factor: int = 2 ** min(attempt - 1, 20)
        return min(self.first_delay * factor, self.max_delay)


@dataclass(slots=True)
class Outcome:
    """What became of a batch."""

    records: int = 0
    decided: int = 0
    duplicates: int = 0
    skipped: int = 0
    parked: int = 0
    dead: int = 0
    sent: int = 0
    orders: list[str] = field(default_factory=list)
    written: bool = True
    """False where there was nothing to do: the offsets are stored with a later batch's."""

    def add(self, other: "Outcome") -> None:
        """Count another batch's outcome in."""
        self.records += other.records
        self.decided += other.decided
        self.duplicates += other.duplicates
        self.skipped += other.skipped
        self.parked += other.parked
        self.dead += other.dead
        self.sent += other.sent
        self.orders += other.orders


class Batch(Generic[State]):
    """Runs messages of one service through its load, decide and save.

    `transactions` opens a transaction on the connection of whoever calls; `new_id` gives message
    ids. Nothing here knows where records come from: the consumer, the parked messages and the
    service's own workers all come through this.
    """

    def __init__(
        self,
        service: Service[State],
        codec: Codec,
        new_id: Callable[[], MessageId],
        *,
        prefix: str = "",
        parking: Parking = Parking(),
        committed: Callable[[State], None] = lambda _: None,
        outlet: Outlet = lambda _: None,
    ) -> None:
        self._service = service
        self._codec = codec
        self._new_id = new_id
        self._prefix = prefix
        self._parking = parking
        self._committed = committed
        self._outlet = outlet
        self._routes = {route.body: route.decide for route in service.routes}
        self._handled = {body.wire: body for body in self._routes if issubclass(body, Contract)}
        self._failures = Failures()

    async def consume(
        self,
        transactions: Callable[[], AbstractAsyncContextManager[Transaction]],
        records: Sequence[Record],
        moves: Sequence[Move],
        now: datetime,
        *,
        lazily: bool = False,
    ) -> Outcome:
        """Handle records and move the offsets, exactly once.

        `now` judges only whether a message id lies too far ahead. `lazily` leaves the offsets where they are
        when no record was for this service. Raises Fenced when another
        process has moved an offset, SystemFault or psycopg.Error when nothing could be done; then
        nothing was, or, when the commit's answer was lost, nobody knows: read the offsets again.
        """
        letters = opened(records, self._codec, self._handled, now)
        if lazily and not (letters.messages or letters.poison):
            return Outcome(records=len(records), skipped=letters.skipped, written=False)
        failures: dict[MessageId, str] = {}
        reach("batch.opened")
        while True:
            try:
                async with transactions() as tx:
                    reach("batch.begun")
                    outcome, state = await self._attempt(tx, letters, moves, failures)
                    reach("batch.written")
                reach("batch.committed")
            except DecideFailed as failed:
                self._failures.note(failed.message, failed.cause, letters.messages, failures)
            except psycopg.Error as error:
                if not blames_message(error):
                    raise
                if len(records) > 1:
                    return await self._one_by_one(transactions, records, moves, now)
                if not letters.messages or letters.messages[0].id in failures:
                    raise SystemFault(f"{error!r} without a message to blame") from error
                self._failures.note(letters.messages[0], error, letters.messages, failures)
            else:
                if state is not None:
                    self._committed(state)
                return outcome
            reach("batch.again")

    async def feed(
        self,
        transactions: Callable[[], AbstractAsyncContextManager[Transaction]],
        source: Source,
    ) -> int:
        """Handle what the service tells itself; how many messages that were."""
        async with transactions() as tx:
            messages = await source(tx)
            if not messages:
                return 0
            reach("feed.claimed")
            state = await self._service.load(tx, messages)
            now = rfc3339(tx.now)
            outgoing = [row for m in messages for row in self._decide(now, state, m)]
            reach("feed.decided")
            await self._service.save(tx, state)
            await mailbox.put(tx, outgoing, self._outlet)
            reach("feed.saved")
        reach("feed.committed")
        self._committed(state)
        return len(messages)

    async def retry_parked(
        self, transactions: Callable[[], AbstractAsyncContextManager[Transaction]]
    ) -> Outcome | None:
        """Try the parked message that is due longest once more; None where none is due.

        It is removed in the transaction that handles it. After its last attempt it becomes a dead
        letter, and the next one of its key goes on.
        """
        failure: tuple[int, str] | None = None
        while True:
            try:
                async with transactions() as tx:
                    outcome = await self._retry(tx, failure)
            except _RetryFailed as failed:
                failure = failed.row, failed.error
            else:
                if outcome is not None:
                    reach("parked.committed")
                return outcome

    async def _retry(self, tx: Transaction, failure: tuple[int, str] | None) -> Outcome | None:
        parked = await mailbox.oldest_due(tx)
        if parked is None:
            return None
        reach("parked.taken")
        if failure is not None and failure[0] == parked.row:
            return await self._retry_failed(tx, parked, failure[1])
        outcome = Outcome(records=1, orders=[parked.key])
        try:
            message = self._codec.decode(parked.record, tx.now, self._handled)
            if message is None:
                outcome.skipped = 1
            else:
                state = await self._service.load(tx, [message])
                rows = self._decide(rfc3339(tx.now), state, message)
                await self._service.save(tx, state)
                await mailbox.put(tx, rows, self._outlet)
                outcome.decided, outcome.sent = 1, len(rows)
            await mailbox.unpark(tx, parked)
            await tx.fetch("SELECT 1")
            reach("parked.handled")
        except SystemFault:
            raise
        except psycopg.Error as error:
            if not blames_message(error):
                raise
            raise _RetryFailed(parked.row, described(error)) from error
        except DecideFailed as error:
            raise _RetryFailed(parked.row, described(error.cause)) from error
        except (Undecodable, Undeliverable) as error:
            raise _RetryFailed(parked.row, str(error)) from error
        return outcome

    async def _retry_failed(self, tx: Transaction, parked: mailbox.Parked, error: str) -> Outcome:
        attempts = parked.attempts + 1
        if attempts < self._parking.attempts:
            await mailbox.postpone(tx, parked, error, self._parking.delay(attempts))
            reach("parked.postponed")
            return Outcome(records=1, parked=1, orders=[parked.key])
        death = Death(parked.record, parked.message_id, "handling_failed", error, attempts)
        await self._bury(tx, [death])
        await mailbox.unpark(tx, parked)
        reach("parked.given_up")
        return Outcome(records=1, dead=1, orders=[parked.key])

    async def _attempt(
        self,
        tx: Transaction,
        letters: Letters,
        moves: Sequence[Move],
        failures: Mapping[MessageId, str],
    ) -> tuple[Outcome, State | None]:
        outcome = Outcome(
            records=len(letters.records) + len(letters.poison) + letters.repeats + letters.skipped,
            duplicates=letters.repeats,
            skipped=letters.skipped,
        )
        state: State | None = None
        rows: list[OutboxRow] = []
        deaths = list(letters.poison)
        if messages := letters.messages:
            keys = [str(message.key) for message in messages]
            taken = await mailbox.take(tx, moves, [message.id for message in messages], set(keys))
            reach("inbox.admitted")
            state = await self._service.load(tx, messages)
            ((_, moved, fresh, held),) = await taken.rows()
            reach("batch.loaded")
            self._check_moved(moved, moves)
            fresh = letters.records if fresh is None else set(fresh)
            behind = set(held or ())
            outcome.duplicates += len(messages) - len(fresh)
            now = rfc3339(tx.now)
            for message, key in zip(messages, keys, strict=True):
                if message.id not in fresh:
                    continue
                outcome.orders.append(key)
                if key in behind or message.id in failures:
                    behind.add(key)
                    await self._park(tx, letters.records[message.id], message, failures.get(message.id))
                    outcome.parked += 1
                    continue
                try:
                    rows += self._decide(now, state, message)
                except Undeliverable as error:
                    record = letters.records[message.id]
                    deaths.append(Death(record, message.id, error.reason, error.detail, 1))
                    continue
                outcome.decided += 1
            reach("batch.decided")
            await self._service.save(tx, state)
            reach("batch.saved")
        else:
            advanced = await mailbox.advance(tx, moves)
            reach("offsets.advanced")
            ((_, moved),) = await advanced.rows()
            self._check_moved(moved, moves)
        await mailbox.put(tx, rows, self._outlet)
        await self._bury(tx, deaths)
        outcome.sent, outcome.dead = len(rows), len(deaths)
        return outcome, state

    @staticmethod
    def _check_moved(moved: int, moves: Sequence[Move]) -> None:
        if moved != len(moves):
            raise Fenced(f"{len(moves) - moved} of {len(moves)} offsets were moved by another process")

    def _decide(self, now: str, state: State, message: Message[object]) -> list[OutboxRow]:
        try:
            answer = self._routes[type(message.body)](state, message)
        except (Undeliverable, SystemFault):
            raise
        except Exception as error:
            raise DecideFailed(message, error) from error
        return self._encode(answer, message, now)

    def _encode(self, answer: Answer, message: Message[object], now: str) -> list[OutboxRow]:
        match answer:
            case None:
                return []
            case Contract() | Outgoing():
                answers: Sequence[Contract | Outgoing] = (answer,)
            case _:
                answers = answer
        rows = []
        for one in answers:
            outgoing = one if isinstance(one, Outgoing) else Outgoing(one)
            correlation = outgoing.correlation or message.answering()
            rows.append(self._codec.encode(outgoing, outgoing.id or self._new_id(), correlation, now))
        return rows

    async def _park(
        self, tx: Transaction, record: Record, message: Message[Contract], error: str | None
    ) -> None:
        delay = timedelta(0) if error is None else self._parking.delay(1)
        await mailbox.park(tx, record, message.id, str(message.key), error, delay)
        reach("message.parked")

    async def _bury(self, tx: Transaction, deaths: Sequence[Death]) -> None:
        if not deaths:
            return
        at = rfc3339(tx.now)
        for death in deaths:
            await mailbox.bury(tx, death)
        await mailbox.put(
            tx,
            [
                letter(d, self._new_id(), service=self._service.name, prefix=self._prefix, at=at)
                for d in deaths
            ],
            self._outlet,
        )
        reach("letters.buried")

    async def _one_by_one(
        self,
        transactions: Callable[[], AbstractAsyncContextManager[Transaction]],
        records: Sequence[Record],
        moves: Sequence[Move],
        now: datetime,
    ) -> Outcome:
        """Handle each record in a transaction of its own, so that the guilty one is found."""
        outcome = Outcome()
        position = {move.place: move.expected for move in moves}
        caught_up = {move.place: move for move in moves}
        for record in records:
            step = Move(record.place, position[record.place], record.offset + 1, message_id_of(record))
            outcome.add(await self.consume(transactions, [record], [step], now))
            position[record.place] = step.next_offset
            reach("batch.divided")
        rest = [
            Move(place, position[place], move.next_offset, move.last_message_id, move.caught_up_at)
            for place, move in caught_up.items()
            if position[place] != move.next_offset or move.caught_up_at is not None
        ]
        if rest:
            await self.consume(transactions, [], rest, now)
        return outcome


class _RetryFailed(Exception):  # noqa: N818
    """A parked message failed again; the transaction that tried is rolled back."""

    def __init__(self, row: int, error: str) -> None:
        super().__init__(error)
        self.row = row
        self.error = error
