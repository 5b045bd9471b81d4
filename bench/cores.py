"""Which cores a process may run on."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def one_core(pid: int) -> Iterator[None]:
    """Keep a process on one core, and this one with the children it starts off it, where there is another."""
    everywhere = os.sched_getaffinity(0)
    alone = {min(everywhere)}
    _keep(_threads(pid), alone)
    os.sched_setaffinity(0, everywhere - alone or everywhere)
    try:
        yield
    finally:
        _keep(_threads(pid), everywhere)
        os.sched_setaffinity(0, everywhere)


def _threads(pid: int) -> Iterable[int]:
    return [int(thread.name) for thread in Path(f"/proc/{pid}/task").iterdir()]


def _keep(threads: Iterable[int], cores: set[int]) -> None:
    for thread in threads:
        os.sched_setaffinity(thread, cores)
