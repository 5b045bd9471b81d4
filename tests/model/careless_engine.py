"""What the engine and the orchestrator would do without their safeguards, one function for each."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import order_saga.domain
from libs.contracts.order_saga import SagaCancelOrder, SagaCreateOrder
from libs.messaging.message import Message, Outgoing
from libs.saga import by_hand, course, deadlines, reducer
from libs.saga.decision import Kind, Rejection
from libs.saga.definition import Role, Step
from libs.saga.inputs import Action, Cancel, Compensate, Force, Happened, Outcome, Reply, Timeout
from libs.saga.instance import Flight, Instance, Reason, Status
from libs.saga.turn import Turn
from order_saga.domain import CANCEL, CREATE, Case, Desk

AnyTurn = Turn[Any]
AnyStep = Step[Any]

_begin, _enter, _go_on = course._begin, course.enter, course.go_on
_succeeded, _undo_next = course.succeeded, course.undo_next
_reply, _refused, _cancel, _happened = reducer._reply, reducer._refused, reducer._cancel, reducer._happened
_wake, _timed_out = deadlines._wake, deadlines.timed_out
_act, _force, _compensate_by_hand = by_hand.act, by_hand._force, by_hand._compensate
_cancel_order, _take_back = order_saga.domain.cancel, order_saga.domain._take_back


def begin_unarmed(turn: AnyTurn, step: AnyStep) -> None:
    _begin(turn, step)
    if step.name in turn.armed:
        turn.armed.remove(step.name)


def succeeded_and_armed(turn: AnyTurn, step: AnyStep, flight: Flight, *rest: Any) -> None:
    if step.role is Role.COMPENSABLE and step.undo:
        turn.armed.append(step.name)
    _succeeded(turn, step, flight, *rest)


def refused_unarmed(turn: AnyTurn, step: AnyStep, *rest: Any) -> None:
    if step.undo:
        turn.armed.append(step.name)
    _refused(turn, step, *rest)


def undo_oldest(turn: AnyTurn) -> None:
    turn.armed.reverse()
    _undo_next(turn)
    turn.armed.reverse()


def refused_and_undone(turn: AnyTurn, step: AnyStep, *rest: Any) -> None:
    """Keep the refused step among those that are undone."""
    if step.undo:
        turn.armed.append(step.name)
    _refused(turn, step, *rest)


def wake_and_disarm(turn: AnyTurn, step: AnyStep, flight: Flight, timeout: Timeout) -> None:
    ends = flight.due is not None and flight.due <= timeout.deadline
    if ends and step.gives_up and step.name in turn.armed:
        turn.armed.remove(step.name)
    _wake(turn, step, flight, timeout)


def force_and_disarm(turn: AnyTurn, action: Force) -> Rejection | None:
    if action.outcome is Outcome.REFUSED and action.step in turn.armed and not turn.committed:
        turn.armed.remove(action.step)
    return _force(turn, action)


def park_and_forget(turn: AnyTurn, step: AnyStep, flight: Flight, _cause: str) -> None:
    """Give an undo up instead."""
    turn.land(flight)
    if step.role is Role.UNDO:
        turn.armed.remove(turn.saga.undoes[step.name])
    course.go_on(turn)


def resend_nothing(turn: AnyTurn, step: AnyStep, flight: Flight) -> None:
    turn.fly(replace(flight, retry_at=turn.now + step.within))


def reply_to_anything(turn: AnyTurn, reply: Reply) -> None:
    step = turn.saga.steps.get(reply.step)
    if step is not None and step.role is not Role.NOTICE and turn.flight(reply.step) is None:
        turn.fly(Flight(step.name, 1, None, turn.now, None))
    _reply(turn, reply)


def timeout_of_anything(turn: AnyTurn, timeout: Timeout) -> None:
    foremost = min(turn.flights, key=lambda flight: flight.wakes_at, default=None)
    if foremost is not None and turn.deadline is not None:
        timeout = Timeout(foremost.step, foremost.attempt, turn.deadline, timeout.unwatched)
    _timed_out(turn, timeout)


def cancel_past_return(turn: AnyTurn, cancel: Cancel) -> None:
    if turn.status is Status.RUNNING:
        course.abandon(turn, cancel.reason)
    else:
        _cancel(turn, cancel)


def cancel_not_kept(turn: AnyTurn, cancel: Cancel) -> None:
    if turn.status is Status.RUNNING and turn.committed:
        turn.write(Kind.REPEATED, why="too late")
    else:
        _cancel(turn, cancel)


def operator_on_anything(turn: AnyTurn, instance: Instance[Any], action: Action) -> Rejection | None:
    return _act(turn, instance, replace(action, revision=instance.revision))


def compensate_past_return(turn: AnyTurn, action: Compensate) -> Rejection | None:
    if turn.status is Status.RUNNING and turn.committed:
        course.abandon(turn, Reason("cancelled_by_operator", action.why))
        return None
    return _compensate_by_hand(turn, action)


def go_on_without_siblings(turn: AnyTurn) -> None:
    """Undo at once, whatever is still in flight."""
    if turn.status is Status.COMPENSATING:
        course.undo_next(turn)
    else:
        _go_on(turn)


def happened_too_early(turn: AnyTurn, happened: Happened) -> None:
    """Hear an event only while something waits for it."""
    if any(turn.saga.steps[flight.step].until is not None for flight in turn.flights):
        _happened(turn, happened)
    else:
        turn.write(Kind.LATE, message_id=happened.message_id)


def enter_with_deadline(turn: AnyTurn, number: int) -> None:
    """Keep the saga's deadline past the point of no return."""
    expires = turn.expires
    _enter(turn, number)
    if turn.status is Status.RUNNING:
        turn.expires = expires


def cancel_unknown(desk: Desk, message: Message[SagaCancelOrder]) -> Sequence[Outgoing]:
    if desk.of_order(message.key, CREATE) is None:
        return []
    return order_saga.domain.cancel(desk, message)


def cancel_retired(desk: Desk, message: Message[SagaCancelOrder]) -> Sequence[Outgoing]:
    """Take a saga that has ended in an unknown version for one that never was."""
    desk.retired.clear()
    return _cancel_order(desk, message)


def begin_again(desk: Desk, message: Message[SagaCreateOrder]) -> Sequence[Outgoing]:
    desk.by_order.pop((message.key, CREATE), None)
    return order_saga.domain.begin(desk, message)


def take_back_again(desk: Desk, case: Case, reason: Reason, message: Message[object]) -> Sequence[Outgoing]:
    desk.by_order.pop((case.order_id, CANCEL), None)
    return _take_back(desk, case, reason, message)
