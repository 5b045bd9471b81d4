"""Everything that can happen to a saga."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TypeAlias

from libs.contracts.message import Event
from libs.contracts.values import MessageId
from libs.saga.instance import Instance, Reason


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer to a command of `step`; to which attempt of it does not matter."""

    step: str
    body: Event
    attempt: int | None = None
    message_id: MessageId | None = None


@dataclass(frozen=True, slots=True)
class Gap:
    """A time in which nobody watched: no answer was read, and what was sent may not have left the outbox."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Timeout:
    """A deadline was reached; it names the step, attempt and moment that it belongs to.

    `unwatched` is the last gap in which nobody watched; a step gets the part of it back that fell
    into its time.
    """

    step: str
    attempt: int
    deadline: datetime
    unwatched: Gap | None = None

    @classmethod
    def of(cls, instance: Instance[object]) -> "Timeout | None":
        """The timeout that this instance waits for; None after its end."""
        flight, deadline = instance.foremost, instance.deadline
        if flight is None or deadline is None:
            return None
        return cls(flight.step, flight.attempt, deadline)


@dataclass(frozen=True, slots=True)
class Cancel:
    """Somebody no longer wants what the saga brings about."""

    reason: Reason
    message_id: MessageId | None = None


@dataclass(frozen=True, slots=True)
class Happened:
    """An event that answers no command; a pause may wait for it."""

    event: Event
    message_id: MessageId | None = None


@dataclass(frozen=True, slots=True)
class Repeated:
    """The command that starts the saga, once more."""

    message_id: MessageId | None = None


@dataclass(frozen=True, slots=True)
class Resume:
    """An operator pushes a parked saga on: its command is sent again, its deadline starts anew."""

    revision: int
    operator: str
    why: str


@dataclass(frozen=True, slots=True)
class Resend:
    """An operator has the command of a step in flight sent again, now."""

    revision: int
    operator: str
    why: str


@dataclass(frozen=True, slots=True)
class Compensate:
    """An operator has the saga undone."""

    revision: int
    operator: str
    why: str


class Outcome(StrEnum):
    """What an operator may declare a step's outcome to be."""

    SUCCEEDED = "succeeded"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Force:
    """An operator declares the outcome of a step in flight.

    Success needs the step's event where the saga keeps something of it. A forced refusal counts as
    unknown, so the step itself is undone too.
    """

    revision: int
    operator: str
    why: str
    step: str
    outcome: Outcome
    event: Event | None = None


Action: TypeAlias = Resume | Resend | Compensate | Force
Input: TypeAlias = Reply | Timeout | Cancel | Happened | Repeated | Action
