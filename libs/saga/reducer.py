"""Decides what a saga does next; pure, and defined for every input in every state."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, assert_never

from libs.contracts.message import Event, Refusal
from libs.contracts.reasons import ALREADY_UNDONE, CANCELLED_BY_OPERATOR
from libs.contracts.values import MessageId, SagaId
from libs.saga.decision import Decision, Kind, Rejection
from libs.saga.definition import Join, Role, Saga, Stage, Step
from libs.saga.inputs import (
    Action,
    Cancel,
    Compensate,
    Force,
    Gap,
    Happened,
    Input,
    Outcome,
    Repeated,
    Reply,
    Resend,
    Resume,
    Timeout,
)
from libs.saga.instance import Data, Flight, Instance, Reason, Status
from libs.saga.turn import Turn

OVERDUE: Final = timedelta(seconds=10)
"""A deadline met later than this was watched by nobody: the step gets its time again, as an outage of
the orchestrator must not cancel anything (its command may still lie in the outbox)."""

SAGA_TIMEOUT: Final = "saga_timeout"


def start(saga: Saga[Data], saga_id: SagaId, data: Data, now: datetime) -> Decision[Data]:
    """A new saga that sends its first commands."""
    turn = _new(saga, saga_id, data, Status.RUNNING, now)
    if saga.deadline is not None:
        turn.expires = now + saga.deadline
    _enter(turn, 0)
    return turn.decision()


def start_cancelled(
    saga: Saga[Data], saga_id: SagaId, data: Data, reason: Reason, now: datetime
) -> Decision[Data]:
    """A new saga whose cancel came before its start.

    It undoes its first step, whose command may be lost or still to come, and sends no notice. The
    start, should it come, is then a repeat.
    """
    turn = _new(saga, saga_id, data, Status.COMPENSATING, now)
    turn.write(Kind.CANCEL_REQUESTED, reason=reason.code, why="cancelled before it was started")
    turn.armed = [step.name for step in saga.stages[0].steps if step.undo]
    _turn_back(turn, reason)
    _undo_next(turn)
    return turn.decision()


def on(saga: Saga[Data], instance: Instance[Data], received: Input, now: datetime) -> Decision[Data]:
    """What follows from an input. `saga` is the definition in the instance's own version.

    Every input is journalled and takes a revision, late and stale ones too; only an operator's
    action that is rejected leaves no trace.
    """
    turn = Turn(saga, instance, now)
    match received:
        case Reply():
            _reply(turn, received)
        case Timeout():
            _timeout(turn, received)
        case Cancel():
            _cancel(turn, received)
        case Happened():
            _happened(turn, received)
        case Repeated():
            turn.write(Kind.REPEATED, message_id=received.message_id, why="this saga was started before")
        case Resume() | Resend() | Compensate() | Force():
            if (rejected := _operator(turn, instance, received)) is not None:
                return Decision(instance, rejected=rejected)
        case _:
            assert_never(received)
    return turn.decision()


def _new(saga: Saga[Data], saga_id: SagaId, data: Data, status: Status, now: datetime) -> Turn[Data]:
    first = saga.stages[0].name
    turn = Turn(saga, Instance(saga_id, saga.name, saga.version, status, first, data), now)
    turn.write(Kind.STARTED, saga=saga.name, version=str(saga.version))
    return turn


# Going forward


def _enter(turn: Turn[Data], number: int) -> None:
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
        _pass_on(turn, turn.kept_cancel, None)
        turn.kept_cancel = None


def _go_on(turn: Turn[Data]) -> None:
    """After a flight has ended well, or a sibling of a failed one has ended at all."""
    if turn.flights:
        return
    if turn.status is Status.COMPENSATING:
        _undo_next(turn)
    elif turn.failure is not None:
        _compensate(turn, turn.failure)
    else:
        _enter(turn, turn.saga.position[turn.stage] + 1)


def _failed(turn: Turn[Data], reason: Reason) -> None:
    """After a forward step was refused, or its outcome became unknown."""
    if turn.status is Status.RUNNING:
        turn.failure = turn.failure or reason
        if _current(turn).join is Join.FAIL_FAST:
            _compensate(turn, reason)
            return
    _go_on(turn)


def _current(turn: Turn[Data]) -> Stage[Data]:
    return turn.saga.stages[turn.saga.position[turn.stage]]


# Going back


def _compensate(turn: Turn[Data], reason: Reason) -> None:
    """Turn back; what is still in flight is awaited first, and no longer sent again."""
    _turn_back(turn, reason)
    notice = turn.saga.notice
    if notice is not None and turn.armed:
        turn.notify(notice)
    turn.flights = [turn.awaited_only(flight) for flight in turn.flights]
    _go_on(turn)


def _turn_back(turn: Turn[Data], reason: Reason) -> None:
    turn.status = Status.COMPENSATING
    turn.reason, turn.failure, turn.expires = reason, None, None
    turn.early.clear()
    owed = ", ".join(reversed(turn.armed)) or "nothing"
    turn.write(Kind.COMPENSATING, reason=reason.code, why=reason.text, undo=owed)


def _abandon(turn: Turn[Data], reason: Reason) -> None:
    """Turn back at once: the outcome of what is in flight counts as unknown."""
    for flight in turn.flights:
        if flight.awaiting is not None:
            turn.write(Kind.UNKNOWN, flight.step, flight.attempt, why="given up while in flight")
    turn.flights.clear()
    _compensate(turn, reason)


def _undo_next(turn: Turn[Data]) -> None:
    if not turn.armed:
        turn.status = Status.COMPENSATED
        turn.write(Kind.COMPENSATED)
        return
    undo = turn.saga.steps[turn.armed[-1]].undo
    if undo is not None:
        turn.send(undo)


# Replies


def _reply(turn: Turn[Data], reply: Reply) -> None:
    step = turn.saga.steps.get(reply.step)
    flight = turn.flight(reply.step)
    told = type(reply.body).__name__
    if step is not None and step.role is Role.NOTICE:
        turn.write(Kind.NOTICE_ANSWERED, reply.step, reply.attempt, reply.message_id, answer=told)
    elif step is None or flight is None:
        why = "no such step in this version" if step is None else "not in flight"
        turn.write(Kind.LATE, reply.step, reply.attempt, reply.message_id, answer=told, why=why)
    elif step.command is not None and isinstance(reply.body, step.command.done):
        _succeeded(turn, step, flight, reply.body, reply.message_id, reply.attempt)
    elif step.refused is not None and isinstance(reply.body, step.refused):
        _refused(turn, step, flight, reply.body, reply)
    else:
        why = "not an answer to this step's command"
        turn.write(Kind.UNEXPECTED, reply.step, reply.attempt, reply.message_id, answer=told, why=why)


def _succeeded(
    turn: Turn[Data],
    step: Step[Data],
    flight: Flight,
    event: Event | None,
    cause: MessageId | None = None,
    attempt: int | None = None,
) -> None:
    turn.land(flight)
    attempt = attempt or flight.attempt
    if step.role is Role.UNDO:
        turn.write(Kind.UNDONE, step.name, attempt, cause)
        turn.armed.remove(turn.saga.undoes[step.name])
    else:
        turn.write(Kind.SUCCEEDED, step.name, attempt, cause)
        if step.keep is not None and event is not None:
            turn.data = step.keep(turn.data, event)
    _go_on(turn)


def _refused(turn: Turn[Data], step: Step[Data], flight: Flight, refusal: Refusal, reply: Reply) -> None:
    turn.land(flight)
    if step.undo:
        turn.armed.remove(step.name)
    code, why = refusal.reason_code, refusal.reason
    attempt = reply.attempt or flight.attempt
    turn.write(Kind.REFUSED, step.name, attempt, reply.message_id, reason=code, why=why)
    _failed(turn, _unanswered(step) if code == ALREADY_UNDONE else Reason(code, why))


def _unanswered(step: Step[Data]) -> Reason:
    return Reason(f"{step.service}_timeout", f"The {step.service} service did not answer in time.")


# Deadlines


def _timeout(turn: Turn[Data], timeout: Timeout) -> None:
    flight = turn.flight(timeout.step)
    if flight is None or turn.deadline != timeout.deadline:
        why = "no longer in flight" if flight is None else "its deadline has moved"
        turn.write(Kind.STALE, timeout.step, timeout.attempt, deadline=timeout.deadline.isoformat(), why=why)
        return
    if turn.expires is not None and turn.expires <= timeout.deadline:
        _abandon(turn, Reason(SAGA_TIMEOUT, "The order took longer than it may."))
        return
    for waiting in tuple(turn.flights):
        if turn.flight(waiting.step) is waiting and waiting.wakes_at <= timeout.deadline:
            _wake(turn, turn.saga.steps[waiting.step], waiting, timeout)


def _wake(turn: Turn[Data], step: Step[Data], flight: Flight, timeout: Timeout) -> None:
    if flight.due is None or flight.due > timeout.deadline:
        turn.resend(step, flight)
    elif step.role is Role.PAUSE and step.until is None:
        _succeeded(turn, step, flight, None)
    elif step.gives_up and (again := _time_again(turn, step, flight, timeout.unwatched)) is not None:
        turn.give_time(step, again)
    elif step.gives_up or (step.role is Role.PAUSE and not turn.committed):
        turn.land(flight)
        reason = _unanswered(step)
        turn.write(Kind.UNKNOWN, step.name, flight.attempt, reason=reason.code, why=reason.text)
        _failed(turn, reason)
    else:
        turn.park(step, flight, f"{step.name} was not answered within {step.within}")


def _time_again(turn: Turn[Data], step: Step[Data], flight: Flight, gap: Gap | None) -> Flight | None:
    """The same flight with the time back in which nobody watched; None where there was none."""
    if flight.due is None:
        return None
    if gap is not None:
        since = max(gap.start, flight.due - step.within, flight.credited or gap.start)
        lost = min(gap.end, flight.due) - since
        if lost > timedelta(0):
            return replace(flight, due=max(flight.due, gap.end) + lost, credited=gap.end)
    if turn.now - flight.due > OVERDUE:
        return replace(flight, due=turn.now + step.within, retry_at=None)
    return None


# Cancels and events


def _cancel(turn: Turn[Data], cancel: Cancel) -> None:
    reason, cause = cancel.reason, cancel.message_id
    match turn.status:
        case Status.RUNNING if not turn.committed:
            turn.write(Kind.CANCEL_REQUESTED, message_id=cause, reason=reason.code, why=reason.text)
            _abandon(turn, reason)
        case Status.RUNNING if turn.kept_cancel is None:
            turn.kept_cancel = reason
            why = "past the point of no return: acted on when the saga is completed"
            turn.write(Kind.CANCEL_KEPT, message_id=cause, reason=reason.code, why=why)
        case Status.RUNNING:
            turn.write(Kind.REPEATED, message_id=cause, why="a cancel is kept already")
        case Status.COMPLETED:
            _pass_on(turn, reason, cause)
        case Status.COMPENSATING | Status.COMPENSATED:
            turn.write(Kind.REPEATED, message_id=cause, why=f"the saga is {turn.status} already")
        case _:
            assert_never(turn.status)


def _pass_on(turn: Turn[Data], reason: Reason, cause: MessageId | None) -> None:
    turn.cancel_due = reason
    turn.write(Kind.CANCEL_PASSED_ON, message_id=cause, reason=reason.code, why=reason.text)


def _happened(turn: Turn[Data], happened: Happened) -> None:
    told = type(happened.event).__name__
    for number, stage in enumerate(turn.saga.stages):
        step = stage.steps[0]
        if step.until is None or not isinstance(happened.event, step.until):
            continue
        if (flight := turn.flight(step.name)) is not None:
            _succeeded(turn, step, flight, happened.event, happened.message_id)
            return
        ahead = turn.status is Status.RUNNING and number > turn.saga.position[turn.stage]
        if ahead and step.name not in turn.early:
            turn.early.append(step.name)
            if step.keep is not None:
                turn.data = step.keep(turn.data, happened.event)
            why = "it came before the pause that waits for it"
            turn.write(Kind.REMEMBERED, step.name, None, happened.message_id, event=told, why=why)
            return
    turn.write(Kind.LATE, message_id=happened.message_id, event=told, why="nothing waits for it")


# The operator


def _operator(turn: Turn[Data], instance: Instance[Data], action: Action) -> Rejection | None:
    if action.revision != instance.revision:
        return Rejection.REVISION_CHANGED
    if instance.finished:
        return Rejection.FINISHED
    match action:
        case Resume():
            return _resume(turn, action)
        case Resend():
            return _resend(turn, action)
        case Compensate():
            return _compensate_by_hand(turn, action)
        case Force():
            return _force(turn, action)
        case _:
            assert_never(action)


def _note(turn: Turn[Data], action: Action, step: str | None = None) -> None:
    name = type(action).__name__.lower()
    if isinstance(action, Force):
        name = f"{name} {action.outcome}"
    turn.write(Kind.OPERATOR, step, action=name, operator=action.operator, why=action.why)


def _resume(turn: Turn[Data], action: Resume) -> Rejection | None:
    parked = [flight for flight in turn.flights if flight.due is None]
    if not parked:
        return Rejection.NOT_PARKED
    _note(turn, action)
    for flight in parked:
        turn.launch_again(turn.saga.steps[flight.step], flight)
    return None


def _resend(turn: Turn[Data], action: Resend) -> Rejection | None:
    asked = [flight for flight in turn.flights if flight.awaiting is not None]
    if not asked:
        return Rejection.NOTHING_TO_SEND
    _note(turn, action)
    for flight in asked:
        turn.resend(turn.saga.steps[flight.step], flight)
    return None


def _compensate_by_hand(turn: Turn[Data], action: Compensate) -> Rejection | None:
    if turn.status is Status.COMPENSATING:
        return Rejection.ALREADY_COMPENSATING
    if turn.committed:
        return Rejection.POINT_OF_NO_RETURN
    _note(turn, action)
    _abandon(turn, Reason(CANCELLED_BY_OPERATOR, action.why))
    return None


def _force(turn: Turn[Data], action: Force) -> Rejection | None:
    flight = turn.flight(action.step)
    if flight is None:
        return Rejection.NOT_IN_FLIGHT
    step = turn.saga.steps[action.step]
    if action.outcome is Outcome.SUCCEEDED:
        if step.keep is not None and not (step.proof and isinstance(action.event, step.proof)):
            return Rejection.EVENT_NEEDED
        _note(turn, action, step.name)
        _succeeded(turn, step, flight, action.event)
        return None
    if step.role in {Role.UNDO, Role.RETRIABLE}:
        return Rejection.CANNOT_BE_REFUSED
    if turn.committed:
        return Rejection.POINT_OF_NO_RETURN
    _note(turn, action, step.name)
    turn.land(flight)
    turn.write(Kind.UNKNOWN, step.name, flight.attempt, why="a forced refusal counts as unknown")
    _failed(turn, Reason(CANCELLED_BY_OPERATOR, action.why))
    return None
