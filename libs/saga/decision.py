"""What the reducer answers: the next instance, the commands to send, and the journal's entries."""

from enum import StrEnum
from typing import Generic, NamedTuple

from libs.contracts.message import Command, Event, Refusal
from libs.contracts.values import MessageId
from libs.saga.instance import Data_co, Instance, Reason


class Send(NamedTuple):
    """A command to send, under the id that the instance awaits; answers carry step and attempt back."""

    id: MessageId
    step: str
    attempt: int
    body: Command[Event, Refusal]


class Kind(StrEnum):
    """What a journal entry tells."""

    STARTED = "started"
    SENT = "sent"
    RESENT = "resent"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    COMPENSATING = "compensating"
    NOTICE_SENT = "notice_sent"
    NOTICE_ANSWERED = "notice_answered"
    UNDONE = "undone"
    PARKED = "parked"
    TIME_GIVEN = "time_given"
    CANCEL_REQUESTED = "cancel_requested"
    CANCEL_KEPT = "cancel_kept"
    CANCEL_PASSED_ON = "cancel_passed_on"
    REMEMBERED = "remembered"
    LATE = "late"
    STALE = "stale"
    UNEXPECTED = "unexpected"
    REPEATED = "repeated"
    OPERATOR = "operator"
    COMPLETED = "completed"
    COMPENSATED = "compensated"


class Entry(NamedTuple):
    """One line of the journal: what was decided, about which step and message, and why."""

    kind: Kind
    step: str | None = None
    attempt: int | None = None
    message_id: MessageId | None = None
    detail: tuple[tuple[str, str], ...] = ()


class Rejection(StrEnum):
    """Why an operator's action was not taken."""

    REVISION_CHANGED = "revision_changed"
    FINISHED = "finished"
    NOT_PARKED = "not_parked"
    NOTHING_TO_SEND = "nothing_to_send"
    ALREADY_COMPENSATING = "already_compensating"
    POINT_OF_NO_RETURN = "point_of_no_return"
    NOT_IN_FLIGHT = "not_in_flight"
    CANNOT_BE_REFUSED = "cannot_be_refused"
    EVENT_NEEDED = "event_needed"


class Decision(NamedTuple, Generic[Data_co]):
    """The outcome of one input, to be saved in one transaction.

    `cancel_due` is a cancel that the saga can no longer act on, because it is completed: whoever
    runs the engine starts the saga that takes the effects back, in the same transaction.
    `rejected` says why an operator's action changed nothing.
    """

    instance: Instance[Data_co]
    commands: tuple[Send, ...] = ()
    journal: tuple[Entry, ...] = ()
    cancel_due: Reason | None = None
    rejected: Rejection | None = None
