"""An event loop whose time jumps to what happens next, and the processes that live in it: killed, paused, resumed."""

import asyncio
from asyncio import _set_running_loop
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context, ContextVar, copy_context
from heapq import heappop, heappush
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
        super().__init__(coroutine, loop=loop, name="task", context=context)

    def __hash__(self) -> int:
        return self._number


class Handle:
    """What is to be run, unless it is cancelled before; asyncio's own, without what a debugger would need."""

    __slots__ = ("arguments", "callback", "context", "due")

    def __init__(
        self, callback: Callable[..., object], arguments: tuple[Any, ...], context: Context, due: float
    ) -> None:
        self.callback: Callable[..., object] | None = callback
        self.arguments = arguments
        self.context = context
        self.due = due

    def cancel(self) -> None:
        """Do not run it, nor keep anything for that."""
        self.callback, self.arguments = None, ()

    def cancelled(self) -> bool:
        """Whether it will not be run."""
        return self.callback is None

    def when(self) -> float:
        """When it is due."""
        return self.due


class Loop(asyncio.BaseEventLoop):
    """Runs what is ready; when nothing is, it is the time of the next timer at once."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        """Seconds since the world began."""
        self.ready: deque[Handle] = deque()
        self._timers: list[tuple[float, int, Handle]] = []
        self._timed = 0
        self.paused = 0
        Task._numbers = count()

    def time(self) -> float:
        """Seconds since the world began."""
        return self.now

    def run_until_complete(self, main: "asyncio.Future[T]") -> T:  # type: ignore[override]
        """Live until `main` is done, and until what became ready together with that has run."""
        done: list[object] = []
        main.add_done_callback(done.append)
        _set_running_loop(self)
        try:
            while not done:
                self._run_once()
        finally:
            _set_running_loop(None)
        return main.result()

    def _run_once(self) -> None:
        ready = self.ready
        if not ready:
            self._advance()
        for _ in range(len(ready)):
            handle = ready.popleft()
            if (callback := handle.callback) is None:
                continue
            if self.paused:
                process = handle.context.get(PROCESS)
                if process is not None and process.paused:
                    process.frozen.append(handle)
                    continue
            try:
                handle.context.run(callback, *handle.arguments)
            except Exception as error:  # noqa: BLE001 - as asyncio's own handles do
                self.call_exception_handler({"message": f"Exception in {callback!r}", "exception": error})

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *arguments: Any, context: Context | None = None
    ) -> Handle:
        """Run something after what is ready already."""
        handle = Handle(callback, arguments, copy_context() if context is None else context, self.now)
        self.ready.append(handle)
        return handle

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *arguments: Any, context: Context | None = None
    ) -> Handle:
        """Run something after a while."""
        return self.call_at(self.now + delay, callback, *arguments, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *arguments: Any, context: Context | None = None
    ) -> Handle:
        """Timers lie in a heap of plain tuples, the earliest first, those of one moment in order of their making."""
        handle = Handle(callback, arguments, copy_context() if context is None else context, when)
        self._timed += 1
        heappush(self._timers, (when, self._timed, handle))
        return handle

    def create_task(  # type: ignore[override]
        self,
        coroutine: Coroutine[Any, Any, T] | Generator[Any, None, T],
        *,
        name: str | None = None,
        context: Context | None = None,
    ) -> "asyncio.Task[T]":
        """Run a coroutine, as a part of the process whose code does so."""
        del name
        process = PROCESS.get() if context is None else context.get(PROCESS)
        task = Task(coroutine, loop=self, context=context)
        if process is not None:
            process.adopt(task)
        return task

    def create_future(self) -> "asyncio.Future[Any]":
        """A future of this loop."""
        return asyncio.Future(loop=self)

    def _advance(self) -> None:
        """Move the clock to the next timer, and make ready what is due then."""
        timers = self._timers
        while timers and timers[0][2].callback is None:
            heappop(timers)
        if not timers:
            raise StuckError("nothing is due any more")
        now = self.now = max(self.now, timers[0][0])
        while timers and timers[0][0] <= now:
            handle = heappop(timers)[2]
            if handle.callback is not None:
                self.ready.append(handle)


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
            self._loop.ready.extend(frozen)

    @property
    def leftovers(self) -> "list[asyncio.Task[Any]]":
        """Tasks that have not ended."""
        return [task for task in self._tasks if not task.done()]

    def clock(self) -> float:
        """Its machine's clock, in seconds since the epoch."""
        return EPOCH + self._loop.time() + self.skew


EPOCH: Final = 1_767_225_600.0
"""When the world begins: 2026-01-01T00:00:00Z."""
