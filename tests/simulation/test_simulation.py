"""A few seeds in every unit run; the whole way is `make simulation SEEDS=…`."""

import os
import subprocess
import sys
from typing import Final

import pytest

from tests.simulation.running import NOTHING, Life, Seen, run, simulating
from tests.simulation.safeguards import RUNTIME, search
from tests.support.services import ROOT

FIXED: Final = (700000, 700001, 700007)
"""Seeds that are run every time."""

ONCE_BROKEN: Final[tuple[int, ...]] = ()
"""Seeds that showed a defect of the platform once."""

QUICK: Final = ("idempotency_row", "monotonic_fold", "relay_order")


@pytest.fixture(scope="module")
def seen() -> dict[int, Seen]:
    with simulating():
        return {seed: run(seed) for seed in (*FIXED, *ONCE_BROKEN)}


@pytest.mark.parametrize("seed", [*FIXED, *ONCE_BROKEN])
def test_a_world_full_of_faults_comes_to_a_good_end(seen: dict[int, Seen], seed: int) -> None:
    world = seen[seed]
    assert world.findings == []
    assert world.completed + world.cancelled >= world.orders
    assert world.faults.total() >= 5


def test_the_fixed_seeds_have_orders_of_either_end(seen: dict[int, Seen]) -> None:
    completed = sum(world.completed for world in seen.values())
    cancelled = sum(world.cancelled for world in seen.values())
    assert min(completed, cancelled) > 0.1 * (completed + cancelled)


def test_a_seed_gives_the_same_trace_again(seen: dict[int, Seen]) -> None:
    with simulating():
        assert run(FIXED[0]).digest == seen[FIXED[0]].digest
        assert run(FIXED[1]).digest != seen[FIXED[0]].digest
        assert run(FIXED[0], traced=True).digest == seen[FIXED[0]].digest


def test_a_trace_does_not_depend_on_how_strings_are_hashed(seen: dict[int, Seen]) -> None:
    program = f"""
from tests.simulation.running import run, simulating
with simulating():
    print(run({FIXED[0]}).digest)
"""
    other = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "4711"},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert other.stdout.strip() == seen[FIXED[0]].digest


def test_what_need_not_be_parsed_would_give_the_same() -> None:
    with simulating():
        world = Life(FIXED[0], NOTHING)
        world.live(None, traced=False)
    assert len(world.decoding.bodies) > 100
    for payload, body in world.decoding.bodies.items():
        assert type(body).model_validate_json(payload) == body


@pytest.mark.parametrize("name", QUICK)
def test_a_missing_safeguard_is_noticed(name: str) -> None:
    found = search(name)
    assert found.seen is not None
    assert found.seen.findings


def test_every_safeguard_has_a_name_of_its_own() -> None:
    assert len({one.name for one in RUNTIME}) == len(RUNTIME)
