"""Two sessions that do the service's work, one after the other or at the same time, and an onlooker."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from operator import itemgetter
from typing import Final, Literal, LiteralString, TypeAlias
from uuid import UUID

import psycopg
from psycopg.rows import TupleRow

from libs.contracts.message import Contract
from libs.contracts.payment import PaymentCompleted, PaymentFailed, PaymentRefunded
from libs.contracts.values import MessageId, OrderId, PaymentMethodId, UserId
from libs.messaging.message import Message, Outgoing
from libs.outbox.connection import connect, transaction
from libs.outbox.pipeline import Connection
from libs.outbox.transaction import Transaction
from libs.service.service import Answer
from payment import store
from payment.app import service
from payment.domain import ProviderAnswered
from payment.provider import Outcome
from tests.payment.store.passbook import Told
from tests.support.builders import a_message_id, euros
from tests.support.databases import Database
from tests.support.waiting import eventually

DECIDE: Final = {route.body: route.decide for route in service.routes}
WALLETS: Final = """
    SELECT user_id, balance_minor, (SELECT coalesce(sum(amount_minor), 0)::bigint FROM ledger_entries
                                    WHERE account = 'wallet:' || user_id)
    FROM wallets WHERE user_id = ANY(%s)
"""
BOOKED: Final = """
    SELECT order_id, account, sum(amount_minor)::bigint FROM ledger_entries WHERE order_id = ANY(%s)
    GROUP BY order_id, account HAVING sum(amount_minor) <> 0
"""
PAYMENTS: Final = "SELECT order_id, payment_id, status FROM payments WHERE order_id = ANY(%s)"
UNBALANCED: Final = """
    SELECT transaction_id FROM ledger_entries GROUP BY transaction_id HAVING sum(amount_minor) <> 0 OR count(*) <> 2
"""
WAITING: Final = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s AND wait_event_type = 'Lock'"

Place: TypeAlias = Literal["loaded", "saved"]
Pause: TypeAlias = Callable[[Place], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Deposit:
    """Money for a wallet, under a customer's key."""

    user_id: UserId
    key: str
    minor: int
    id: UUID


Batch: TypeAlias = Sequence[Message[object]]
Work: TypeAlias = Batch | Deposit
Done: TypeAlias = list[Told] | tuple[UUID, int, int]
"""Who was told what, in order of the commands' ids; of a deposit its id, its amount and the balance after it."""
Answered: TypeAlias = tuple[MessageId, Contract | Outgoing]


@dataclass(frozen=True, slots=True)
class Stored:
    """What is in the tables: wallets with what is booked on them, bookings by order and account, payments."""

    wallets: dict[UserId, tuple[int, int]]
    booked: dict[tuple[OrderId, str], int]
    payments: dict[OrderId, tuple[MessageId | None, str]]


class Counter:
    """Where a machine's work is done."""

    def __init__(
        self, one: Connection, two: Connection, onlooker: "psycopg.AsyncConnection[TupleRow]"
    ) -> None:
        self._one = one
        self._two = two
        self._onlooker = onlooker
        self._reasons: dict[tuple[UUID, str], str] = {}

    async def add_card(self, user_id: UserId, token: str) -> PaymentMethodId:
        """Give a customer a card."""
        async with self._begun(self._one) as tx:
            added = await store.add_card(tx, user_id, PaymentMethodId(a_message_id()), token, "Card")
        assert added is not None
        return added.id

    async def do(self, work: Work) -> Done:
        """Do it in a transaction of its own."""
        return await self._do(self._one, work)

    async def meet(self, first: Work, second: Work, place: Place) -> tuple[Done, Done]:
        """The second comes when the first has its rows, or has written all, and gets as far as it can."""
        there, go_on = asyncio.Event(), asyncio.Event()

        async def pause(reached: Place) -> None:
            if reached == place:
                there.set()
                await go_on.wait()

        async with asyncio.TaskGroup() as group:
            one = group.create_task(self._do(self._one, first, pause, tries=2))
            await there.wait()
            two = group.create_task(self._do(self._two, second, tries=2))
            await eventually(lambda: self._is_stuck(two), every=0.001, what="the second, done or waiting")
            go_on.set()
        return one.result(), two.result()

    async def hear_provider(self, orders: Iterable[OrderId]) -> list[Told]:
        """Claim all that is due, and feed back what a provider says to it that always answers."""
        async with self._begun(self._one) as tx:
            calls = await store.claim(tx, first=100, again=100, lease=timedelta(minutes=1))
        mine = frozenset(orders)  # others were left by an example that failed
        answers = [_answered(call) for call in calls if call.order_id in mine]
        async with self._begun(self._one) as tx:
            heard = await self._handle(tx, answers, _go_on)
        return self._told(heard)

    async def stored(self, users: list[UserId], orders: list[OrderId]) -> Stored:
        """What the tables hold of them."""
        return Stored(
            {user: (balance, booked) for user, balance, booked in await self._rows(WALLETS, users)},
            {(order_id, account): booked for order_id, account, booked in await self._rows(BOOKED, orders)},
            {order_id: (id_, status) for order_id, id_, status in await self._rows(PAYMENTS, orders)},
        )

    async def check_ledger(self) -> None:
        """Each transaction has two sides that cancel out, and so all of them do."""
        assert not await self._rows(UNBALANCED)

    @asynccontextmanager
    async def _begun(self, session: Connection) -> AsyncIterator[Transaction]:
        async with transaction(session) as tx:
            await tx.read_clock()
            yield tx

    async def _do(
        self, session: Connection, work: Work, pause: Pause | None = None, *, tries: int = 1
    ) -> Done:
        """Work that finds a payment made meanwhile is done again, as the host does it; no entry is ever there before."""
        while True:
            tries -= 1
            try:
                async with self._begun(session) as tx:
                    if isinstance(work, Deposit):
                        return await self._deposit(tx, work, pause or _go_on)
                    answers = await self._handle(tx, work, pause or _go_on)
                return self._told(answers)
            except psycopg.errors.UniqueViolation as error:
                if not tries or error.diag.table_name != "payments":
                    raise

    async def _deposit(self, tx: Transaction, work: Deposit, pause: Pause) -> tuple[UUID, int, int]:
        await tx.fetch("SELECT 1")
        await pause("loaded")
        made = await store.deposit(tx, work.user_id, work.key, euros(work.minor), work.id)
        await tx.fetch("SELECT 1")  # what was queued has been done
        await pause("saved")
        return made.id, made.amount.amount_minor, made.balance.amount_minor

    async def _handle(self, tx: Transaction, messages: Batch, pause: Pause) -> list[Answered]:
        books = await store.load(tx, messages)
        await pause("loaded")
        answers = [
            (message.id, answer)
            for message in messages
            for answer in _each(DECIDE[type(message.body)](books, message))
        ]
        await store.save(tx, books)
        await tx.fetch("SELECT 1")
        await pause("saved")
        return answers

    def _told(self, answers: Iterable[Answered]) -> list[Told]:
        """What was committed, for all to hear; a refusal that is repeated gives its first reason."""
        told: list[Told] = []
        for asked, answer in answers:
            body, to = answer, asked
            if isinstance(answer, Outgoing):
                assert answer.correlation is not None
                assert answer.correlation.causation_id is not None
                body, to = answer.body, answer.correlation.causation_id
            if isinstance(body, PaymentFailed):
                reason = self._reasons.setdefault((body.order_id, body.reason_code), body.reason)
                assert reason == body.reason
            told.append(_told(to, body))
        return by_asker(told)

    async def _is_stuck(self, task: "asyncio.Task[Done]") -> bool:
        """Whether the second session is at its end, or at a lock."""
        return task.done() or await self._rows(WAITING, self._two.info.backend_pid) == [(1,)]

    async def _rows(self, query: LiteralString, *parameters: object) -> list[TupleRow]:
        return await (await self._onlooker.execute(query, parameters)).fetchall()


@asynccontextmanager
async def counter(database: Database) -> AsyncIterator[Counter]:
    """A counter whose sessions wait for as long as a machine may stand still."""
    patient = {"idle_in_transaction_session_timeout": "0", "lock_timeout": "60s"}
    async with AsyncExitStack() as stack:
        one, two = [
            await stack.enter_async_context(await connect(database.runtime_dsn, name=name, **patient))
            for name in ("one", "two")
        ]
        onlooker = await psycopg.AsyncConnection.connect(database.admin_dsn, autocommit=True)
        yield Counter(one, two, await stack.enter_async_context(onlooker))


def by_asker(told: Iterable[Told]) -> list[Told]:
    """In order of the commands' ids: those who wait for one outcome hear of it in any order."""
    return sorted(told, key=itemgetter(0))


async def _go_on(_reached: Place) -> None:
    """Pause nowhere."""


def _told(to: MessageId, body: object) -> Told:
    match body:
        case PaymentCompleted(payment_id=payment_id, amount=amount):
            return (to, "completed", (payment_id, amount.amount_minor))
        case PaymentFailed(reason_code=code):
            return (to, "failed", code)
        case PaymentRefunded(amount=amount, was_captured=was_captured):
            return (to, "refunded", (amount.amount_minor, was_captured))
        case _:
            raise AssertionError(f"nobody asks for {body}")


def _each(answer: Answer) -> Sequence[Contract | Outgoing]:
    match answer:
        case None:
            return ()
        case Contract() | Outgoing():
            return (answer,)
        case _:
            return answer


def _answered(call: store.Call) -> Message[object]:
    charged: Literal["captured", "refused"] = "captured" if call.token == "tok_approved" else "refused"
    outcome = Outcome("refunded" if call.ask == "refund" else charged)
    body = ProviderAnswered(call.order_id, call.ask, call.claimed_until, outcome, 0.5)
    return Message(a_message_id(), call.order_id, body, call.claimed_until)
