"""Explores the worlds a little way, and sees that what is left out is missed; the whole way is `make model`."""

import pytest

from libs.saga import reducer
from tests.model import careless_engine
from tests.model.exploring import Exploration, followed, told
from tests.model.running import UNBOUNDED, explore, search
from tests.model.safeguards import SAFEGUARDS, Safeguard
from tests.model.scenario import Budget, Plan, Scenario
from tests.model.scenarios import SCENARIOS
from tests.model.substitution import CHANCE, Substitute, substituted
from tests.model.trip_world import TripScenario
from tests.model.world import World

ALONE = Scenario(
    name="alone", about="one order, at most one timeout", orders=(Plan(),), budget=Budget(timeouts=1)
)
QUICK = (
    "arming",
    "reverse_order",
    "late_reply_rule",
    "stale_timer_rule",
    "cancel_kept",
    "revision_check",
    "inbox",
)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_the_nearest_states_of_every_world_hold(scenario: Scenario | TripScenario) -> None:
    explored = explore(scenario, 300)
    assert explored.wrong == ()
    assert explored.ends > 0


def test_a_small_world_is_explored_to_its_end() -> None:
    explored = explore(ALONE, 100_000)
    assert (explored.wrong, explored.left) == ((), 0)
    assert explored.states > 1_000
    assert explore(ALONE, 100_000).states == explored.states


@pytest.mark.parametrize("name", [one.name for one in SAFEGUARDS if one.name.startswith(QUICK)])
def test_a_missing_safeguard_is_noticed(name: str) -> None:
    found = search(name)
    assert found.wrong
    assert found.wrong[-1].startswith("   => ")


def test_leaving_out_nothing_is_not_noticed() -> None:
    (cancel,) = (scenario for scenario in SCENARIOS if scenario.name == "cancel")
    assert explore(cancel, UNBOUNDED, Safeguard("nothing", "all is as before", ("cancel",))).wrong == ()


def test_every_safeguard_is_looked_for_in_worlds_that_there_are() -> None:
    names = {scenario.name for scenario in SCENARIOS}
    assert len({one.name for one in SAFEGUARDS}) == len(SAFEGUARDS)
    for safeguard in SAFEGUARDS:
        assert safeguard.scenarios
        assert names.issuperset(safeguard.scenarios)


def test_deciding_again_decides_the_same() -> None:
    """What is remembered of one decision stands for all: another world, asked afresh, goes the same way."""
    with substituted(*CHANCE):
        first, second = World(ALONE), World(ALONE)
        trace = Exploration(first, 100_000).run().deepest_trace
        state = second.initial()
        for (before, move), (label, _) in zip(followed(first, trace), trace, strict=True):
            again = next(
                one for one in second.moves(state) if _told(second, one.label) == _told(first, label)
            )
            assert again.effect.said == move.effect.said
            assert len(list(second.moves(state))) == len(list(first.moves(before)))
            state = again.state
        assert told(first, trace)


def _told(world: World, label: tuple[object, ...]) -> tuple[object, ...]:
    """A label without numbers that only its own world knows."""
    match label:
        case (str(how), int(number), int(channel), int(letter)):
            return how, number, channel, world.mail.letters[letter]
        case _:
            return label


def test_what_was_replaced_is_back_afterwards() -> None:
    kept = reducer._reply
    with substituted(Substitute(reducer, "_reply", careless_engine.reply_to_anything)):
        seen = reducer._reply
    assert seen is careless_engine.reply_to_anything
    assert reducer._reply is kept
