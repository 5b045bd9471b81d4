"""Small numbers for values: states are tuples of them, so that a million fit and compare quickly."""

from collections.abc import Hashable
from typing import Generic, TypeVar

Held = TypeVar("Held", bound=Hashable)


class Interned(Generic[Held]):
    """Values of one kind, numbered in the order in which they were first met."""

    def __init__(self) -> None:
        self._numbers: dict[Held, int] = {}
        self.values: list[Held] = []

    def number(self, value: Held) -> int:
        """The value's number; a new one where it was never met."""
        known = self._numbers.get(value)
        if known is None:
            known = self._numbers[value] = len(self.values)
            self.values.append(value)
        return known

    def __getitem__(self, number: int) -> Held:
        return self.values[number]

    def __len__(self) -> int:
        return len(self.values)
