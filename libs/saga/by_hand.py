"""What an operator may do to a saga, and what is refused."""

from typing import assert_never

from libs.contracts.reasons import CANCELLED_BY_OPERATOR
from libs.saga import course
from libs.saga.decision import Kind, Rejection
from libs.saga.definition import Role
from libs.saga.inputs import Action, Compensate, Force, Outcome, Resend, Resume
from libs.saga.instance import Data, Instance, Reason, Status
from libs.saga.turn import Turn


def act(turn: Turn[Data], instance: Instance[Data], action: Action) -> Rejection | None:
    """Do as the operator says; None, or why not, and then nothing of the turn may be kept."""
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
            return _compensate(turn, action)
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


def _compensate(turn: Turn[Data], action: Compensate) -> Rejection | None:
    if turn.status is Status.COMPENSATING:
        return Rejection.ALREADY_COMPENSATING
    if turn.committed:
        return Rejection.POINT_OF_NO_RETURN
    _note(turn, action)
    course.abandon(turn, Reason(CANCELLED_BY_OPERATOR, action.why))
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
        course.succeeded(turn, step, flight, action.event)
        return None
    if step.role in {Role.UNDO, Role.RETRIABLE}:
        return Rejection.CANNOT_BE_REFUSED
    if turn.committed:
        return Rejection.POINT_OF_NO_RETURN
    _note(turn, action, step.name)
    turn.land(flight)
    turn.write(Kind.UNKNOWN, step.name, flight.attempt, why="a forced refusal counts as unknown")
    course.failed(turn, Reason(CANCELLED_BY_OPERATOR, action.why))
    return None
