"""One round: load, deaths in several services at once, restart, quiet, audit."""

import asyncio
import os
import signal
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import httpx

from bench.stack import ROOT, StackInfo
from libs.crash_points import VARIABLE
from tests.crashpoints.load import Load
from tests.crashpoints.plan import Arming
from tests.crashpoints.processes import Child, NotReachedError, Services, died
from tests.crashpoints.sabotage import Sabotage, sabotage
from tests.faults.auditor import audit, opened
from tests.faults.books import Books
from tests.faults.platform import databases_at, platform
from tests.faults.quiet import NotQuietError, quiet
from tests.support.cards import Cards
from tests.support.shop import Shop

AT_ONCE: Final = 3
"""So many services die side by side; the others go on."""
REACH_SECONDS: Final = 150.0
QUIET_SECONDS: Final = 120.0
ENDED: Final = (
    "SELECT status, count(*) FROM sagas WHERE type = 'create_order' AND business_key >= %s GROUP BY status"
)


@dataclass(frozen=True, slots=True)
class Death:
    """What became of one arming; `missed` says why it was not reached."""

    arming: Arming
    seconds: float
    missed: str | None = None


@dataclass(slots=True)
class Result:
    """A round, told by figures."""

    deaths: list[Death] = field(default_factory=list)
    orders: int = 0
    completed: int = 0
    compensated: int = 0
    quiet_seconds: float = 0.0
    findings: list[str] = field(default_factory=list)

    @property
    def wrong(self) -> list[str]:
        """Everything that must not be; a round that did not bite counts among it."""
        missed = [death.missed for death in self.deaths if death.missed is not None]
        weak = []
        if self.completed < self.orders // 2 or self.compensated < self.orders // 10:
            weak = [f"{self.completed} completed and {self.compensated} compensated of {self.orders}"]
        return [*missed, *weak, *self.findings]


class Round:
    """Works on a stack that is up; every service is up again at its end."""

    def __init__(self, info: StackInfo, folder: Path, environment: Mapping[str, str]) -> None:
        self._info = info
        self._environment = {**os.environ, **environment}
        self._services = Services(folder, self._environment)
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._locks: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def run(self, armings: Sequence[Arming]) -> Result:
        """All armed places, then quiet, then the audit."""
        result = Result()
        before = await opened(self._info.postgres_admin)
        async with self._load() as (load, saboteur):
            by_service: dict[str, list[Arming]] = defaultdict(list)
            for arming in armings:
                by_service[arming.service].append(arming)
            async with asyncio.TaskGroup() as group:
                chains = [
                    group.create_task(self._chain(service, mine, load, saboteur))
                    for service, mine in by_service.items()
                ]
            result.deaths = [death for chain in chains for death in chain.result()]
        await self._judge(result, load, before)
        return result

    @asynccontextmanager
    async def _load(self) -> AsyncIterator[tuple[Load, Sabotage]]:
        async with httpx.AsyncClient(base_url=self._info.gateway_url, timeout=60) as http:
            shop = Shop(http)
            operator = await shop.operator(self._info.operator.email, self._info.operator.password)
            async with sabotage(self._info, operator) as saboteur:
                load = await Load.prepared(shop, operator)
                async with asyncio.TaskGroup() as group:
                    group.create_task(load.run())
                    try:
                        yield load, saboteur
                    finally:
                        load.stopping.set()

    async def _chain(
        self, service: str, armings: Sequence[Arming], load: Load, saboteur: Sabotage
    ) -> list[Death]:
        """A service's deaths, one after the other; then it is up for good."""
        deaths: list[Death] = []
        async with self._slots:
            for arming in armings:
                async with self._locks[service]:
                    deaths.append(await self._die(arming, load, saboteur))
                    if arming.trigger != "rebuild":
                        await self._services.end(service)
            async with self._locks[service]:
                await self._ensure(service)
        return deaths

    async def _die(self, arming: Arming, load: Load, saboteur: Sabotage) -> Death:
        started = time.monotonic()
        missed = None
        try:
            if arming.trigger == "rebuild":
                await self._ensure(arming.service)
                await self._rebuild(arming)
            else:
                await self._serve(arming, load, saboteur)
        except NotReachedError as error:
            missed = str(error)
        return Death(arming, time.monotonic() - started, missed)

    async def _serve(self, arming: Arming, load: Load, saboteur: Sabotage) -> None:
        await self._services.end(arming.service)
        child = self._services.launch(arming.service, arming)
        async with self._brought_there(arming, child, load, saboteur):
            await died(child, arming, within=REACH_SECONDS)

    @asynccontextmanager
    async def _brought_there(
        self, arming: Arming, child: Child, load: Load, saboteur: Sabotage
    ) -> AsyncIterator[None]:
        """While the process is waited for, do what brings it to its place; the load goes on by itself."""
        match arming.trigger:
            case "load" | "rebuild":
                yield
            case "lull":
                with load.lull():
                    yield
            case "stop":
                async with _meanwhile(_stop(child)):
                    yield
            case "poison":
                await saboteur.poison(load, arming.service)
                yield
            case "guilty":
                await saboteur.guilty(load)
                yield
            case "mended":
                async with _meanwhile(saboteur.mended(load)):
                    yield
            case "operator":
                async with _meanwhile(saboteur.insist(), endless=True):
                    yield
            case "unseen":
                async with self._locks["order_saga"]:
                    await self._services.end("order_saga")
                    yield
                    await self._services.start("order_saga")

    async def _ensure(self, service: str) -> None:
        if not self._services.runs(service):
            await self._services.start(service)

    async def _rebuild(self, arming: Arming | None) -> None:
        """Rebuild the read model and die of it; without an arming, hold it against one made from zero."""
        arguments = ["rebuild"] if arming else ["rebuild", "--compare-only"]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "devstack", "in", "order_history", "order_history", *arguments),
            cwd=ROOT,
            env={**self._environment, VARIABLE: arming.variable if arming else ""},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate()
        wanted = -signal.SIGKILL if arming else 0
        if process.returncode != wanted:
            raise NotReachedError(f"{arming or 'rebuild'}: ended with {process.returncode}: {said.decode()}")

    async def _judge(self, result: Result, load: Load, before: Books) -> None:
        started = time.monotonic()
        try:
            await quiet(self._info.postgres_admin, self._info.kafka_bootstrap, within=QUIET_SECONDS)
        except NotQuietError as error:
            result.findings.append(str(error))
        result.quiet_seconds = time.monotonic() - started
        given = load.given
        if self._info.card_provider is not None:
            async with httpx.AsyncClient(base_url=self._info.card_provider.url) as http:
                given = replace(given, taken_from_cards=await Cards(http).holds())
        found = await audit(self._info.postgres_admin, before, given, bootstrap=self._info.kafka_bootstrap)
        result.findings += [str(violation) for violation in found]
        try:
            await self._rebuild(None)
        except NotReachedError as error:
            result.findings.append(f"I8 {error}")
        async with platform(databases_at(self._info.postgres_admin)) as seen:
            ended: dict[str, int] = dict(await seen.rows("order_saga", ENDED, [before.first_order]))
        result.orders = len(load.accepted)
        result.completed, result.compensated = ended.get("completed", 0), ended.get("compensated", 0)


async def _stop(child: Child) -> None:
    await child.unit.ready(child.process)
    os.kill(child.process.pid, signal.SIGTERM)


@asynccontextmanager
async def _meanwhile(doing: Coroutine[None, None, None], *, endless: bool = False) -> AsyncIterator[None]:
    """Do something beside the block and to its own end, or, where it has none, to that of the block."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(doing)
        yield
        if endless:
            task.cancel()
