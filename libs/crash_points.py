"""Named places at which a process can be made to end as if its machine had lost power.

`CRASH_POINT=relay.sent` ends it with SIGKILL when that place is reached, `CRASH_POINT=relay.sent:3` at the
third time. While the variable is not set, a place costs one call and one comparison, once per batch.
"""

import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Final, Literal, NoReturn, TypeAlias, get_args

CrashPoint: TypeAlias = Literal[
    # A service's consumer
    "offsets.located",
    "consumer.polled",
    "consumer.handled",
    "idle.before_write",
    "idle.written",
    "hint.before_publish",
    "hint.published",
    "consumer.leaving",
    # The batch transaction
    "batch.opened",
    "batch.begun",
    "offsets.advanced",
    "inbox.admitted",
    "batch.loaded",
    "batch.decided",
    "batch.saved",
    "batch.written",
    "batch.committed",
    "batch.again",
    "batch.divided",
    "message.parked",
    "letters.buried",
    # Any transaction, and what it hands to the relay
    "commit.before",
    "commit.done",
    "handover.before",
    "handover.done",
    # Parked messages
    "parked.taken",
    "parked.handled",
    "parked.postponed",
    "parked.given_up",
    "parked.committed",
    # What a service tells itself
    "feed.claimed",
    "feed.decided",
    "feed.saved",
    "feed.committed",
    # The relay
    "relay.connected",
    "relay.owner",
    "relay.alone",
    "relay.looked",
    "relay.taken",
    "relay.before_send",
    "producer.part_sent",
    "relay.sent",
    "relay.before_delete",
    "relay.deleted",
    # The gateway
    "intake.claimed",
    "intake.written",
    "intake.committed",
    "cancel.written",
    "cancel.committed",
    "intents.seen",
    "intents.closed",
    "intents.put_again",
    "intents.sent_again",
    # The card desk
    "cards.claimed",
    "cards.before_call",
    "cards.called",
    "cards.before_feed",
    "cards.fed",
    # The orchestrator
    "timers.claimed",
    "timers.fired",
    "operator.decided",
    "operator.committed",
    # The read model's rebuild
    "rebuild.shadowed",
    "rebuild.folded",
    "rebuild.caught_up",
    "rebuild.held",
    "rebuild.swapped",
    "rebuild.committed",
    # Start and stop
    "host.prepared",
    "host.started",
    "host.stopping",
    "host.consumers_stopped",
    "host.flushed",
]
NAMES: Final[tuple[CrashPoint, ...]] = get_args(CrashPoint)
VARIABLE: Final = "CRASH_POINT"


@dataclass(frozen=True, slots=True)
class Armed:
    """The place at which this process is to end, and at which of its passes."""

    name: CrashPoint
    at: int
    _passes: Iterator[int] = field(default_factory=lambda: count(1), compare=False)

    @classmethod
    def of(cls, text: str) -> "Armed | None":
        """What the variable says; None for an empty one. Raises ValueError for a place that there is not."""
        if not text:
            return None
        name, _, times = text.partition(":")
        for known in NAMES:
            if known == name and (not times or (times.isdecimal() and int(times))):
                return cls(known, int(times or 1))
        raise ValueError(
            f"{VARIABLE}={text}: it must be one of {', '.join(NAMES)}, with :N for the N-th pass."
        )

    def passed(self, name: CrashPoint) -> bool:
        """Whether this pass is the one."""
        return name == self.name and next(self._passes) == self.at


def _armed() -> Armed | None:
    try:
        return Armed.of(os.environ.get(VARIABLE, ""))
    except ValueError as error:
        sys.exit(str(error))


ARMED: Final = _armed()


def reach(name: CrashPoint) -> None:
    """Say that the process has come to this place; where it is armed, nothing follows."""
    if ARMED is not None and ARMED.passed(name):
        _end(name)


def _end(name: CrashPoint) -> NoReturn:
    os.write(sys.stderr.fileno(), b'{"event": "crash_point.reached", "crash_point": "%s"}\n' % name.encode())
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("nothing follows a SIGKILL")
