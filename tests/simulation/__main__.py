# ruff: noqa: T201 - what it prints is its interface
"""Runs seeds of the simulation: `SEEDS=700000-702000 python -m tests.simulation`, or one with its trace: `SEED=700006`, or so many `TIMES`."""

import os
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from time import monotonic
from typing import Final

from tests.simulation.running import Seen, run, share, simulating

SHARE: Final = 40
"""Seeds that a process is given at a time, at most: what it keeps of them goes with it."""
TOLD: Final = 40
"""Lines of a failing seed's trace that are shown; SEED=… shows all."""


def several(first: int, last: int) -> int:
    """Run seeds, both ends included; how many of them show a violation."""
    began = monotonic()
    faults: Counter[str] = Counter()
    broken: list[int] = []
    seeds = orders = ended = 0
    seconds = 0.0
    for lot, cost in _seen(first, last):
        seconds += cost
        for seen in lot:
            seeds += 1
            orders += seen.orders
            ended += seen.completed + seen.cancelled
            faults.update(seen.faults)
            if seen.findings:
                broken.append(seen.seed)
                _tell(seen)
        if seeds % 500 < len(lot):
            print(f"{seeds} seeds, {seeds / (monotonic() - began):.1f} a second", flush=True)
    print("\nfaults injected:")
    for kind, count in sorted(faults.items()):
        print(f"    {kind:22} {count:8,}")
    print(f"orders {orders}, ended {ended}")
    print(f"seconds {monotonic() - began:.1f}, of CPU a seed {1_000 * seconds / max(seeds, 1):.0f} ms")
    print(f"seeds {seeds}, {seeds / (monotonic() - began):.1f} a second")
    print(f"violations {len(broken)} {broken[:20] if broken else ''}".rstrip())
    return len(broken)


def one(seed: int) -> int:
    """Run a seed and show everything that happened in it."""
    with simulating():
        seen = run(seed, traced=True)
    print(*seen.trace, sep="\n")
    for invariant, finding in seen.findings:
        print(f"{invariant}: {finding}")
    print(f"seed {seed}, trace {seen.digest}, violations {len(seen.findings)}")
    return len(seen.findings)


def again(seed: int, times: int) -> int:
    """Run a seed so many times; how many other traces than one there were."""
    with simulating():
        digests = Counter(run(seed).digest for _ in range(times))
    for digest, count in digests.items():
        print(f"seed {seed}, trace {digest}: {count} times")
    return len(digests) - 1


def _tell(seen: Seen) -> None:
    print(f"\nVIOLATIONS in seed {seen.seed}; replay it with `make simulation SEED={seen.seed}`:")
    for invariant, finding in seen.findings[:10]:
        print(f"    {invariant}: {finding}")
    print(*(f"    {line[:200]}" for line in seen.trace[-TOLD:]), sep="\n", flush=True)


def _seen(first: int, last: int) -> Iterator[tuple[list[Seen], float]]:
    each = max(1, min(SHARE, (last - first + 1) // (4 * processes())))
    shares = [range(seed, min(seed + each, last + 1)) for seed in range(first, last + 1, each)]
    context = get_context("forkserver")  # what is imported, and warm, is so once: in the server
    context.set_forkserver_preload(["tests.simulation.warm"])
    with ProcessPoolExecutor(processes(), mp_context=context, max_tasks_per_child=1) as pool:
        yield from pool.map(share, shares)


def processes() -> int:
    """How many seeds are run at once."""
    return int(os.environ.get("PROCESSES") or os.cpu_count() or 1)


if __name__ == "__main__":
    if given := os.environ.get("SEED"):
        times = int(os.environ.get("TIMES") or "1")
        sys.exit((one(int(given)) if times == 1 else again(int(given), times)) > 0)
    lowest, _, highest = (os.environ.get("SEEDS") or "700000-700099").partition("-")
    sys.exit(several(int(lowest), int(highest or lowest)) > 0)
