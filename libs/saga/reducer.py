"""Decides what a saga does next; pure, and defined for every input in every state."""

from datetime import datetime
from typing import assert_never

from libs.contracts.message import Refusal
from libs.contracts.reasons import ALREADY_UNDONE
from libs.contracts.values import SagaId
from libs.saga import by_hand, course, deadlines
from libs.saga.decision import Decision, Kind
from libs.saga.definition import Role, Saga, Step
from libs.saga.inputs import (
    Cancel,
    Compensate,
    Force,
    Happened,
    Input,
    Repeated,
    Reply,
    Resend,
    Resume,
    Timeout,
)
from libs.saga.instance import Data, Flight, Instance, Reason, Status
from libs.saga.turn import Turn


def start(saga: Saga[Data], saga_id: SagaId, data: Data, now: datetime) -> Decision[Data]:
    """A new saga that sends its first commands."""
    turn = _new(saga, saga_id, data, Status.RUNNING, now)
    if saga.deadline is not None:
        turn.expires = now + saga.deadline
    course.enter(turn, 0)
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
    course.turn_back(turn, reason)
    course.undo_next(turn)
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
            deadlines.timed_out(turn, received)
        case Cancel():
            _cancel(turn, received)
        case Happened():
            _happened(turn, received)
        case Repeated():
            turn.write(Kind.REPEATED, message_id=received.message_id, why="this saga was started before")
        case Resume() | Resend() | Compensate() | Force():
            if (rejected := by_hand.act(turn, instance, received)) is not None:
                return Decision(instance, rejected=rejected)
        case _:
            assert_never(received)
    return turn.decision()


def _new(saga: Saga[Data], saga_id: SagaId, data: Data, status: Status, now: datetime) -> Turn[Data]:
    first = saga.stages[0].name
    turn = Turn(saga, Instance(saga_id, saga.name, saga.version, status, first, data), now)
    turn.write(Kind.STARTED, saga=saga.name, version=str(saga.version))
    return turn


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
        course.succeeded(turn, step, flight, reply.body, reply.message_id, reply.attempt)
    elif step.refused is not None and isinstance(reply.body, step.refused):
        _refused(turn, step, flight, reply.body, reply)
    else:
        why = "not an answer to this step's command"
        turn.write(Kind.UNEXPECTED, reply.step, reply.attempt, reply.message_id, answer=told, why=why)


def _refused(turn: Turn[Data], step: Step[Data], flight: Flight, refusal: Refusal, reply: Reply) -> None:
    turn.land(flight)
    if step.undo:
        turn.armed.remove(step.name)
    code, why = refusal.reason_code, refusal.reason
    attempt = reply.attempt or flight.attempt
    turn.write(Kind.REFUSED, step.name, attempt, reply.message_id, reason=code, why=why)
    course.failed(turn, course.unanswered(step) if code == ALREADY_UNDONE else Reason(code, why))


def _cancel(turn: Turn[Data], cancel: Cancel) -> None:
    reason, cause = cancel.reason, cancel.message_id
    match turn.status:
        case Status.RUNNING if not turn.committed:
            turn.write(Kind.CANCEL_REQUESTED, message_id=cause, reason=reason.code, why=reason.text)
            course.abandon(turn, reason)
        case Status.RUNNING if turn.kept_cancel is None:
            turn.kept_cancel = reason
            why = "past the point of no return: acted on when the saga is completed"
            turn.write(Kind.CANCEL_KEPT, message_id=cause, reason=reason.code, why=why)
        case Status.RUNNING:
            turn.write(Kind.REPEATED, message_id=cause, why="a cancel is kept already")
        case Status.COMPLETED:
            course.pass_on(turn, reason, cause)
        case Status.COMPENSATING | Status.COMPENSATED:
            turn.write(Kind.REPEATED, message_id=cause, why=f"the saga is {turn.status} already")
        case _:
            assert_never(turn.status)


def _happened(turn: Turn[Data], happened: Happened) -> None:
    told = type(happened.event).__name__
    for number, stage in enumerate(turn.saga.stages):
        step = stage.steps[0]
        if step.until is None or not isinstance(happened.event, step.until):
            continue
        if (flight := turn.flight(step.name)) is not None:
            course.succeeded(turn, step, flight, happened.event, happened.message_id)
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
