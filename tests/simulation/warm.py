"""Imported by the server that forks a run's processes: it lives through a seed, so that each of them need not be slow at first."""

import gc

from tests.simulation.running import run, simulating

with simulating():
    run(0)
gc.collect()
gc.freeze()  # what was made until here is shared by all processes, as long as nobody writes to it
