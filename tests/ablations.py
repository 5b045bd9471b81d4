# ruff: noqa: T201 - what it prints is its interface
"""Leaves out each safeguard alone and looks for what it prevents: `A=arming,row_lock python -m tests.ablations`.

Those of the saga engine and the participants are looked for by the model check, those of the runtime by the
simulation.
"""

import os
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from tests.model import __main__ as model
from tests.model.safeguards import SAFEGUARDS
from tests.simulation.__main__ import processes
from tests.simulation.safeguards import RUNTIME, search


def chosen(names: list[str], known: list[str]) -> list[str]:
    """Those of the known names that begin with one of `names`; all where none is given."""
    return [one for one in known if not names or any(one.startswith(name) for name in names)]


def runtime(names: list[str]) -> int:
    """Leave out the runtime's safeguards; how many are missed."""
    missed = 0
    about = {one.name: one for one in RUNTIME}
    with ProcessPoolExecutor(processes(), mp_context=get_context("spawn")) as pool:
        for found in pool.map(search, names):
            safeguard = about[found.name]
            print(f"{found.name}: without it, {safeguard.without}")
            if found.seen is None:
                missed += 1
                print(f"    {found.seeds} seeds with {', '.join(safeguard.faults)} show nothing")
                print(f"{found.name} missed", flush=True)
                continue
            print(f"    found in seed {found.seen.seed}, with {', '.join(safeguard.faults) or 'no faults'}:")
            print(
                *(f"    {invariant}: {finding}" for invariant, finding in found.seen.findings[:5]), sep="\n"
            )
            print(f"{found.name} caught {found.seeds}\n", flush=True)
    print(f"safeguards {len(names)}, missed {missed}")
    return missed


def main(names: list[str]) -> int:
    """Leave out what is named, or everything; how many are missed."""
    modelled = chosen(names, [one.name for one in SAFEGUARDS])
    simulated = chosen(names, [one.name for one in RUNTIME])
    if not modelled and not simulated:
        known = [one.name for one in (*SAFEGUARDS, *RUNTIME)]
        sys.exit(f"no such safeguard; there are {', '.join(known)}")
    missed = runtime(simulated) if simulated else 0
    missed += model.ablations(modelled) if modelled else 0
    print(f"safeguards in all {len(modelled) + len(simulated)}, missed {missed}")
    return missed


if __name__ == "__main__":
    sys.exit(main([name for name in os.environ.get("A", "").split(",") if name]) > 0)
