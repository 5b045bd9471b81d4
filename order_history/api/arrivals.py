"""Tells waiting requests that something was folded into their order: this process's commits at once, others' soon."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final

import psycopg
from psycopg_pool import PoolTimeout

from libs.contracts.values import OrderId
from libs.service.runtime import Runtime
from order_history import store


@dataclass(frozen=True, slots=True)
class Pace:
    """How often things happen that nothing else brings about, in seconds.

    `poll`: what another process has folded is looked up. `keep_alive`: a silent stream says that it lives.
    `settle`: how long a finished order waits for events of other topics that belong before its end.
    """

    poll: float = 0.5
    keep_alive: float = 15.0
    settle: float = 1.0


DEFAULT_PACE: Final = Pace()


def _perhaps(_order_id: OrderId) -> bool:
    return True


class Watch:
    """One waiting request's view of an order; `for_the_end` where nothing else is waited for."""

    def __init__(self, arrivals: "Arrivals", *, for_the_end: bool) -> None:
        self._arrivals = arrivals
        self.for_the_end = for_the_end
        self.news = asyncio.Event()

    @property
    def over(self) -> bool:
        """Whether the service stops, so that nobody should wait any longer."""
        return self._arrivals.closed

    async def wait(self, seconds: float) -> bool:
        """Wait for news since the last call, or for the service's stop, at most so long; whether there were any."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.news.wait()
        news = self.news.is_set()
        self.news.clear()
        return news


class Arrivals:
    """Who waits for which order."""

    def __init__(self) -> None:
        self.closed = False
        self._watches: defaultdict[OrderId, set[Watch]] = defaultdict(set)
        self._newest: dict[OrderId, int] = {}

    @contextmanager
    def watch(self, order_id: OrderId, *, for_the_end: bool = False) -> Iterator[Watch]:
        """Be told of an order; begin before the first look at its rows, so that nothing falls between.

        Who waits `for_the_end` only is not told of what is known to lead there.
        """
        watch = Watch(self, for_the_end=for_the_end)
        if self.closed:
            watch.news.set()
        self._watches[order_id].add(watch)
        try:
            yield watch
        finally:
            self._watches[order_id].discard(watch)
            if not self._watches[order_id]:
                del self._watches[order_id]
                self._newest.pop(order_id, None)

    def tell(
        self, order_ids: Iterable[OrderId], may_have_ended: Callable[[OrderId], bool] = _perhaps
    ) -> None:
        """Wake those who wait for these orders; called after the commit."""
        if self._watches:
            for order_id in order_ids:
                for watch in self._watches.get(order_id, ()):
                    if not watch.for_the_end or may_have_ended(order_id):
                        watch.news.set()

    def close(self) -> None:
        """Wake everybody for good."""
        self.closed = True
        self.tell(list(self._watches))

    async def close_at_stop(self, runtime: Runtime) -> None:
        """A worker: let everybody go when the service begins to stop."""
        await runtime.stopping.wait()
        self.close()
        await asyncio.Event().wait()

    async def look_around(self, runtime: Runtime, pace: Pace = DEFAULT_PACE) -> None:
        """A worker: look up what other processes have folded, for all who wait with one query."""
        while True:
            await asyncio.sleep(pace.poll)
            if self._watches:
                try:
                    newest = await store.newest_arrivals(runtime.database, list(self._watches))
                except (psycopg.OperationalError, PoolTimeout) as error:
                    runtime.log.warning("arrivals.not_read", error=repr(error))
                    continue
                self.tell(order_id for order_id, n in newest.items() if self._newest.get(order_id) != n)
                self._newest = {order_id: n for order_id, n in newest.items() if order_id in self._watches}
