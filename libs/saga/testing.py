"""Tests of a saga as a dialogue, on a virtual clock: given, when, expect.

    given(create_order, sheet).expect(CreateOrder)
        .when(OrderCreated(...)).expect(ValidateProducts)
        .after(seconds(30)).expect(BeginCancellation, CancelOrder)
        .when(OrderCancelled(...)).expect_compensated("product_timeout")

Nothing here needs a database, a broker or a clock; a saga that lasts for days takes microseconds.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush
from itertools import count
from typing import Final, Generic, Self, TypeAlias
from uuid import UUID

from libs.contracts.message import Event
from libs.contracts.values import MessageId, SagaId
from libs.saga.decision import Decision, Entry, Kind, Rejection, Send
from libs.saga.definition import AnyCommand, Saga
from libs.saga.inputs import Action, Cancel, Happened, Input, Reply, Timeout
from libs.saga.instance import Data, Instance, Reason, Status
from libs.saga.reducer import on, start, start_cancelled

SAGA_ID: Final = SagaId(UUID("01900000-0000-7000-8000-000000000001"))
BEGINNING: Final = datetime(2030, 1, 1, tzinfo=UTC)
MOST_INPUTS: Final = 1_000
"""A scripted saga that takes more inputs than this goes round in circles."""


def given(
    saga: Saga[Data], data: Data, *, saga_id: SagaId = SAGA_ID, at: datetime = BEGINNING
) -> "Dialogue[Data]":
    """A saga that was just started."""
    return Dialogue(saga, start(saga, saga_id, data, at), at)


def given_cancelled(
    saga: Saga[Data],
    data: Data,
    reason: Reason,
    *,
    saga_id: SagaId = SAGA_ID,
    at: datetime = BEGINNING,
) -> "Dialogue[Data]":
    """A saga whose cancel came before its start."""
    return Dialogue(saga, start_cancelled(saga, saga_id, data, reason, at), at)


class Dialogue(Generic[Data]):
    """A saga, and everything that was said to it and by it so far.

    Every method returns the dialogue, so that a test reads as one sentence; an expectation that is
    not met raises AssertionError with the whole transcript.
    """

    def __init__(self, saga: Saga[Data], first: Decision[Data], at: datetime) -> None:
        self.saga = saga
        self.now = at
        self.sent: list[Send] = []
        """Every command so far."""
        self.journal: list[Entry] = []
        """Every entry so far."""
        self.cancels_due: list[Reason] = []
        """The cancels that another saga has to act on."""
        self._unexpected: list[Send] = []
        self._last: Sequence[Entry] = ()
        self._lines: list[str] = [f"given {saga.name} version {saga.version}"]
        self._take(first)

    # Given and when

    def when(self, event: Event, *, to: str | None = None) -> Self:
        """An answer comes: to the step named, or else to the last command that it may answer."""
        return self.hear(self.reply(event, to=to))

    def twice(self, event: Event, *, to: str | None = None) -> Self:
        """The same answer comes two times."""
        reply = self.reply(event, to=to)
        return self.hear(reply).hear(reply)

    def happened(self, event: Event) -> Self:
        """An event comes that answers no command."""
        return self.hear(Happened(event))

    def cancelled(self, code: str = "cancelled_by_customer", text: str = "Changed my mind.") -> Self:
        """A cancel comes."""
        return self.hear(Cancel(Reason(code, text)))

    def operated(self, action: Callable[[int], Action]) -> Self:
        """An operator acts, with the revision that the saga has now: `lambda r: Resume(r, "ann", "…")`."""
        return self.hear(action(self.instance.revision))

    def after(self, time: timedelta) -> Self:
        """Time passes; every deadline within it is met on its moment, in order."""
        until = self.now + time
        self._lines.append(f"after {time}")
        self._fire_until(until, at=lambda due: max(self.now, due))
        self.now = until
        return self

    def overslept(self, time: timedelta) -> Self:
        """Time passes and nobody watches: what was due meanwhile is met at its end."""
        self.now += time
        self._lines.append(f"overslept {time}")
        self._fire_until(self.now, at=lambda _: self.now)
        return self

    def hear(self, received: Input) -> Self:
        """Any input, as it is."""
        self._lines.append(f"when {_shown(received)}")
        self._take(on(self.saga, self.instance, received, self.now))
        return self

    def reply(self, event: Event, *, to: str | None = None) -> Reply:
        """The answer to the step named, or else to the last command that the event may answer."""
        for send in reversed(self.sent):
            if to in {None, send.step} and _answers(event, send.body):
                return Reply(send.step, event, send.attempt, MessageId(UUID(int=len(self._lines))))
        if to is not None:
            return Reply(to, event)
        raise AssertionError(self._told(f"nothing was sent that {type(event).__name__} answers"))

    # Expect

    def expect(self, *commands: type[AnyCommand] | AnyCommand) -> Self:
        """Exactly these commands were sent since the last expectation, in this order."""
        sent, self._unexpected = self._unexpected, []
        matches = len(sent) == len(commands) and all(
            isinstance(send.body, wanted) if isinstance(wanted, type) else send.body == wanted
            for send, wanted in zip(sent, commands, strict=True)
        )
        wanted = ", ".join(c.__name__ if isinstance(c, type) else repr(c) for c in commands)
        found = ", ".join(type(send.body).__name__ for send in sent)
        self._check(matches, f"expected {wanted or 'nothing'}, and {found or 'nothing'} was sent")
        return self

    def expect_nothing(self) -> Self:
        """No command was sent since the last expectation."""
        return self.expect()

    def whatever_was_sent(self) -> Self:
        """Take every command so far as expected."""
        self._unexpected = []
        return self

    def expect_journal(self, *kinds: Kind) -> Self:
        """The last input was journalled as exactly this."""
        found = [entry.kind for entry in self._last]
        self._check(found == list(kinds), f"expected {list(kinds)} in the journal, found {found}")
        return self

    def expect_status(self, status: Status) -> Self:
        """The saga stands like this."""
        found = self.instance.status
        self._check(found is status, f"expected it to be {status}, and it is {found}")
        return self

    def expect_completed(self) -> Self:
        """It ended well, and nothing was sent that was not expected."""
        return self.expect_nothing().expect_status(Status.COMPLETED)

    def expect_compensated(self, reason_code: str | None = None) -> Self:
        """It was undone, for this reason, and nothing was sent that was not expected."""
        self.expect_nothing().expect_status(Status.COMPENSATED)
        found = self.instance.reason and self.instance.reason.code
        self._check(reason_code in {None, found}, f"expected the reason {reason_code}, and it is {found}")
        return self

    def expect_parked(self, parked: bool = True) -> Self:
        """It waits for a human, or does not."""
        found = self.instance.parked_at is not None
        self._check(found is parked, f"expected parked to be {parked}")
        return self

    def expect_rejected(self, rejection: Rejection) -> Self:
        """The operator's action was turned down."""
        self._check(self.rejected is rejection, f"expected {rejection}, and it was {self.rejected}")
        return self

    @property
    def transcript(self) -> str:
        """What was said so far, a line each."""
        return "\n".join(self._lines)

    # How it is done

    def _fire_until(self, until: datetime, *, at: Callable[[datetime], datetime]) -> None:
        for _ in range(MOST_INPUTS):
            timeout = Timeout.of(self.instance)
            if timeout is None or timeout.deadline > until:
                return
            self.now = at(timeout.deadline)
            self.hear(timeout)
        raise AssertionError(self._told(f"no end after {MOST_INPUTS} deadlines"))

    def _take(self, decision: Decision[Data]) -> None:
        self.instance: Instance[Data] = decision.instance
        self.rejected = decision.rejected
        self.sent += decision.commands
        self._unexpected += decision.commands
        self.journal += decision.journal
        self._last = decision.journal
        if decision.cancel_due is not None:
            self.cancels_due.append(decision.cancel_due)
        self._lines += [f"    {_entry(entry)}" for entry in decision.journal]

    def _check(self, met: object, failure: str) -> None:
        if not met:
            raise AssertionError(self._told(failure))

    def _told(self, failure: str) -> str:
        return f"{failure}\n\n{self.transcript}"


# Scripted answers

Delivery: TypeAlias = tuple[timedelta, Event | Callable[[AnyCommand], Event]]
Answer: TypeAlias = Sequence[Delivery]
"""The answers that one command gets, each so long after it was sent."""

Script: TypeAlias = Mapping[type[AnyCommand], Sequence[Answer]]
"""How each kind of command is answered; its n-th sending by the n-th answer, later ones by the last."""

LOST: Final[Answer] = ()
"""No answer ever comes."""


def promptly(event: Event | Callable[[AnyCommand], Event]) -> Answer:
    """Answered at once."""
    return [(timedelta(0), event)]


def late(event: Event | Callable[[AnyCommand], Event], by: timedelta) -> Answer:
    """Answered, but not before this time has passed; with different times answers overtake each other."""
    return [(by, event)]


def repeatedly(
    event: Event | Callable[[AnyCommand], Event], times: int = 2, apart: timedelta = timedelta(0)
) -> Answer:
    """Answered several times over."""
    return [(apart * n, event) for n in range(times)]


@dataclass(order=True, slots=True)
class _Waiting:
    at: datetime
    number: int
    reply: Reply = field(compare=False)


def play(dialogue: "Dialogue[Data]", script: Script) -> "Dialogue[Data]":
    """Let the script answer every command until the saga has ended, and nothing is on its way any more.

    Answers and deadlines meet the saga in the order of virtual time, an answer before a deadline of
    the same moment. A command that the script does not name is never answered. Stops where only a
    human helps: when it is parked and no answer is on its way.
    """
    waiting: list[_Waiting] = []
    numbers = count()
    scheduled = 0
    sendings: dict[type[AnyCommand], int] = {}
    for _ in range(MOST_INPUTS):
        for send in dialogue.sent[scheduled:]:
            for delay, reply in _scripted(send, script, sendings):
                heappush(waiting, _Waiting(dialogue.now + delay, next(numbers), reply))
        scheduled = len(dialogue.sent)
        due = dialogue.instance.deadline
        if waiting and (due is None or waiting[0].at <= due):
            answer = heappop(waiting)
            dialogue.now = max(dialogue.now, answer.at)
            dialogue.hear(answer.reply)
        elif due is None or dialogue.instance.parked_at is not None:
            return dialogue
        else:
            dialogue.after(max(due - dialogue.now, timedelta(0)))
    raise AssertionError(f"no end after {MOST_INPUTS} inputs\n\n{dialogue.transcript}")


def _scripted(
    send: Send, script: Script, sendings: dict[type[AnyCommand], int]
) -> list[tuple[timedelta, Reply]]:
    kind = type(send.body)
    answers = script.get(kind, [LOST])
    number = sendings.get(kind, 0)
    sendings[kind] = number + 1
    return [
        (delay, Reply(send.step, event if isinstance(event, Event) else event(send.body), send.attempt))
        for delay, event in answers[min(number, len(answers) - 1)]
    ]


def _answers(event: Event, command: AnyCommand) -> bool:
    refused = command.refused
    return isinstance(event, command.done) or (refused is not None and isinstance(event, refused))


def _shown(received: Input) -> str:
    match received:
        case Reply(step=step, body=body):
            return f"{type(body).__name__} answers {step}"
        case Timeout(step=step):
            return f"{step} times out"
        case Happened(event=event):
            return f"{type(event).__name__} happens"
        case _:
            return type(received).__name__.lower()


def _entry(entry: Entry) -> str:
    detail = ", ".join(f"{name} {text}" for name, text in entry.detail)
    return " ".join(part for part in (entry.kind.value, entry.step, f"({detail})" if detail else "") if part)
