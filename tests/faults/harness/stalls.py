"""How long the machine gave this process nothing: what a recovery cannot be blamed for."""

import asyncio
import time
from typing import Final

SLEEP_SECONDS: Final = 0.05
NOTICED_SECONDS: Final = 0.1


class Stalls:
    """Sleeps shortly, again and again; what a sleep takes too long, others had the processors."""

    def __init__(self) -> None:
        self._met: list[tuple[float, float]] = []

    async def watch(self) -> None:
        """Watch until cancelled."""
        while True:
            began = time.monotonic()
            await asyncio.sleep(SLEEP_SECONDS)
            late = time.monotonic() - began - SLEEP_SECONDS
            if late > NOTICED_SECONDS:
                self.met(time.time() - late, late)

    def met(self, at: float, seconds: float) -> None:
        """Take note of a stall that began at a time (seconds since the epoch)."""
        self._met.append((at, seconds))

    def between(self, start: float, end: float) -> float:
        """How many seconds of a time were stalls."""
        return sum(max(0.0, min(at + late, end) - max(at, start)) for at, late in self._met)
