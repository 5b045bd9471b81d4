"""Accepts orders: idempotency key, intent and outbox row in one transaction, which concurrent requests share."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final, TypeAlias

import psycopg
from psycopg_pool import PoolTimeout

from gateway.domain.orders import message
from gateway.store import intents
from gateway.store.intents import Claim, Stored
from libs.contracts.values import OrderId, UserId
from libs.crash_points import reach
from libs.messaging.message import Outgoing
from libs.outbox.faults import blames_message
from libs.outbox.transaction import Transaction

CREATE_ORDER: Final = "POST /api/orders"
CONCURRENT_GROUPS: Final = 3
FIRST_BACK_OFF_SECONDS: Final = 0.02
MAX_BACK_OFF_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class Accepted:
    """The order is durable; `replayed` when an earlier request with the same key and body made it."""

    order_id: OrderId
    replayed: bool


@dataclass(frozen=True, slots=True)
class InUse:
    """The first request with this key is still being worked on."""


@dataclass(frozen=True, slots=True)
class Reused:
    """The key stands for a request with another body."""


@dataclass(frozen=True, slots=True)
class Unavailable:
    """Nothing is known: the database did not answer in time. The same key settles it later."""


Answer: TypeAlias = Accepted | InUse | Reused | Unavailable


_Outcome: TypeAlias = tuple[set[OrderId], dict[tuple[UserId, str], Stored]]
"""Which orders' keys were free, and what the others stand for."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How orders share transactions; times in seconds."""

    group_size: int = 64
    group_wait: float = 0.005
    queue: int = 4_000
    commit: float = 5.0
    keep_keys: int = 86_400
    look: float = 2.0


@dataclass(slots=True)
class Backlog:
    """How far the outbox is behind, as of `at` on the event loop's clock."""

    rows: int = 0
    age: float = 0.0
    at: float = float("-inf")


@dataclass(slots=True, eq=False)
class _Waiting:
    claim: Claim
    answer: "asyncio.Future[Answer]"


class Intake:
    """Commits orders in groups. One instance per process: it knows which keys are in flight.

    While a group is being committed the next one gathers; it goes when the one before is done, when
    it is full, or when its first order has waited `group_wait`. So a lone order waits for nobody.
    """

    def __init__(
        self,
        transaction: Callable[[], AbstractAsyncContextManager[Transaction]],
        put: Callable[[Transaction, Sequence[Outgoing]], Awaitable[None]],
        limits: Limits,
        *,
        count_backlog_to: int = 200_001,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._transaction = transaction
        self._put = put
        self._limits = limits
        self._count_backlog_to = count_backlog_to
        self._chance = chance
        self._in_flight: set[tuple[UserId, str]] = set()
        self._gathering: list[_Waiting] = []
        self._groups: set[asyncio.Task[None]] = set()
        self._timer: asyncio.Handle | None = None
        self.backlog = Backlog()
        self.answered: Counter[str] = Counter()
        self.committed = 0

    @property
    def waiting(self) -> int:
        """How many orders are not answered yet."""
        return len(self._in_flight)

    async def accept(self, claim: Claim) -> Answer:
        """Make the order durable, once for each key."""
        name = claim.user_id, claim.key
        answer: Answer
        if name in self._in_flight:
            answer = InUse()
        elif len(self._in_flight) >= self._limits.queue:
            answer = Unavailable()
        else:
            waiting = _Waiting(claim, asyncio.get_running_loop().create_future())
            self._in_flight.add(name)
            self._gathering.append(waiting)
            self._arrange()
            answer = await asyncio.shield(waiting.answer)
        self.answered[type(answer).__name__] += 1
        return answer

    async def measure_backlog(self) -> None:
        """Look how far the outbox is behind, unless that was done a moment ago."""
        if asyncio.get_running_loop().time() - self.backlog.at >= self._limits.look:
            async with self._transaction() as tx:
                await self._look_at_backlog(tx)

    def _arrange(self) -> None:
        """See to it that what is gathered gets its turn: now, or when its time is up."""
        loop = asyncio.get_running_loop()
        if len(self._gathering) >= self._limits.group_size:
            self._go()
        elif self._timer is None and self._groups:
            self._timer = loop.call_later(self._limits.group_wait, self._go)
        elif self._timer is None:
            self._timer = loop.call_soon(self._go)

    def _go(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._gathering and len(self._groups) < CONCURRENT_GROUPS:
            group = self._gathering[: self._limits.group_size]
            del self._gathering[: self._limits.group_size]
            task = asyncio.get_running_loop().create_task(self._commit_group(group))
            self._groups.add(task)
            task.add_done_callback(self._done)

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._groups.discard(task)
        if self._gathering:
            self._go()

    async def _commit_group(self, group: Sequence[_Waiting]) -> None:
        """Answer everybody in the group, whatever happens."""
        ordered = sorted(group, key=lambda one: (one.claim.user_id, one.claim.key))
        try:
            try:
                await self._settle(ordered)
            except psycopg.Error as error:
                if not blames_message(error):
                    raise
                for one in ordered:
                    await self._settle_alone(one)
        except (psycopg.Error, PoolTimeout, OSError):
            for one in ordered:
                _answer(one, Unavailable())
        except BaseException as error:
            for one in ordered:
                _fail(one, error)
            raise
        finally:
            self._in_flight.difference_update((one.claim.user_id, one.claim.key) for one in ordered)

    async def _settle_alone(self, one: _Waiting) -> None:
        try:
            await self._settle([one])
        except psycopg.Error as error:
            if not blames_message(error):
                raise
            _fail(one, error)

    async def _settle(self, ordered: Sequence[_Waiting]) -> None:
        won, stored = await self._persist([one.claim for one in ordered])
        self.committed += 1
        for one in ordered:
            _answer(one, _judge(one.claim, won, stored))

    async def _persist(self, claims: Sequence[Claim]) -> _Outcome:
        """Commit, and again after a system fault: a commit whose answer was lost is met as a known key."""
        give_up = asyncio.get_running_loop().time() + self._limits.commit
        delay = FIRST_BACK_OFF_SECONDS
        while True:
            try:
                return await self._commit(claims)
            except (psycopg.Error, PoolTimeout, OSError) as error:
                guilty = isinstance(error, psycopg.Error) and blames_message(error)
                if guilty or asyncio.get_running_loop().time() + delay > give_up:
                    raise
            await asyncio.sleep(delay * (0.5 + self._chance() / 2))  # spreads retries
            delay = min(delay * 2, MAX_BACK_OFF_SECONDS)

    async def _commit(self, claims: Sequence[Claim]) -> _Outcome:
        stored: dict[tuple[UserId, str], Stored] = {}
        async with self._transaction() as tx:
            won = await intents.claim(tx, CREATE_ORDER, claims, self._limits.keep_keys)
            fresh = [one for one in claims if one.order.order_id in won]
            reach("intake.claimed")
            if fresh:
                await intents.open_orders(tx, fresh)
                await self._put(tx, [message(one.order, one.message_id, one.trace) for one in fresh])
            if len(fresh) < len(claims):
                lost = [one for one in claims if one.order.order_id not in won]
                stored = await intents.known(tx, CREATE_ORDER, lost)
            if asyncio.get_running_loop().time() - self.backlog.at >= self._limits.look:
                await self._look_at_backlog(tx)
            reach("intake.written")
        reach("intake.committed")
        return won, stored

    async def _look_at_backlog(self, tx: Transaction) -> None:
        self.backlog.at = asyncio.get_running_loop().time()
        self.backlog.rows, self.backlog.age = await intents.backlog(tx, self._count_backlog_to)


def _judge(claim: Claim, won: set[OrderId], stored: dict[tuple[UserId, str], Stored]) -> Answer:
    if claim.order.order_id in won:
        return Accepted(claim.order.order_id, replayed=False)
    match stored.get((claim.user_id, claim.key)):
        case None:  # it was there a moment ago and has been forgotten since
            return Unavailable()
        case Stored(fingerprint, order_id) if fingerprint == claim.fingerprint:
            return Accepted(order_id, replayed=order_id != claim.order.order_id)
        case _:
            return Reused()


def _answer(one: _Waiting, answer: Answer) -> None:
    if not one.answer.done():
        one.answer.set_result(answer)


def _fail(one: _Waiting, error: BaseException) -> None:
    if not one.answer.done():
        one.answer.set_exception(error)
