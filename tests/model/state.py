"""A state as a tuple of small numbers, what may happen to it, and what a run may leave out."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Final, NamedTuple, TypeAlias

from tests.model.participants import Decide
from tests.model.scenario import Budget

State: TypeAlias = tuple[int, ...]
Label: TypeAlias = tuple[object, ...]

SHARED: Final = 4
"""A state's first numbers: warehouse, accounts, catalogue, budget; then for each order the following."""
PER_ORDER: Final = 6
SAGAS, ROW, PROVIDER, TIMERS, CUSTOMERS, QUEUES = range(PER_ORDER)
WAREHOUSE, ACCOUNTS, CATALOGUE, BUDGET = range(SHARED)

BUDGETED: Final = tuple(field.name for field in fields(Budget))


class Left(NamedTuple):
    """By what may go wrong, in the order of `Budget`: the budget's number afterwards."""

    duplicates: int | None
    crashes: int | None
    timeouts: int | None
    losses: int | None
    silences: int | None
    denials: int | None
    days: int | None
    operator: int | None


class Asked(NamedTuple):
    """What an order's customer has done: asked for it, and cancelled it so many times."""

    ordered: bool = False
    cancels: int = 0


class Effect(NamedTuple):
    """What one thing that happens does to one part of the state."""

    number: int
    sent: tuple[int, ...] = ()
    said: tuple[str, ...] = ()
    wrong: str | None = None


NOTHING: Final = Effect(0)


class Move(NamedTuple):
    """One thing that may happen: what to call it, the state after it, what was done, what was wrong with it.

    What is optional may never happen, so nothing may hang on it: faults, and what people do.
    """

    label: Label
    state: State
    effect: Effect = NOTHING
    optional: bool = False

    @property
    def wrong(self) -> str | None:
        """What is wrong with it whatever the state after it."""
        return self.effect.wrong


@dataclass(frozen=True, slots=True)
class Laxity:
    """What a run of the model leaves out, to see that it is missed.

    `decides` replaces entries of the services' routes. The two others are safeguards that live in SQL,
    of which the model has a twin.
    """

    decides: Mapping[tuple[str, type[object]], Decide] = field(default_factory=dict)
    no_inbox: bool = False
    not_caught_up: bool = False


STRICT: Final = Laxity()


def changed(state: State, changes: Mapping[int, int]) -> State:
    after = list(state)
    for place, value in changes.items():
        after[place] = value
    return tuple(after)
