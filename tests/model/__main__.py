# ruff: noqa: T201 - what it prints is its interface
"""Runs the model check, or the ablations: `python -m tests.model`, `python -m tests.model ablations`."""

import os
import sys
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing import get_context
from time import monotonic

from tests.model.running import UNBOUNDED, Explored, explore, search
from tests.model.safeguards import SAFEGUARDS
from tests.model.scenarios import SCENARIOS


def model(states: int) -> int:
    """Explore every scenario, `states` in all at most (0: each to its end); how many have a violation."""
    began = monotonic()
    done: list[Explored] = []
    for one in _explored(states):
        done.append(one)
        edge = f", {one.left} at the edge" if one.left else ", to its end"
        print(
            f"{one.name:15} {one.states:9,} states {one.transitions:10,} transitions "
            f"depth {one.depth:3} ends {one.ends:5,} {one.seconds:6.1f} s{edge}",
            flush=True,
        )
    deepest = max(done, key=lambda one: one.depth)
    print(f"\nthe deepest trace, {deepest.depth} moves, of {deepest.name}:")
    print(*deepest.deepest, sep="\n")
    broken = [one for one in done if one.wrong]
    for one in broken:
        print(f"\nVIOLATION in {one.name}, after {one.length} moves:")
        print(*one.wrong, sep="\n")
    left = sum(one.left for one in done)
    print(f"\nscenarios {len(done)}")
    print(f"transitions {sum(one.transitions for one in done)}")
    print(f"edge {left}")
    print(f"seconds {monotonic() - began:.1f}")
    print(f"violations {len(broken)}")
    print(f"states {sum(one.states for one in done)}")
    return len(broken)


def _explored(states: int) -> Iterator[Explored]:
    """In a bounded run what the small scenarios leave is for the large ones; else the large ones begin."""
    waiting = list(SCENARIOS if states else SCENARIOS[::-1])
    running: dict[Future[Explored], int] = {}
    left = states or UNBOUNDED * len(waiting)
    with _pool() as pool:
        while waiting or running:
            while waiting and len(running) < _processes():
                most = min(left // len(waiting), UNBOUNDED)
                running[pool.submit(explore, waiting.pop(0), most)] = most
                left -= most
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for one in done:
                left += max(0, running.pop(one) - one.result().states)
                yield one.result()


def ablations(names: list[str]) -> int:
    """Leave out each safeguard alone, and look for what it prevents; how many are missed."""
    chosen = [one for one in SAFEGUARDS if not names or any(one.name.startswith(name) for name in names)]
    if not chosen:
        sys.exit(f"no such safeguard; there are {', '.join(one.name for one in SAFEGUARDS)}")
    missed = 0
    with _pool() as pool:
        for safeguard, found in zip(chosen, pool.map(search, [one.name for one in chosen]), strict=True):
            print(f"{safeguard.name}: without it, {safeguard.without}")
            if not found.wrong:
                missed += 1
                print(f"    {found.states} states of {', '.join(safeguard.scenarios)} show nothing")
                print(f"{safeguard.name} missed", flush=True)
                continue
            print(f"    found in {found.name!r} after {found.states} states and {found.seconds:.1f} s:")
            print(*found.wrong, sep="\n")
            print(f"{safeguard.name} caught {found.length}\n", flush=True)
    print(f"safeguards {len(chosen)}, missed {missed}")
    return missed


def _processes() -> int:
    return int(os.environ.get("PROCESSES") or min(os.cpu_count() or 1, 4))


def _pool() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(_processes(), mp_context=get_context("spawn"))


if __name__ == "__main__":
    if sys.argv[1:2] == ["ablations"]:
        sys.exit(ablations([name for name in os.environ.get("A", "").split(",") if name]) > 0)
    sys.exit(model(int(os.environ.get("STATES") or 0)) > 0)
