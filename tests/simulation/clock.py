"""An event loop whose time jumps to what happens next, and the processes that live in it: killed, paused, resumed."""

import asyncio
import heapq
from asyncio.events import Handle, TimerHandle
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context, ContextVar, copy_context
from itertools import count
from typing import Any, Final, TypeVar

T = TypeVar("T")

PROCESS: Final[ContextVar["Process | None"]] = ContextVar("PROCESS", default=None)
"""Whose code runs; None for what is outside of every process: servers, network, people."""


class StuckError(Exception):
    """Nothing is due any more, and the run has not ended."""


class Task(asyncio.Task[T]):
    """A task with a hash that follows from the order of creation, so that sets of tasks have an order too."""

    _numbers: "count[int]" = count()

    def __init__(
        self,
        coroutine: Coroutine[Any, Any, T] | Generator[Any, None, T],
        *,
        loop: asyncio.AbstractEventLoop,
        context: Context | None = None,
    ) -> None:
        self._number = next(Task._numbers)
        super().__init__(coroutine, loop=loop, context=context)

    def __hash__(self) -> int:
        return self._number


class Loop(asyncio.BaseEventLoop):
    """Runs what is ready; when nothing is, it is the time of the next timer at once."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._timers: list[tuple[float, int, TimerHandle]] = []
        self._timed = 0
        self.paused = 0
        Task._numbers = count()
        self.set_task_factory(_task)

    def time(self) -> float:
        """Seconds since the world began."""
        return self._now

    def _run_once(self) -> None:
        ready: Any = self._ready  # type: ignore[attr-defined]
        if not ready:
            self._advance(ready)
        for _ in range(len(ready)):
            handle: Handle = ready.popleft()
            if handle._cancelled:
                continue
            if self.paused:
                process = handle._context.get(PROCESS)  # type: ignore[attr-defined]
                if process is not None and process.paused:
                    process.frozen.append(handle)
                    continue
            handle._run()

    def call_at(  # type: ignore[override]
        self,
        when: float,
        callback: Callable[..., object],
        *arguments: Any,
        context: Context | None = None,
    ) -> TimerHandle:
        """Timers lie in a heap of plain tuples, the earliest first, those of one moment in order of their making."""
        timer = TimerHandle(when, callback, arguments, self, context)
        self._timed += 1
        heapq.heappush(self._timers, (when, self._timed, timer))
        return timer

    def _timer_handle_cancelled(self, handle: TimerHandle) -> None:
        """Nothing: a cancelled timer is passed over when its time has come."""

    def _advance(self, ready: Any) -> None:
        """Move the clock to the next timer, and make ready what is due then."""
        timers = self._timers
        while timers and timers[0][2]._cancelled:
            heapq.heappop(timers)
        if not timers:
            raise StuckError("nothing is due any more")
        now = self._now = max(self._now, timers[0][0])
        while timers and timers[0][0] <= now:
            timer = heapq.heappop(timers)[2]
            if not timer._cancelled:
                ready.append(timer)


def _task(
    loop: asyncio.AbstractEventLoop,
    coroutine: Coroutine[Any, Any, T] | Generator[Any, None, T],
    context: Context | None = None,
) -> "asyncio.Task[T]":
    process = PROCESS.get() if context is None else context.get(PROCESS)
    task = Task(coroutine, loop=loop, context=context)
    if process is not None:
        process.adopt(task)
    return task


class Process:
    """A process of the platform: a context that its tasks share, a clock that may be wrong, an end."""

    def __init__(self, name: str, loop: Loop, number: int = 0) -> None:
        self.name = name
        self.number = number
        self.alive = True
        self.paused = False
        self.skew = 0.0
        self.frozen: list[Handle] = []
        self.ambush: Callable[[], None] | None = None
        """What happens when its consumer is about to ask its database something."""
        self.at_end: list[Callable[[], None]] = []
        self._loop = loop
        self._tasks: list[asyncio.Task[Any]] = []
        self.context = copy_context()
        self.context.run(PROCESS.set, self)

    def spawn(self, coroutine: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Run something in this process."""
        return self._loop.create_task(coroutine, context=self.context.copy())

    def adopt(self, task: "asyncio.Task[Any]") -> None:
        """Take note of a task that belongs to this process."""
        if len(self._tasks) > 200:
            self._tasks = [one for one in self._tasks if not one.done()]
        self._tasks.append(task)

    def kill(self) -> None:
        """End it, as SIGKILL does: what it still does while its tasks unwind reaches nobody."""
        self.resume()
        self.alive = False
        for ended in self.at_end:
            ended()
        for task in self._tasks:
            task.cancel()

    def pause(self) -> None:
        """Stop it, as SIGSTOP does: whatever becomes ready waits."""
        self.paused = True
        self._loop.paused += 1

    def resume(self) -> None:
        """Let it go on, with everything that has become ready meanwhile."""
        if self.paused:
            self.paused = False
            self._loop.paused -= 1
            frozen, self.frozen = self.frozen, []
            self._loop._ready.extend(frozen)  # type: ignore[attr-defined]

    @property
    def leftovers(self) -> "list[asyncio.Task[Any]]":
        """Tasks that have not ended."""
        return [task for task in self._tasks if not task.done()]

    def clock(self) -> float:
        """Its machine's clock, in seconds since the epoch."""
        return EPOCH + self._loop.time() + self.skew


EPOCH: Final = 1_767_225_600.0
"""When the world begins: 2026-01-01T00:00:00Z."""
