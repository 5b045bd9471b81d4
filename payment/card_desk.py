"""Works off what is due at the card provider: claims it, asks outside any transaction, feeds the answers back."""

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, assert_never

import psycopg
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from libs.crash_points import reach
from libs.messaging.message import Message
from libs.outbox.transaction import Transaction
from libs.service.runtime import Runtime
from payment import settings, store
from payment.domain import Books, ProviderAnswered
from payment.provider import CardProvider, Outcome

LEASE_MARGIN: Final = timedelta(seconds=10)
"""How much longer than a call its claim holds: the time to feed the answer back."""
LOOK_AROUND_SECONDS: Final = 2.0
"""Wake-ups come in process; what another process left behind is found by looking."""
SOON_SECONDS: Final = 0.25
FIRST_BACK_OFF_SECONDS: Final = 0.1
MAX_BACK_OFF_SECONDS: Final = 2.0
HAND_BACK_SECONDS: Final = 2.0

Connect = Callable[[Runtime], AbstractAsyncContextManager[CardProvider]]


class Meters:
    """The desk's own figures."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.calls = Counter(
            "card_calls", "Calls of the card provider", ["ask", "verdict"], registry=registry
        )
        self.seconds = Histogram(
            "card_call_seconds", "Seconds that a call of the provider took", ["ask"], registry=registry
        )
        self.under_way = Gauge("card_calls_under_way", "Calls without an answer yet", registry=registry)
        self.parked = Gauge(
            "payment_attempts_parked", "Card payments that need a human's eye", registry=registry
        )


class CardDesk:
    """The worker; several processes may have one each, as what is due is claimed by one at a time."""

    def __init__(
        self,
        connect: Connect,
        clock: Callable[[], float] = lambda: asyncio.get_running_loop().time(),
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._connect = connect
        self._clock = clock
        self._chance = chance
        self._work = asyncio.Event()
        self._meters: Meters | None = None

    def note(self, _runtime: Runtime, books: Books) -> None:
        """Go to work when a committed batch left something for the provider."""
        if books.has_due_attempts():
            self._work.set()

    async def run(self, runtime: Runtime) -> None:
        """Work until cancelled; what is then under way is handed back for others to ask about."""
        self._meters = self._meters or Meters(runtime.metrics)
        async with self._connect(runtime) as provider:
            shift = _Shift(runtime, provider, self._meters, self._work, self._clock, self._chance)
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(shift.feed_answers())
                    group.create_task(shift.claim_calls(group))
            finally:
                await shift.hand_back()


@dataclass(frozen=True, slots=True)
class _Lane:
    """A share of the calls at once, so that what is asked again and again leaves room for what is new."""

    limit: int
    calls: set[store.Call]

    @property
    def free(self) -> int:
        return self.limit - len(self.calls)


class _Shift:
    """One run of the desk."""

    def __init__(
        self,
        runtime: Runtime,
        provider: CardProvider,
        meters: Meters,
        work: asyncio.Event,
        clock: Callable[[], float],
        chance: Callable[[], float],
    ) -> None:
        given = settings.of(runtime)
        self._runtime = runtime
        self._provider = provider
        self._meters = meters
        self._work = work
        self._clock = clock
        self._chance = chance
        self._timeout = given.card_timeout_seconds
        self._again = _Lane(given.card_calls // 2, set())
        self._first = _Lane(given.card_calls - self._again.limit, set())
        self._answers: list[ProviderAnswered] = []
        self._answered = asyncio.Event()
        self._parked = 0
        self._away = False
        self._returns = 0

    async def claim_calls(self, group: asyncio.TaskGroup) -> None:
        """Claim what is due and start calling, as long as there is room; then wait for a reason to look again."""
        delay = FIRST_BACK_OFF_SECONDS
        while True:
            self._work.clear()  # before looking: what is committed from now on sets it again
            try:
                wait = await self._claim(group)
                delay = FIRST_BACK_OFF_SECONDS
            except psycopg.Error as error:
                self._runtime.log.warning("cards.not_claimed", error=repr(error), retry_in_seconds=delay)
                wait, delay = delay, min(delay * 2, MAX_BACK_OFF_SECONDS)
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._work.wait()

    async def _claim(self, group: asyncio.TaskGroup) -> float:
        """Start what can be started; gives the seconds after which there may be more."""
        before = self._clock()
        returns = self._returns
        lease = timedelta(seconds=self._timeout) + LEASE_MARGIN
        async with self._runtime.database.transaction() as tx:
            if returns:
                await store.wake_unreached(tx)
            calls = await store.claim(tx, first=self._first.free, again=self._again.free, lease=lease)
            outlook = await store.outlook(tx)
        if calls:
            reach("cards.claimed")
        self._returns -= returns
        self._report_parked(outlook.parked)
        send_until = before + LEASE_MARGIN.total_seconds() / 2
        for call in calls:
            lane = self._first if call.first else self._again
            lane.calls.add(call)
            group.create_task(self._call(call, lane, send_until))
        if outlook.due_in is None:
            return LOOK_AROUND_SECONDS
        return min(max(outlook.due_in, SOON_SECONDS), LOOK_AROUND_SECONDS)

    def _report_parked(self, parked: int) -> None:
        self._meters.parked.set(parked)
        if parked > self._parked:
            self._runtime.log.error("cards.parked", count=parked)
        self._parked = parked

    async def _call(self, call: store.Call, lane: _Lane, send_until: float) -> None:
        started = self._clock()
        outcome = Outcome("unknown", reason="the service stopped")
        try:
            # A process that was paused since it claimed must not send: others may have gone on meanwhile.
            if started > send_until:
                outcome = Outcome("unknown", reason="not sent: the claim was made too long ago")
            else:
                reach("cards.before_call")
                with self._meters.under_way.track_inprogress():
                    outcome = await self._ask(call)
                reach("cards.called")
        except Exception as error:
            self._runtime.log.exception("cards.call_failed", order_id=str(call.order_id))
            outcome = Outcome("unknown", reason=repr(error))
        finally:
            if lane.free <= 0:
                self._work.set()  # there is room again
            lane.calls.discard(call)
            self._note(call, outcome, self._clock() - started)

    async def _ask(self, call: store.Call) -> Outcome:
        match call.ask:
            case "charge":
                if call.token is None:
                    raise ValueError("a charge needs a token")
                return await self._provider.charge(call.order_id, call.amount, call.token)
            case "query":
                return await self._provider.query(call.order_id)
            case "void":
                return await self._provider.void(call.order_id)
            case "refund":
                return await self._provider.refund(call.order_id)
            case other:
                assert_never(other)

    def _note(self, call: store.Call, outcome: Outcome, seconds: float) -> None:
        self._meters.calls.labels(call.ask, outcome.verdict).inc()
        self._meters.seconds.labels(call.ask).observe(seconds)
        log = (
            self._runtime.log.warning if outcome.verdict in {"unknown", "denied"} else self._runtime.log.info
        )
        log(
            "cards.answered",
            order_id=str(call.order_id),
            ask=call.ask,
            verdict=outcome.verdict,
            reason=outcome.reason,
            milliseconds=round(seconds * 1_000, 1),
        )
        self._answers.append(
            ProviderAnswered(call.order_id, call.ask, call.claimed_until, outcome, self._chance())
        )
        self._answered.set()
        self._watch(outcome)

    def _watch(self, outcome: Outcome) -> None:
        """Notice when the provider is back: what waits for that need not wait any longer."""
        if not outcome.reached:
            self._away = True
        elif self._away and outcome.verdict != "unknown":
            self._away = False
            self._returns += 1
            self._work.set()

    async def feed_answers(self) -> None:
        """Take all answers that are there through load, decide and save, in one transaction."""
        delay = FIRST_BACK_OFF_SECONDS
        while True:
            await self._answered.wait()
            self._answered.clear()
            try:
                await self._feed_all()
                delay = FIRST_BACK_OFF_SECONDS
            except psycopg.Error as error:
                self._runtime.log.warning("cards.not_fed", error=repr(error), retry_in_seconds=delay)
                await asyncio.sleep(delay)
                delay = min(delay * 2, MAX_BACK_OFF_SECONDS)
                self._answered.set()

    async def hand_back(self) -> None:
        """Feed what is left when the shift ends; what cannot be fed comes up again when its claim runs out."""
        with suppress(TimeoutError, psycopg.Error):
            async with asyncio.timeout(HAND_BACK_SECONDS):
                await self._feed_all()

    async def _feed_all(self) -> None:
        answers = list(self._answers)
        if not answers:
            return
        try:
            await self._feed(answers)
        except psycopg.Error:
            raise
        except Exception as error:
            if len(answers) == 1:
                self._runtime.log.exception("cards.not_decided", order_id=str(answers[0].order_id))
            else:
                self._runtime.log.warning("cards.one_by_one", error=repr(error))
                await self._feed_one_by_one(answers)
        del self._answers[: len(answers)]

    async def _feed_one_by_one(self, answers: Sequence[ProviderAnswered]) -> None:
        for answer in answers:
            try:
                await self._feed([answer])
            except psycopg.Error:
                raise
            except Exception:
                self._runtime.log.exception("cards.not_decided", order_id=str(answer.order_id))

    async def _feed(self, answers: Sequence[ProviderAnswered]) -> None:
        async def source(tx: Transaction) -> Sequence[Message[object]]:
            await tx.fetch("SELECT 1")  # brings the clock along
            return [Message(self._runtime.new_id(), answer.order_id, answer, tx.now) for answer in answers]

        reach("cards.before_feed")
        await self._runtime.feed(source)
        reach("cards.fed")
