"""Breadth-first through a world: every state once, the shortest way to it kept, every chain followed to its end."""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from time import monotonic
from typing import Protocol, TypeAlias

from tests.model.interning import Interned
from tests.model.state import Label, Move, State

NONE = -1

Trace: TypeAlias = tuple[tuple[Label, State], ...]
"""What happened, one by one, each with the state after it."""


class Explorable(Protocol):
    """A transition system, and what must hold in it."""

    @property
    def name(self) -> str:
        """What it is called."""

    def initial(self) -> State:
        """Where it begins."""

    def moves(self, state: State) -> Iterator[Move]:
        """Everything that may happen next; what is listed first leads on without faults."""

    def wrong(self, state: State) -> str | None:
        """The first thing that is wrong with a state, if anything is."""

    def quiet(self, state: State) -> bool:
        """Whether everything has ended."""

    def tell(self, move: Move) -> list[str]:
        """What happened, and then what followed from it."""


@dataclass(frozen=True, slots=True)
class Found:
    """A violation, and the shortest way to it."""

    wrong: str
    trace: Trace


@dataclass(slots=True)
class Report:
    """What an exploration saw."""

    name: str
    states: int = 0
    transitions: int = 0
    deepest: int = 0
    quiet: int = 0
    unexpanded: int = 0
    seconds: float = 0.0
    deepest_trace: Trace = ()
    found: Found | None = None


class Exploration:
    """One search; `most` bounds the states, what lies at the edge then is followed along one fair way each."""

    def __init__(self, world: Explorable, most: int) -> None:
        self._world = world
        self._most = most
        self._numbers: dict[State, int] = {}
        self._states: list[State] = []
        self._parents = array("q")
        self._labels = array("q")
        self._depths = array("i")
        self._onward = array("q")
        self._names = Interned[Label]()
        self._report = Report(world.name)

    def run(self) -> Report:
        """Explore until the end, the bound, or the first violation."""
        began = monotonic()
        report = self._report
        report.found = self._search() or self._stuck()
        report.states = len(self._states)
        report.deepest = max(self._depths)
        report.deepest_trace = self._trace(self._depths.index(report.deepest))
        report.seconds = monotonic() - began
        return report

    def _enter(self, state: State, parent: int, label: int) -> int:
        number = self._numbers[state] = len(self._states)
        self._states.append(state)
        self._parents.append(parent)
        self._labels.append(label)
        self._depths.append(self._depths[parent] + 1 if parent != NONE else 0)
        self._onward.append(NONE)
        return number

    def _search(self) -> Found | None:
        world, report = self._world, self._report
        numbers, states = self._numbers, self._states
        self._enter(world.initial(), NONE, NONE)
        here = 0
        while here < len(states):
            if len(states) >= self._most:
                break
            for move in world.moves(states[here]):
                report.transitions += 1
                if move.wrong is not None:
                    return Found(move.wrong, (*self._trace(here), (move.label, move.state)))
                there = numbers.get(move.state)
                if there is None:
                    there = self._enter(move.state, here, self._names.number(move.label))
                    if (wrong := world.wrong(move.state)) is not None:
                        return Found(wrong, self._trace(there))
                if not move.optional and self._onward[here] == NONE:
                    self._onward[here] = there
            here += 1
        report.unexpanded = len(states) - here
        return None

    def _stuck(self) -> Found | None:
        """Follow from every state what happens without faults and without people, until all is quiet.

        A state from which that does not end is a violation: it neither ends nor waits for a human.
        """
        seen = array("q", [NONE]) * len(self._states)
        for first in range(len(self._states)):
            here = first
            while seen[here] == NONE:
                seen[here] = first
                onward = self._next(here)
                if self._report.found is not None:
                    return self._report.found
                if onward == NONE:
                    if not self._world.quiet(self._states[here]):
                        return Found("nothing leads on from here, and it has not ended", self._trace(here))
                    self._report.quiet += 1
                    break
                while onward >= len(seen):
                    seen.append(NONE)
                if seen[onward] == first:
                    return Found("it goes round in circles and never ends", self._trace(onward))
                here = onward
        return None

    def _next(self, here: int) -> int:
        """Where the fair way leads; at the edge of a bounded search it is looked for only now."""
        if self._onward[here] == NONE:
            move = next((move for move in self._world.moves(self._states[here]) if not move.optional), None)
            if move is None:
                return NONE
            there = self._numbers.get(move.state)
            if there is None:
                there = self._enter(move.state, here, self._names.number(move.label))
            if (wrong := move.wrong or self._world.wrong(move.state)) is not None:
                self._report.found = Found(wrong, self._trace(there))
            self._onward[here] = there
        return self._onward[here]

    def _trace(self, number: int) -> Trace:
        return tuple((self._names[self._labels[at]], self._states[at]) for at in self._back(number))[::-1]

    def _back(self, number: int) -> Iterator[int]:
        while self._parents[number] != NONE:
            yield number
            number = self._parents[number]


def followed(world: Explorable, trace: Trace) -> Iterator[tuple[State, Move]]:
    """The moves of a trace again, one by one, each with the state before it."""
    state = world.initial()
    for label, after in trace:
        yield state, next(m for m in world.moves(state) if m.label == label and m.state == after)
        state = after


def told(world: Explorable, trace: Trace, wrong: str | None = None) -> list[str]:
    """A trace as a dialogue; what is decided and sent is indented under what caused it."""
    lines: list[str] = []
    for count, (_, move) in enumerate(followed(world, trace), start=1):
        happened, *rest = world.tell(move)
        lines += (f"{count:4}. {happened}", *(f"        {line}" for line in rest))
    if wrong is not None:
        lines.append(f"   => {wrong}")
    return lines
