"""How far apart the batches of a reader begin that nobody waits for."""

from typing import Final

PLENTY: Final = 500.0
"""Records a second, above which batches are further apart."""
LONGEST: Final = 2.5
"""Times the usual distance."""


class Pace:
    """Keeps batches `seconds` apart, and further while records come fast: each waits a little, all of them cost less."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._last = float("-inf")
        self.rested = False
        """Whether there was any of it left when it was last asked for."""

    def rest(self, records: int, began: float, now: float) -> float:
        """How many seconds are left until the next batch may begin, after one of so many records that `began`."""
        rate = records / max(began - self._last, 0.001)
        self._last = began
        left = self._seconds * min(LONGEST, max(1.0, rate / PLENTY)) - (now - began)
        self.rested = left > 0
        return left
