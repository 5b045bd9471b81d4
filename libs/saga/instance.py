"""A running saga as one frozen, hashable value."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Generic, NamedTuple, TypeVar

from libs.contracts.values import MessageId, SagaId

Data = TypeVar("Data")
Data_co = TypeVar("Data_co", covariant=True)


class Status(StrEnum):
    """Where a saga stands; a parked one is running or compensating, and needs a human's eye."""

    RUNNING = "running"
    COMPENSATING = "compensating"
    COMPLETED = "completed"
    COMPENSATED = "compensated"


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a saga is being undone: a code for programs, a sentence for people."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Flight:
    """A step that is in flight, in either direction, or a pause that lasts.

    `awaiting` is the id of the command sent last (None for a pause). At `retry_at` the command is
    sent again; at `due` the outcome counts as unknown, and what cannot be given up is parked: from
    then on `due` is None. At least one of the two is set.
    """

    step: str
    attempt: int
    awaiting: MessageId | None
    due: datetime | None
    retry_at: datetime | None
    credited: datetime | None = None
    """Up to here, time in which nobody watched was given back already."""

    @property
    def wakes_at(self) -> datetime:
        """The earlier of `retry_at` and `due`."""
        if self.due is None or (self.retry_at is not None and self.retry_at < self.due):
            if self.retry_at is None:
                raise LookupError(f"nothing would ever wake {self.step}")
            return self.retry_at
        return self.due


class Instance(NamedTuple, Generic[Data_co]):
    """One saga: what is in flight, what is owed an undo, and what it knows.

    `stage` is the forward stage it stands in, or stood in when it turned back. `armed` are the
    steps whose undo is owed, in the order in which they were sent. `failure` is the first reason
    met by a group that waits for all its steps. `kept_cancel` is a cancel that came after the
    point of no return. `early` are the pauses whose event came before them.
    """

    id: SagaId
    type: str
    version: int
    status: Status
    stage: str
    data: Data_co
    revision: int = 0
    flights: tuple[Flight, ...] = ()
    armed: tuple[str, ...] = ()
    reason: Reason | None = None
    failure: Reason | None = None
    kept_cancel: Reason | None = None
    early: tuple[str, ...] = ()
    expires: datetime | None = None
    parked_at: datetime | None = None

    @property
    def finished(self) -> bool:
        """Whether it has ended; nothing changes its outcome any more."""
        return self.status in {Status.COMPLETED, Status.COMPENSATED}

    @property
    def foremost(self) -> Flight | None:
        """The flight that will wake first; None once the saga has ended."""
        if len(self.flights) == 1:
            return self.flights[0]
        return min(self.flights, key=lambda flight: flight.wakes_at, default=None)

    @property
    def deadline(self) -> datetime | None:
        """The earliest moment at which something is due; set exactly while the saga has not ended."""
        flight = self.foremost
        if flight is None:
            return None
        return flight.wakes_at if self.expires is None else min(flight.wakes_at, self.expires)

    @property
    def step(self) -> str:
        """The step in flight that wakes first; after the end, where the forward way stopped."""
        flight = self.foremost
        return self.stage if flight is None else flight.step

    def flight(self, step: str) -> Flight | None:
        """The flight of a step, if it is in flight."""
        for flight in self.flights:
            if flight.step == step:
                return flight
        return None
