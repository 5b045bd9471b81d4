"""Counts the sagas that have not ended: how many more may start, how many are parked."""

import asyncio
from collections import Counter
from typing import Final

from prometheus_client import Counter as CounterMetric
from prometheus_client import Gauge

from libs.saga.instance import Status
from libs.service.runtime import Runtime
from order_saga import store
from order_saga.domain import Desk

RECOUNT_SECONDS: Final = 1.0


class Census:
    """What this process knows of all sagas of its database.

    It counts once a second, and in between adds what its own commits change: to ask for `room` costs
    nothing. Processes that share a database share the bound.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._running = 0
        self._counted_at = float("-inf")
        self._sagas = Gauge("sagas", "sagas that have not ended", ["status"], registry=None)
        self._parked = Gauge("saga_parked", "sagas that wait for a human", registry=None)
        self._ended = CounterMetric("sagas_ended", "sagas that ended", ["type", "status"], registry=None)
        self._fired = CounterMetric("saga_timers_fired", "deadlines that were reached", registry=None)

    async def open(self, runtime: Runtime) -> None:
        """Put the figures among the service's metrics, and count for the first time."""
        await self._count(runtime)
        for metric in (self._sagas, self._parked, self._ended, self._fired):
            runtime.metrics.register(metric)

    async def room(self, runtime: Runtime) -> int:
        """How many sagas may be started now; a parked saga takes no room."""
        if asyncio.get_running_loop().time() - self._counted_at > RECOUNT_SECONDS:
            await self._count(runtime)
        return max(0, self._most - self._running)

    def note(self, _runtime: Runtime, desk: Desk) -> None:
        """Take in what a committed batch changed."""
        self._running += desk.more_running
        self._fired.inc(desk.fired)
        for (saga_type, status), count in desk.ended.items():
            self._ended.labels(saga_type, status.value).inc(count)

    async def watch(self, runtime: Runtime) -> None:
        """The worker that keeps the figures true."""
        while True:
            await self._count(runtime)
            await runtime.batch_committed(RECOUNT_SECONDS)
            if (rest := self._counted_at + RECOUNT_SECONDS - asyncio.get_running_loop().time()) > 0:
                await asyncio.sleep(rest)

    async def _count(self, runtime: Runtime) -> None:
        found = await store.census(runtime.database)
        self._counted_at = asyncio.get_running_loop().time()
        self._running = sum(count for (_, parked), count in found.items() if not parked)
        self._parked.set(sum(count for (_, parked), count in found.items() if parked))
        by_status = Counter[Status]()
        for (status, _), count in found.items():
            by_status[status] += count
        for status in (Status.RUNNING, Status.COMPENSATING):
            self._sagas.labels(status.value).set(by_status[status])
