"""One round: load, fault, heal, quiet, audit; and whether it bit."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any, Final
from uuid import UUID

import httpx

from tests.faults.auditor import Books, Given, Violation, audit, opened
from tests.faults.bounds import FEWEST, settled_of, slope
from tests.faults.harness.chance import chance
from tests.faults.harness.evidence import evidence
from tests.faults.harness.load import USUAL, Crowd, Load, Mix
from tests.faults.harness.stage import Stage
from tests.faults.harness.stalls import Stalls
from tests.faults.platform import databases_at, platform
from tests.faults.quiet import NotQuietError, quiet
from tests.support.cards import Cards
from tests.support.waiting import eventually

RECOVERY_SECONDS: Final = 30.0
AT_REST_SECONDS: Final = 0.5
"""An order at rest takes no longer where the machine is free; where it takes longer, so may a recovery."""
MOST_BUSY: Final = 4.0
PATIENCE_SECONDS: Final = 60.0
"""How long a round that recovers too late is still waited for, so that the next one begins at quiet."""
ORDERS_WITHIN: Final = 120.0
BITES_ACKNOWLEDGED: Final = 0.8
BITES_COMPLETED: Final = 0.5
BITES_COMPENSATED: Final = 0.1
ENDED: Final = "SELECT count(*) FROM orders WHERE order_id = ANY(%s) AND status IN ('completed', 'cancelled')"
ENDS: Final = """
    SELECT business_key, status, extract(epoch FROM finished_at)::float8 FROM sagas
    WHERE business_key = ANY(%s) AND type = 'create_order'
"""
OPEN: Final = """
    SELECT business_key, status, step, attempt FROM sagas
    WHERE deadline IS NOT NULL ORDER BY started_at LIMIT 8
"""
STATUSES: Final = "SELECT order_id, status FROM orders WHERE order_id = ANY(%s)"


@dataclass(frozen=True, slots=True)
class Event:
    """A line of the fault log; the time is in seconds since the epoch."""

    at: float
    what: str


class Skipped(Exception):  # noqa: N818 - what happened
    """This machine cannot have this fault; the message says why."""


@dataclass(slots=True)
class Trial:
    """What a fault has to work with while a round's load runs."""

    stage: Stage
    random: Random
    load: Load
    log: list[Event] = field(default_factory=list)
    healed_at: float | None = None
    poison: set[tuple[str, int, int]] = field(default_factory=set)
    failures: list[str] = field(default_factory=list)
    weights: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    unjudged: set[str] = field(default_factory=set)

    def weigh(self, what: str, size: float, *, judged: bool = True) -> None:
        """Write down how large something is now, in bytes; what is not judged may grow with the orders."""
        self.weights.setdefault(what, []).append((time.time(), size))
        if not judged:
            self.unjudged.add(what)

    def fail(self, what: str) -> None:
        """The fault did not take place as it should have: the round does not count."""
        self.failures.append(what)

    def note(self, what: str) -> None:
        """Write a line of the fault log."""
        self.log.append(Event(time.time(), what))

    async def under_load(self, orders: int = 40) -> None:
        """Return once so many more orders were accepted: the fault meets them in flight."""
        wanted = len(self.load.answers) + orders

        async def ask() -> bool:
            return len(self.load.answers) >= wanted

        await eventually(ask, within=ORDERS_WITHIN, what=f"{orders} more orders accepted")

    async def last(self, shortest: float, longest: float) -> float:
        """Let the fault last, for a time by chance; returns it, in seconds."""
        seconds = self.random.uniform(shortest, longest)
        await asyncio.sleep(seconds)
        return seconds


@dataclass(frozen=True, slots=True)
class Kind:
    """One way to hurt the platform.

    `hurt` breaks and may mend; afterwards everything that it left broken is mended by the round.
    """

    name: str
    what: str
    hurt: Callable[[Trial], Awaitable[None]]
    mix: Mix = USUAL
    hot: float = 0.0
    rate: float = 30.0
    orders: int = 200
    afterwards: float = 0.25
    """The share of the rate that goes on once there were so many orders, for as long as the fault lasts."""
    looks_back: timedelta = timedelta(0)
    """How far the audit looks back, for orders that a clock dated before the round."""


@dataclass(frozen=True, slots=True)
class Round:
    """What came of one."""

    kind: str
    seed: int
    what: str
    started: float
    ended: float
    placed: int
    acknowledged: int
    completed: int
    compensated: int
    at_rest_seconds: float | None
    recovery_seconds: float | None
    recovery_allowed: float | None
    stalled_seconds: float
    """For how long of the round the machine gave the harness nothing; no part of the recovery."""
    quiet_seconds: float | None
    fault_from: float | None
    fault_to: float | None
    log: tuple[Event, ...]
    violations: tuple[str, ...]
    shortcomings: tuple[str, ...]
    accepted_at: tuple[float, ...]
    finished_at: tuple[float, ...]
    answers: dict[str, int]
    lost: dict[str, int]
    weights: dict[str, tuple[float, float, float]] = field(default_factory=dict)
    """In bytes: first, last, and what would be added in an hour."""
    evidence: dict[str, Any] = field(default_factory=dict)
    skipped: str | None = None

    @property
    def passed(self) -> bool:
        """Whether it bit, and nothing was wrong."""
        return self.skipped is None and not self.violations and not self.shortcomings

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {**asdict(replace(self, evidence={})), "passed": self.passed}


@dataclass(frozen=True, slots=True)
class Finished:
    """How a saga ended, and when, in seconds since the epoch."""

    status: str
    at: float | None


class Arena:
    """Runs rounds on one stage."""

    def __init__(self, stage: Stage, crowd: Crowd, logs: Path) -> None:
        self._stage = stage
        self._crowd = crowd
        self._logs = logs
        self._stalls = Stalls()

    async def run(self, kind: Kind, seed: int) -> Round:
        """One round; the stage is left healed."""
        async with _beside(self._stalls.watch()) as watching:
            try:
                return await self._round(kind, seed)
            finally:
                watching.cancel()

    async def _round(self, kind: Kind, seed: int) -> Round:
        random = chance(seed, kind.name)
        started = time.time()
        before = await opened(self._stage.admin_dsn)
        load = Load(self._stage.gateway_url, self._crowd, random, kind.mix, kind.hot)
        trial = Trial(self._stage, chance(seed, kind.name, "fault"), load)
        at_rest = await load.one()
        lost_before = self._lost()
        shortcomings: list[str] = []
        skipped = await self._hurt(kind, trial)
        if skipped is not None:
            return _skipped(kind, seed, started, skipped)
        assert trial.healed_at is not None
        allowed = RECOVERY_SECONDS * min(max(1.0, at_rest / AT_REST_SECONDS), MOST_BUSY)
        recovery, quiet_seconds, late = await self._recovered(load, trial.healed_at, allowed)
        shortcomings += late
        violations = await self._audited(before, kind, load, trial)
        finished = await self._finished(load)
        wrong = [*violations, *shortcomings]
        shortcomings += [
            *trial.failures,
            *bite(len(load.placed), len(load.accepted), list(finished.values()), trial.log),
        ]
        return Round(
            kind=kind.name,
            seed=seed,
            what=kind.what,
            started=started,
            ended=time.time(),
            placed=len(load.placed),
            acknowledged=len(load.accepted),
            completed=sum(one.status == "completed" for one in finished.values()),
            compensated=sum(one.status == "compensated" for one in finished.values()),
            at_rest_seconds=at_rest,
            recovery_seconds=recovery,
            recovery_allowed=allowed,
            stalled_seconds=self._stalls.between(started, time.time()),
            quiet_seconds=quiet_seconds,
            fault_from=trial.log[0].at if trial.log else None,
            fault_to=trial.healed_at,
            log=tuple(trial.log),
            violations=tuple(violations),
            shortcomings=tuple(shortcomings),
            accepted_at=tuple(sorted(p.accepted for p in load.placed if p.accepted is not None)),
            finished_at=tuple(sorted(one.at for one in finished.values() if one.at is not None)),
            answers={str(status): count for status, count in sorted(load.statuses.items())},
            lost={name: count - lost_before.get(name, 0) for name, count in self._lost().items()},
            evidence=await evidence(self._stage, wrong),
            weights={
                name: (taken[0][1], taken[-1][1], slope(settled_of(taken) or taken) * 3_600)
                for name, taken in sorted(trial.weights.items())
                if len(taken) >= FEWEST
            },
        )

    async def _hurt(self, kind: Kind, trial: Trial) -> str | None:
        """Load and fault at the same time; the load goes on for a second after the healing. Returns why not."""

        def wanted() -> bool:
            return trial.healed_at is None or time.time() < trial.healed_at + 1

        running = trial.load.run(
            rate=kind.rate, at_least=kind.orders, afterwards=kind.afterwards, go_on=wanted
        )
        async with _beside(running) as load:
            try:
                await trial.under_load()
                await kind.hurt(trial)
            except Skipped as reason:
                load.cancel()
                return str(reason)
            finally:
                dead = await self._stage.heal()
                if dead:
                    trial.note(f"started again: {', '.join(dead)}")
                trial.healed_at = time.time()
            trial.note("healed")
        return None

    async def _recovered(
        self, load: Load, healed_at: float, allowed: float
    ) -> tuple[float | None, float | None, list[str]]:
        """How long after the healing every order had ended, and all was quiet."""
        late: list[str] = []
        took: dict[str, float | None] = {"ended": None, "quiet": None}
        try:
            late += await self._all_ended(load, healed_at, allowed)
            took["ended"] = ended = self._since(healed_at)
            left = max(1.0, allowed + PATIENCE_SECONDS - ended)
            await quiet(self._stage.admin_dsn, self._stage.bootstrap, within=left)
            took["quiet"] = self._since(healed_at)
        except (NotQuietError, TimeoutError) as error:
            late.append(f"did not come to rest: {error}")
        if took["ended"] is not None and took["ended"] > allowed:
            late.append(
                f"the last order ended {took['ended']:.0f} s after the healing, not within {allowed:.0f}"
            )
        return took["ended"], took["quiet"], late

    def _since(self, healed_at: float) -> float:
        """Seconds in which the machine could have done something."""
        now = time.time()
        return now - healed_at - self._stalls.between(healed_at, now)

    async def _all_ended(self, load: Load, healed_at: float, allowed: float) -> list[str]:
        """Return once every accepted order has ended: which sagas were still under way when all should have."""
        ids, late, looked = list(load.accepted), list[str](), False
        async with platform(databases_at(self._stage.admin_dsn)) as seen:
            while (ended := await seen.scalar("order_history", ENDED, [ids])) < len(ids):
                waited = self._since(healed_at)
                if waited > allowed + PATIENCE_SECONDS:
                    raise TimeoutError(f"{len(ids) - ended} of {len(ids)} orders have not ended")
                if not looked and waited > allowed:
                    looked = True
                    late = [
                        f"order {order} stood {status} at {step}, attempt {attempt}, {allowed:.0f} s on"
                        for order, status, step, attempt in await seen.rows("order_saga", OPEN)
                    ]
                await asyncio.sleep(0.1)
        return late

    async def _audited(self, before: Books, kind: Kind, load: Load, trial: Trial) -> list[str]:
        async with httpx.AsyncClient(base_url=self._stage.cards_url, timeout=10) as http:
            taken = await Cards(http).holds()
        given = Given(
            acknowledged=load.accepted,
            keys={key: frozenset(ids) for key, ids in load.answers.items()},
            poison=frozenset(trial.poison),
            canaries=self._crowd.secrets,
            log_folder=self._logs,
            taken_from_cards=taken,
            memory={name: taken for name, taken in trial.weights.items() if name not in trial.unjudged},
        )
        books = replace(before, since=before.since - kind.looks_back)
        found: list[Violation] = await audit(
            self._stage.admin_dsn, books, given, bootstrap=self._stage.bootstrap
        )
        return [*map(str, found), *await self._broken_promises(load)]

    async def _broken_promises(self, load: Load) -> list[str]:
        """What only the customers know: answers that nobody should get, cancellations that were forgotten."""
        wrong = [f"I3 customer: {placed.wrong}" for placed in load.placed if placed.wrong is not None]
        cancelled = [p.order_id for p in load.placed if p.cancel_accepted and p.order_id is not None]
        async with platform(databases_at(self._stage.admin_dsn)) as seen:
            statuses = await seen.rows("order_history", STATUSES, [cancelled])
        wrong += [
            f"I3 order {order}: its cancellation was accepted, and it is {status}"
            for order, status in statuses
            if status != "cancelled"
        ]
        return wrong

    async def _finished(self, load: Load) -> dict[UUID, Finished]:
        async with platform(databases_at(self._stage.admin_dsn)) as seen:
            rows = await seen.rows("order_saga", ENDS, [list(load.accepted)])
        return {order: Finished(status, at) for order, status, at in rows}

    def _lost(self) -> dict[str, int]:
        counts: dict[str, int] = {}
        for (_, server), proxy in self._stage.proxies.items():
            for loss, count in proxy.lost.items():
                name = f"{server} {loss.value}"
                counts[name] = counts.get(name, 0) + count
        return counts


def bite(placed: int, accepted: int, finished: Sequence[Finished], log: Sequence[Event]) -> list[str]:
    """What is missing for a round to count; the log's last line is the healing."""
    ends = Counter(one.status for one in finished)
    shares = {
        "acknowledged": (accepted, placed, BITES_ACKNOWLEDGED),
        "completed": (ends["completed"], accepted, BITES_COMPLETED),
        "compensated": (ends["compensated"], accepted, BITES_COMPENSATED),
    }
    missing = [
        f"only {count} of {total} orders were {what}"
        for what, (count, total, least) in shares.items()
        if count < least * total or total == 0
    ]
    if len(log) < 2:
        missing.append("the fault log shows no fault")
    return missing


def _skipped(kind: Kind, seed: int, started: float, reason: str) -> Round:
    return replace(broken(kind, seed, ""), started=started, shortcomings=(), skipped=reason)


def broken(kind: Kind, seed: int, why: str) -> Round:
    """A round of which nothing is known, because it could not be ended."""
    now = time.time()
    return Round(
        kind.name, seed, kind.what, now, now, 0, 0, 0, 0, None, None, None, 0.0, None, None, None,
        (), (), (why,), (), (), {}, {},
    )  # fmt: skip


@asynccontextmanager
async def _beside(work: Awaitable[None]) -> AsyncIterator["asyncio.Task[None]"]:
    """Do something else meanwhile; it is waited for at the end unless it was cancelled."""

    async def run() -> None:
        await work

    async with asyncio.TaskGroup() as group:
        yield group.create_task(run())
