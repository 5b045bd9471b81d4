"""An event loop whose time jumps to what happens next, and the processes that live in it: killed, paused, resumed."""

import asyncio
from asyncio import _set_running_loop
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context, ContextVar, copy_context
from heapq import heappop, heappush
from itertools import count
from typing import Any, Final, TypeAlias, TypeVar

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
    """What a timer is cancelled by; asyncio's own, without what a debugger would need."""

    __slots__ = ("due", "live")

    def __init__(self, due: float) -> None:
        self.due = due
        self.live = True

    def cancel(self) -> None:
        """Do not run it."""
        self.live = False

    def cancelled(self) -> bool:
        """Whether it will not be run."""
        return not self.live

    def when(self) -> float:
        """When it is due."""
        return self.due


Work: TypeAlias = tuple[Callable[..., object], tuple[Any, ...], Context | None]
"""What is to be run, with what, and in which context; None is what is outside of every process."""
Timer: TypeAlias = tuple[float, int, Callable[..., object], tuple[Any, ...], Context | None, Handle | None]
"""Work with its time, its number, and by what it can be cancelled."""


def _unless_cancelled(handle: Handle, callback: Callable[..., object], arguments: tuple[Any, ...]) -> None:
    """Run what may be cancelled between now and when it was due."""
    if handle.live:
        callback(*arguments)


class Loop(asyncio.BaseEventLoop):
    """Runs what is ready; when nothing is, it is the time of the next timer at once."""

    get_debug = staticmethod(bool)
    """False, for each future and each task, and that without a call of Python code."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        """Seconds since the world began."""
        self.ready: deque[Work] = deque()
        self._timers: list[Timer] = []
        self._timed = 0
        self.paused = 0
        Task._numbers = count()

    def time(self) -> float:
        """Seconds since the world began."""
        return self.now

    def run_until_complete(self, main: "asyncio.Future[T]") -> T:  # type: ignore[override]
        """Live until `main` is done."""
        done: list[object] = []
        main.add_done_callback(done.append)
        ready = self.ready
        _set_running_loop(self)
        try:
            while not done:
                callback, arguments, context = ready.popleft() if ready else self._advanced()
                try:
                    if context is None:
                        callback(*arguments)
                    elif self.paused and self._freezes(callback, arguments, context):
                        continue
                    else:
                        context.run(callback, *arguments)
                except Exception as error:  # noqa: BLE001 - as asyncio's own handles do
                    self.call_exception_handler({"message": f"Exception in {callback!r}", "exception": error})
        finally:
            _set_running_loop(None)
        return main.result()

    def _advanced(self) -> Work:
        """Move the clock to the next timer, and give its work."""
        timers = self._timers
        while timers:
            when, _, callback, arguments, context, handle = heappop(timers)
            if handle is None or handle.live:
                self.now = max(self.now, when)
                if handle is not None and self.paused:
                    return _unless_cancelled, (handle, callback, arguments), context
                return callback, arguments, context
        raise StuckError("nothing is due any more")

    @staticmethod
    def _freezes(callback: Callable[..., object], arguments: tuple[Any, ...], context: Context) -> bool:
        """Keep work of a process that is stopped for later."""
        process = context.get(PROCESS)
        if process is None or not process.paused:
            return False
        process.frozen.append((callback, arguments, context))
        return True

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *arguments: Any, context: Context | None = None
    ) -> Handle | None:
        """Run something after what is ready already; futures and tasks name a context, and never cancel it."""
        if context is not None:
            self.ready.append((callback, arguments, context))
            return None
        handle = Handle(self.now)
        self.ready.append((_unless_cancelled, (handle, callback, arguments), copy_context()))
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
        handle = Handle(when)
        self._timed += 1
        if context is None:
            context = copy_context()
        heappush(self._timers, (when, self._timed, callback, arguments, context, handle))
        return handle

    def soon(self, callback: Callable[..., object], *arguments: Any) -> None:
        """Run something after what is ready already, on behalf of nobody."""
        self.ready.append((callback, arguments, None))

    def later(self, delay: float, callback: Callable[..., object], *arguments: Any) -> None:
        """Run something after a while, whatever happens, on behalf of nobody."""
        self._timed += 1
        heappush(self._timers, (self.now + delay, self._timed, callback, arguments, None, None))

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


class Timeout:
    """asyncio.timeout, without the ways of changing it."""

    __slots__ = ("_cancelling", "_expired", "_seconds", "_task", "_timer")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._expired = False

    async def __aenter__(self) -> None:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        if task is None:
            raise RuntimeError("a timeout belongs to a task")
        self._task, self._cancelling = task, task.cancelling()
        self._timer = loop.call_later(self._seconds, self._expire)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _trace: object
    ) -> None:
        self._timer.cancel()
        if self._expired and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def _expire(self) -> None:
        self._expired = True
        self._task.cancel()


class Process:
    """A process of the platform: a context that its tasks share, a clock that may be wrong, an end."""

    def __init__(self, name: str, loop: Loop, number: int = 0) -> None:
        self.name = name
        self.number = number
        self.alive = True
        self.paused = False
        self.skew = 0.0
        self.frozen: list[Work] = []
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
