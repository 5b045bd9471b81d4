"""What this process has just committed to its outbox, handed to its relay without reading it back."""

from collections import deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeAlias

from libs.messaging.codec import OutboxRow

Committed: TypeAlias = tuple[int, OutboxRow]
"""An outbox row and the id that the insert gave it."""


class Pending(NamedTuple):
    """A committed message that is to be sent."""

    id: int
    topic: str
    key: str
    key_hash: int
    headers: Sequence[tuple[str, bytes]]
    payload: bytes


class Handover:
    """Keeps committed rows for the relay, while nothing else can lie in the outbox unseen.

    A look at the table comes first, and again every second: `begin_look` before its SELECT,
    `end_look` with what it saw. Rows committed after its snapshot are offered and kept; rows that it
    saw already are not taken twice. While the table holds more than one look shows, or somebody
    else writes to it, nothing is kept: the table alone says what comes next, so that the order of
    each key holds.
    """

    def __init__(self) -> None:
        self._kept: deque[Committed] = deque()
        self._seen: set[int] = set()
        self._open = False

    @property
    def open(self) -> bool:
        """Whether what is offered is kept."""
        return self._open

    def __len__(self) -> int:
        return len(self._kept)

    def offer(self, rows: Iterable[Committed]) -> bool:
        """Rows that were just committed, in order; False when the table has to be looked at instead."""
        if self._open:
            self._kept.extend(row for row in rows if row[0] not in self._seen)
        return self._open

    def begin_look(self, *, alone: bool) -> None:
        """A look is about to begin; `alone` says that only this process writes to the outbox."""
        self._kept.clear()
        self._seen.clear()
        self._open = alone

    def end_look(self, ids: Iterable[int], *, complete: bool) -> None:
        """The look has seen these rows; `complete` says that these were all."""
        if not complete:
            self.close()
            return
        self._seen = set(ids)
        self._kept = deque(row for row in self._kept if row[0] not in self._seen)

    def take(self, limit: int) -> list[Committed]:
        """The oldest kept rows, at most `limit`."""
        return [self._kept.popleft() for _ in range(min(limit, len(self._kept)))]

    def close(self) -> None:
        """Keep nothing until the next complete look."""
        self._kept.clear()
        self._open = False
