"""One decision in the making: a mutable copy of an instance, with what it sends and writes down."""

from dataclasses import replace
from datetime import datetime
from typing import Generic

from libs.contracts.values import MessageId
from libs.saga.chance import jitter, message_id
from libs.saga.decision import Decision, Entry, Kind, Send
from libs.saga.definition import Saga, Step
from libs.saga.instance import Data, Flight, Instance, Reason, Status


class Turn(Generic[Data]):
    """The next revision of an instance, until `decision` freezes it."""

    def __init__(self, saga: Saga[Data], instance: Instance[Data], now: datetime) -> None:
        self.saga = saga
        self.now = now
        self.id = instance.id
        self.revision = instance.revision + 1
        self.status = instance.status
        self.stage = instance.stage
        self.data = instance.data
        self.flights = list(instance.flights)
        self.armed = list(instance.armed)
        self.early = list(instance.early)
        self.reason = instance.reason
        self.failure = instance.failure
        self.kept_cancel = instance.kept_cancel
        self.expires = instance.expires
        self.deadline = instance.deadline
        self.cancel_due: Reason | None = None
        self._parked_at = instance.parked_at
        self._commands: list[Send] = []
        self._journal: list[Entry] = []

    @property
    def committed(self) -> bool:
        """Whether it is past the point of no return: its pivot or first retriable step was sent."""
        return (
            self.status in {Status.RUNNING, Status.COMPLETED}
            and self.saga.position[self.stage] >= self.saga.no_return
        )

    def write(
        self,
        kind: Kind,
        step: str | None = None,
        attempt: int | None = None,
        message_id: MessageId | None = None,
        **detail: str,
    ) -> None:
        """Add a journal entry."""
        self._journal.append(Entry(kind, step, attempt, message_id, tuple(detail.items())))

    def flight(self, step: str) -> Flight | None:
        """The flight of a step, if it is in flight."""
        for flight in self.flights:
            if flight.step == step:
                return flight
        return None

    def fly(self, flight: Flight) -> None:
        """Put a step in flight, or replace its flight."""
        self.flights = [other for other in self.flights if other.step != flight.step]
        self.flights.append(flight)

    def land(self, flight: Flight) -> None:
        """Take a step out of flight."""
        self.flights.remove(flight)

    def send(self, step: Step[Data], attempt: int = 1) -> None:
        """Send a step's command, with its deadline and its retries counted from now."""
        sent = self._command(step, attempt, Kind.SENT if attempt == 1 else Kind.RESENT)
        due = self.now + step.within
        self.fly(Flight(step.name, attempt, sent, due, self._retry_at(step, attempt, 1, sent, due)))

    def launch_again(self, step: Step[Data], flight: Flight) -> None:
        """Send a parked step's command again and give it its whole time anew."""
        if flight.awaiting is None:
            again = self.now + step.within
            self.fly(replace(flight, due=again, retry_at=None))
        else:
            self.send(step, flight.attempt + 1)

    def resend(self, step: Step[Data], flight: Flight) -> None:
        """Send the command of a step in flight once more; its deadline stays."""
        if flight.awaiting is None:
            self.fly(replace(flight, retry_at=self.now + step.within))
            return
        attempt = flight.attempt + 1
        sent = self._command(step, attempt, Kind.RESENT)
        retry_at = self._retry_at(step, attempt, attempt, sent, flight.due)
        self.fly(replace(flight, attempt=attempt, awaiting=sent, retry_at=retry_at))

    def give_time(self, step: Step[Data], again: Flight) -> None:
        """Let a step's time run on, because nobody watched it run out."""
        until = "" if again.due is None else again.due.isoformat()
        why = "nobody watched for a part of its time"
        self.write(Kind.TIME_GIVEN, step.name, again.attempt, until=until, why=why)
        self.fly(again)

    def park(self, step: Step[Data], flight: Flight, cause: str) -> None:
        """Call a human; the command is still sent again, slower and slower."""
        self.write(Kind.PARKED, step.name, flight.attempt, why=cause)
        self._parked_at = self._parked_at or self.now
        self.fly(replace(flight, due=None, retry_at=flight.retry_at or self.now + step.retry.longest))

    def awaited_only(self, flight: Flight) -> Flight:
        """The same flight without further sendings."""
        return flight if flight.due is None else replace(flight, retry_at=None)

    def notify(self, notice: Step[Data]) -> None:
        """Send a notice; nothing waits for its answer."""
        self._command(notice, 1, Kind.NOTICE_SENT)

    def _command(self, step: Step[Data], attempt: int, kind: Kind) -> MessageId:
        if step.make is None:
            raise LookupError(f"{step.name} sends nothing")
        sent = message_id(self.id, self.revision, step.name, attempt, self.now)
        body = step.make(self.data, self.reason or Reason("", ""))
        self._commands.append(Send(sent, step.name, attempt, body))
        self.write(kind, step.name, attempt, sent, command=type(body).__name__)
        return sent

    def _retry_at(
        self, step: Step[Data], attempt: int, nth: int, sent: MessageId, due: datetime | None
    ) -> datetime | None:
        if step.gives_up and attempt >= step.retry.attempts:
            return None
        retry_at = self.now + step.retry.wait(nth, jitter(sent))
        return None if step.gives_up and due is not None and retry_at >= due else retry_at

    def decision(self) -> Decision[Data]:
        """Freeze what was decided."""
        parked = any(flight.due is None for flight in self.flights)
        instance = Instance(
            self.id,
            self.saga.name,
            self.saga.version,
            self.status,
            self.stage,
            self.data,
            self.revision,
            tuple(self.flights),
            tuple(self.armed),
            self.reason,
            self.failure,
            self.kept_cancel,
            tuple(self.early),
            self.expires,
            self._parked_at if parked else None,
        )
        return Decision(instance, tuple(self._commands), tuple(self._journal), self.cancel_due)
