"""What everything in one seed's world shares: its loop, its chance, its network, and what was seen to happen."""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import Context
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Final

from libs.contracts.values import MessageId
from tests.simulation.clock import EPOCH, Loop, Process
from tests.simulation.shortcuts import uuid_of

LOG: Final = "log"
"""What services say themselves; it is in a trace only when somebody wants to read it."""
SLOW: Final = 20.0
"""Times the usual delay, where the network is slow."""
BEGINNING: Final = datetime.fromtimestamp(EPOCH, UTC)


@dataclass(slots=True)
class Trace:
    """What happened, in order; the same seed gives the same trace."""

    lines: list[tuple[object, ...]] = field(default_factory=list)

    def digest(self) -> str:
        """A short name for all of it."""
        lines = [line for line in self.lines if line[1] is not LOG]
        return blake2b(repr(lines).encode(), digest_size=8).hexdigest()

    def told(self) -> list[str]:
        """A line for each thing that happened."""
        return [f"{at:9.4f}  {' '.join(map(str, rest))}" for at, *rest in self.lines]


class World:
    """One seed's world."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.loop = Loop()
        self.chance = random.Random(seed)  # noqa: S311 - a seed must give the same world again
        self._drawn = self.chance.random
        self.network = Network()
        self.trace = Trace()
        self.faults: Counter[str] = Counter()
        self.slow = 1.0
        self._slowed = 0
        self.readers = 0
        self.outside = Context()
        self.later, self.soon = self.loop.later, self.loop.soon
        self._ids = 0
        self._now = -1.0, BEGINNING

    @property
    def time(self) -> float:
        """Seconds since the world began."""
        return self.loop.now

    def now(self) -> datetime:
        """The servers' clock."""
        at, moment = self._now
        if at != self.loop.now:
            moment = BEGINNING + timedelta(seconds=self.loop.now)
            self._now = self.loop.now, moment
        return moment

    def since(self, moment: datetime) -> float:
        """A moment as seconds since the world began."""
        return (moment - BEGINNING).total_seconds()

    def note(self, *what: object) -> None:
        """Write down what happens."""
        self.trace.lines.append((round(self.loop.now, 6), *what))

    def new_id(self) -> MessageId:
        """A UUIDv7 of this moment, whose rest is this world's chance."""
        millis = int((EPOCH + self.loop.now) * 1_000)
        self._ids += 1
        rest = self.chance.getrandbits(62)
        return MessageId(uuid_of(millis << 80 | 0x7 << 76 | (self._ids & 0xFFF) << 64 | 0b10 << 62 | rest))

    @contextmanager
    def slow_network(self) -> Iterator[None]:
        """Everything takes much longer; two at once are one, or a record would be on its way for minutes."""
        self._slowed += 1
        self.slow = SLOW
        try:
            yield
        finally:
            self._slowed -= 1
            self.slow = SLOW if self._slowed else 1.0

    def delay(self) -> float:
        """How long a packet takes: a fraction of a millisecond, now and then much longer."""
        drawn = self._drawn()
        if drawn > 0.995:
            return self.slow * (drawn - 0.995) * 40
        return self.slow * (0.0002 + drawn * 0.001)


class Network:
    """Who cannot reach whom at the moment, and what lies undelivered because of that."""

    def __init__(self) -> None:
        self.whole = True
        """Whether everybody can reach everybody."""
        self._cut: set[tuple[int, str]] = set()
        self._held: list[tuple[int, str, Callable[[], None]]] = []

    def cut(self, process: Process, server: str) -> None:
        """Let nothing pass between a process and a server."""
        self._cut.add((id(process), server))
        self.whole = False

    def heal(self, process: Process, server: str) -> None:
        """Let everything pass again, what was held back first."""
        self._cut.discard((id(process), server))
        self.whole = not self._cut
        held, self._held = self._held, []
        for who, where, deliver in held:
            if (who, where) == (id(process), server):
                deliver()
            else:
                self._held.append((who, where, deliver))

    def between(self, process: Process | None, server: str) -> bool:
        """Whether something can pass."""
        return self.whole or (id(process), server) not in self._cut

    def pass_on(self, process: Process | None, server: str, deliver: Callable[[], None]) -> None:
        """Deliver now, or once the two can reach each other again."""
        if self.between(process, server):
            deliver()
        else:
            self._held.append((id(process), server, deliver))
