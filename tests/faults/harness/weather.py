"""What the way between a service and a server is like: its delays, its silences, and what gets lost on it."""

import asyncio
from collections.abc import Callable
from enum import Enum
from random import Random
from typing import Final


class Loss(Enum):
    """What of an exchange gets lost; either way the client cannot know what has happened."""

    REQUEST = "request"
    """The server never hears of it."""
    ANSWER = "answer"
    """The server does it, and its answer does not arrive."""


Losing = Callable[[], Loss | None]
"""Asked at every commit and at every produce."""


def nothing() -> Loss | None:
    """Nothing gets lost."""
    return None


def sometimes(random: Random, share: float) -> Losing:
    """So great a share gets lost, the request or the answer."""

    def losing() -> Loss | None:
        return random.choice(list(Loss)) if random.random() < share else None

    return losing


def answers(random: Random, share: float) -> Losing:
    """So great a share of the answers gets lost."""

    def losing() -> Loss | None:
        return Loss.ANSWER if random.random() < share else None

    return losing


class Weather:
    """One way's weather; `clear` makes it fine again. Delays are in seconds, for each piece of either direction."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._passable = asyncio.Event()
        self.clear()

    def clear(self) -> None:
        """Nothing is delayed, held or lost."""
        self.delay = 0.0
        self.jitter = 0.0
        self.refusing = False
        self.losing = nothing
        self._passable.set()

    def blackhole(self) -> None:
        """Nothing arrives any more, in either direction, and nobody is told; what was sent arrives in the end."""
        self._passable.clear()

    async def travel(self) -> None:
        """Take as long as the way takes."""
        await self._passable.wait()
        if self.delay or self.jitter:
            await asyncio.sleep(self.delay + self._random.random() * self.jitter)


CLIENTS: Final = ("postgres", "kafka", "cards")
"""What a service can be cut off from."""
