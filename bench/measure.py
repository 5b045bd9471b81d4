"""One measured load: the generator runs beside the stack, then counters, saga table and books are read."""

import asyncio
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Final
from uuid import UUID

import psycopg

from bench import counters
from bench.counters import Counters
from bench.plan import OUTCOME, PLAN, Outcome, Plan
from bench.result import Ended, Result, boiled_down
from bench.stack import ROOT, Stack, StackInfo
from bench.twins import Twin
from tests.faults.auditor import Books, audit, opened
from tests.faults.quiet import quiet

ENDS: Final = b"""
    SELECT id, extract(epoch FROM finished_at)::float8, status, reason_code
    FROM sagas WHERE id = ANY(%s::uuid[]) AND finished_at IS NOT NULL
"""
QUIET_SECONDS: Final = 600.0
SLACK_SECONDS: Final = 120.0
NOBODY: Final[Mapping[str, Twin]] = MappingProxyType({})


async def generate(plan: Plan) -> Outcome:
    """Run a load in a process of its own. Raises RuntimeError with its last words."""
    with tempfile.TemporaryDirectory() as folder:
        asked, told = Path(folder) / "plan.json", Path(folder) / "outcome.json"
        asked.write_bytes(PLAN.dump_json(plan))
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "bench.load",
            asked,
            told,
            cwd=ROOT,
            stdin=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(
                plan.warmup_seconds + plan.seconds + plan.drain_seconds + SLACK_SECONDS
            ):
                _, errors = await child.communicate()
        except TimeoutError:
            child.kill()
            raise RuntimeError("the load generator did not come to an end") from None
        if child.returncode != 0:
            raise RuntimeError(f"the load generator failed: {errors.decode(errors='replace')[-2_000:]}")
        return OUTCOME.validate_json(told.read_bytes())


class Meter:
    """Reads the counters and the books before a load, and again when all is quiet after it.

    `beside` are processes that belong to the platform and are not in stack.json, by name.
    """

    def __init__(self, stack: Stack, beside: Mapping[str, Twin], counted: Counters, before: Books) -> None:
        self._stack = stack
        self._beside = beside
        self._counted = counted
        self._before = before

    @classmethod
    async def started(cls, stack: Stack, beside: Mapping[str, Twin] = NOBODY) -> "Meter":
        """Read the books and then the counters: adding up a million orders is not the load's cost."""
        info = stack.info
        before = await opened(info.postgres_admin)
        return cls(stack, beside, await counters.read(_with(info, beside)), before)

    @property
    def info(self) -> StackInfo:
        """Where everything is now, the processes beside the stack included."""
        return _with(self._stack.info, self._beside)

    async def result(self, scenario: str, load: str, outcome: Outcome) -> Result:
        """Wait until no order is under way, and boil everything down."""
        info = self.info
        await quiet(info.postgres_admin, info.kafka_bootstrap, within=QUIET_SECONDS)
        used = counters.used(self._counted, await counters.read(info))
        ends = await ends_of(self._stack, [p.order_id for p in outcome.orders if p.order_id is not None])
        violations = await audit(info.postgres_admin, self._before, bootstrap=info.kafka_bootstrap)
        return boiled_down(scenario, load, outcome, ends, used, [str(each) for each in violations])


def _with(info: StackInfo, beside: Mapping[str, Twin]) -> StackInfo:
    return replace(
        info,
        pids={**info.pids, **{name: twin.pid for name, twin in beside.items()}},
        service_urls={**info.service_urls, **{name: twin.url for name, twin in beside.items()}},
    )


async def measured(scenario: str, load: str, stack: Stack, plan: Plan) -> Result:
    """One load from its first order to quiet, with its costs and its books."""
    meter = await Meter.started(stack)
    return await meter.result(scenario, load, await generate(plan))


async def ends_of(stack: Stack, orders: Iterable[UUID]) -> dict[UUID, Ended]:
    """How the saga table says that these orders ended."""
    async with await psycopg.AsyncConnection.connect(stack.info.postgres["order_saga"]) as session:
        cursor = await session.execute(ENDS, [list(orders)])
        return {row[0]: Ended(row[1], row[2], row[3]) async for row in cursor}
