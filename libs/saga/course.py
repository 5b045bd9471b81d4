"""Moves a saga on: forward from stage to stage, and back from undo to undo, whatever made it go."""

from datetime import timedelta

from libs.contracts.message import Event
from libs.contracts.values import MessageId
from libs.saga.decision import Kind
from libs.saga.definition import Join, Role, Stage, Step
from libs.saga.instance import Data, Flight, Reason, Status
from libs.saga.turn import Turn


def enter(turn: Turn[Data], number: int) -> None:
    """Begin the stage of that number, or the first after it that has anything in flight then."""
    for stage in turn.saga.stages[number:]:
        turn.stage = stage.name
        if turn.committed:
            turn.expires = None
        for step in stage.steps:
            _begin(turn, step)
        if turn.flights:
            return
    _complete(turn)


def _begin(turn: Turn[Data], step: Step[Data]) -> None:
    if step.lasts is None:
        turn.send(step)
        if step.undo:
            turn.armed.append(step.name)
        return
    lasts = step.lasts(turn.data)
    if step.name in turn.early:
        turn.early.remove(step.name)
        turn.write(Kind.SUCCEEDED, step.name, why="the event that it waits for came before it")
    elif lasts > timedelta(0):
        turn.fly(Flight(step.name, 1, None, turn.now + lasts, None))
        turn.write(Kind.PAUSED, step.name, 1, until=(turn.now + lasts).isoformat())


def _complete(turn: Turn[Data]) -> None:
    turn.status = Status.COMPLETED
    turn.write(Kind.COMPLETED)
    if turn.kept_cancel is not None:
        pass_on(turn, turn.kept_cancel, None)
        turn.kept_cancel = None


def pass_on(turn: Turn[Data], reason: Reason, cause: MessageId | None) -> None:
    """Leave the cancel of a completed saga to another one."""
    turn.cancel_due = reason
    turn.write(Kind.CANCEL_PASSED_ON, message_id=cause, reason=reason.code, why=reason.text)


def succeeded(
    turn: Turn[Data],
    step: Step[Data],
    flight: Flight,
    event: Event | None,
    cause: MessageId | None = None,
    attempt: int | None = None,
) -> None:
    """A flight has ended well, by an answer, by the hand of an operator, or as its pause is over."""
    turn.land(flight)
    attempt = attempt or flight.attempt
    if step.role is Role.UNDO:
        turn.write(Kind.UNDONE, step.name, attempt, cause)
        turn.armed.remove(turn.saga.undoes[step.name])
    else:
        turn.write(Kind.SUCCEEDED, step.name, attempt, cause)
        if step.keep is not None and event is not None:
            turn.data = step.keep(turn.data, event)
    go_on(turn)


def failed(turn: Turn[Data], reason: Reason) -> None:
    """After a forward step was refused, or its outcome became unknown."""
    if turn.status is Status.RUNNING:
        turn.failure = turn.failure or reason
        if _current(turn).join is Join.FAIL_FAST:
            _compensate(turn, reason)
            return
    go_on(turn)


def go_on(turn: Turn[Data]) -> None:
    """After a flight has ended well, or a sibling of a failed one has ended at all."""
    if turn.flights:
        return
    if turn.status is Status.COMPENSATING:
        undo_next(turn)
    elif turn.failure is not None:
        _compensate(turn, turn.failure)
    else:
        enter(turn, turn.saga.position[turn.stage] + 1)


def _current(turn: Turn[Data]) -> Stage[Data]:
    return turn.saga.stages[turn.saga.position[turn.stage]]


def _compensate(turn: Turn[Data], reason: Reason) -> None:
    """Turn back; what is still in flight is awaited first, and no longer sent again."""
    turn_back(turn, reason)
    notice = turn.saga.notice
    if notice is not None and turn.armed:
        turn.notify(notice)
    turn.flights = [turn.awaited_only(flight) for flight in turn.flights]
    go_on(turn)


def turn_back(turn: Turn[Data], reason: Reason) -> None:
    """From now on the saga undoes; what it owes is written down."""
    turn.status = Status.COMPENSATING
    turn.reason, turn.failure, turn.expires = reason, None, None
    turn.early.clear()
    owed = ", ".join(reversed(turn.armed)) or "nothing"
    turn.write(Kind.COMPENSATING, reason=reason.code, why=reason.text, undo=owed)


def abandon(turn: Turn[Data], reason: Reason) -> None:
    """Turn back at once: the outcome of what is in flight counts as unknown."""
    for flight in turn.flights:
        if flight.awaiting is not None:
            turn.write(Kind.UNKNOWN, flight.step, flight.attempt, why="given up while in flight")
    turn.flights.clear()
    _compensate(turn, reason)


def undo_next(turn: Turn[Data]) -> None:
    """Send the undo of what was armed last; the saga is compensated when none is left."""
    if not turn.armed:
        turn.status = Status.COMPENSATED
        turn.write(Kind.COMPENSATED)
        return
    undo = turn.saga.steps[turn.armed[-1]].undo
    if undo is not None:
        turn.send(undo)


def unanswered(step: Step[Data]) -> Reason:
    """What a customer reads when nobody knows what became of a step."""
    return Reason(f"{step.service}_timeout", f"The {step.service} service did not answer in time.")
