"""What follows when the time of a step, or of a whole saga, is over."""

from dataclasses import replace
from datetime import timedelta
from typing import Final

from libs.saga import course
from libs.saga.decision import Kind
from libs.saga.definition import Role, Step
from libs.saga.inputs import Gap, Timeout
from libs.saga.instance import Data, Flight, Reason
from libs.saga.turn import Turn

OVERDUE: Final = timedelta(seconds=10)
"""A deadline met later than this was watched by nobody: the step gets its time again, as an outage of
the orchestrator must not cancel anything (its command may still lie in the outbox)."""

SAGA_TIMEOUT: Final = "saga_timeout"


def timed_out(turn: Turn[Data], timeout: Timeout) -> None:
    """Wake what was due by then; a deadline that has moved, or whose flight has ended, is stale and changes nothing."""
    flight = turn.flight(timeout.step)
    if flight is None or turn.deadline != timeout.deadline:
        why = "no longer in flight" if flight is None else "its deadline has moved"
        turn.write(Kind.STALE, timeout.step, timeout.attempt, deadline=timeout.deadline.isoformat(), why=why)
        return
    if turn.expires is not None and turn.expires <= timeout.deadline:
        course.abandon(turn, Reason(SAGA_TIMEOUT, "The order took longer than it may."))
        return
    for waiting in tuple(turn.flights):
        if turn.flight(waiting.step) is waiting and waiting.wakes_at <= timeout.deadline:
            _wake(turn, turn.saga.steps[waiting.step], waiting, timeout)


def _wake(turn: Turn[Data], step: Step[Data], flight: Flight, timeout: Timeout) -> None:
    if flight.due is None or flight.due > timeout.deadline:
        turn.resend(step, flight)
    elif step.role is Role.PAUSE and step.until is None:
        course.succeeded(turn, step, flight, None)
    elif step.gives_up and (again := _time_again(turn, step, flight, timeout.unwatched)) is not None:
        turn.give_time(step, again)
    elif step.gives_up or (step.role is Role.PAUSE and not turn.committed):
        turn.land(flight)
        reason = course.unanswered(step)
        turn.write(Kind.UNKNOWN, step.name, flight.attempt, reason=reason.code, why=reason.text)
        course.failed(turn, reason)
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
