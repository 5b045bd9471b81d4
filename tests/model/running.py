"""Explores one scenario and tells what was seen, in a form that can leave the process."""

from dataclasses import dataclass, replace
from typing import Final

from tests.model.exploring import Explorable, Exploration, told
from tests.model.safeguards import SAFEGUARDS, Safeguard
from tests.model.scenario import Scenario
from tests.model.scenarios import SCENARIOS
from tests.model.state import STRICT, Laxity
from tests.model.substitution import CHANCE, substituted
from tests.model.trip_world import TripScenario, TripWorld
from tests.model.world import World

UNBOUNDED: Final = 100_000_000


@dataclass(frozen=True, slots=True)
class Explored:
    """What became of a scenario, or of the search for what a safeguard prevents."""

    name: str
    states: int
    transitions: int
    depth: int
    ends: int
    left: int
    seconds: float
    deepest: tuple[str, ...]
    wrong: tuple[str, ...] = ()
    length: int = 0


def world_of(scenario: Scenario | TripScenario, laxity: Laxity = STRICT) -> Explorable:
    """The transition system of a scenario."""
    return TripWorld(scenario) if isinstance(scenario, TripScenario) else World(scenario, laxity)


def explore(scenario: Scenario | TripScenario, most: int, safeguard: Safeguard | None = None) -> Explored:
    """Explore a scenario, without a safeguard where one is given."""
    without = () if safeguard is None else safeguard.substitutes
    with substituted(*CHANCE, *without):
        world = world_of(scenario, STRICT if safeguard is None else safeguard.laxity)
        report = Exploration(world, most).run()
        found = report.found
        return Explored(
            scenario.name,
            report.states,
            report.transitions,
            report.deepest,
            report.quiet,
            report.unexpanded,
            report.seconds,
            () if safeguard else tuple(told(world, report.deepest_trace)),
            () if found is None else tuple(told(world, found.trace, found.wrong)),
            0 if found is None else len(found.trace),
        )


def search(name: str) -> Explored:
    """Look through a safeguard's scenarios until one breaks without it."""
    safeguard = next(one for one in SAFEGUARDS if one.name == name)
    scenarios = {scenario.name: scenario for scenario in SCENARIOS}
    states = 0
    for last in safeguard.scenarios:
        found = explore(scenarios[last], UNBOUNDED, safeguard)
        states += found.states
        if found.wrong or last == safeguard.scenarios[-1]:
            return replace(found, states=states)
    raise LookupError(f"{name} is looked for nowhere")
