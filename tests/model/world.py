"""One scenario as a transition system: its first state, and all that may happen next in any."""

from collections.abc import Iterator

from tests.model import dialogue
from tests.model.calling import Calling
from tests.model.clock import Clock
from tests.model.invariants import Judge
from tests.model.parts import Parts
from tests.model.people import People
from tests.model.reading import Reading
from tests.model.scenario import Scenario
from tests.model.state import CATALOGUE, PER_ORDER, SHARED, STRICT, Laxity, Move, State, changed


class World(Parts):
    """A scenario's transition system."""

    def __init__(self, scenario: Scenario, laxity: Laxity = STRICT) -> None:
        super().__init__(scenario, laxity)
        self.name = scenario.name
        self._movers = (Reading(self), Clock(self), Calling(self), People(self))
        self._judge = Judge(self)

    def moves(self, state: State) -> Iterator[Move]:
        """Everything that may happen next; what is listed first leads on without faults."""
        for number in range(len(self.ids)):
            base = SHARED + number * PER_ORDER
            for mover in self._movers:
                yield from mover.moves(state, number, base)
        if state[CATALOGUE] + 1 < len(self.scenario.catalogues):
            after = changed(state, {CATALOGUE: state[CATALOGUE] + 1})
            yield Move(("catalogue", 0), after, optional=True)

    def wrong(self, state: State) -> str | None:
        """The first thing that is wrong with a state, if anything is."""
        return self._judge.wrong(state)

    def quiet(self, state: State) -> bool:
        """Whether nothing is under way for any order."""
        return self._judge.quiet(state)

    def tell(self, move: Move) -> list[str]:
        """What happened, and then what followed from it."""
        return dialogue.tell(self.mail, move)
