"""What must hold of every turn of any saga, whatever it is about: its status, its revision, its journal."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from libs.saga.decision import Entry, Kind
from libs.saga.definition import Role, Saga
from libs.saga.inputs import Gap, Timeout
from libs.saga.instance import Flight, Instance, Status
from libs.saga.memory import dump, restore


def not_a_step(saga: Saga[Any], before: Instance[Any] | None, after: Instance[Any]) -> str | None:
    """I7: revisions go up by one, statuses only forward; and a saga reads back as it was written."""
    if after.revision != (1 if before is None else before.revision + 1):
        return f"I7: {after.type} went to revision {after.revision}"
    if before is not None and after.status not in _WAYS[before.status]:
        return f"I7: {after.type} went from {before.status} to {after.status}"
    if after.finished != (after.deadline is None):
        return f"{after.type} is {after.status} with deadline {after.deadline}"
    text = dump(after)
    if restore(saga, after.id, after.status, after.revision, after.parked_at, text) != after:
        return f"{after.type} is not read back as it was written"
    return None


_WAYS: Final = {
    Status.RUNNING: {Status.RUNNING, Status.COMPENSATING, Status.COMPENSATED, Status.COMPLETED},
    Status.COMPENSATING: {Status.COMPENSATING, Status.COMPENSATED},
    Status.COMPLETED: {Status.COMPLETED},
    Status.COMPENSATED: {Status.COMPENSATED},
}
_AFTER_THE_END: Final = frozenset(
    {
        Kind.LATE,
        Kind.STALE,
        Kind.REPEATED,
        Kind.UNEXPECTED,
        Kind.NOTICE_ANSWERED,
        Kind.CANCEL_PASSED_ON,
    }
)


def judged(
    saga: Saga[Any], before: Instance[Any] | None, lines: Sequence[Entry], owed: tuple[str, ...]
) -> tuple[tuple[str, ...], str | None]:
    """I6 and I7 from the journal of a turn alone: which undos are owed, and what is wrong."""
    stack = list(owed)
    refused = any(line.kind is Kind.REFUSED for line in lines)
    ended = before is not None and before.finished
    for line in lines:
        if ended and line.kind not in _AFTER_THE_END:
            return owed, f"I6: after its end: {read_out(line)}"
        if (wrong := _entry_judged(saga, line, stack, before, refused=refused)) is not None:
            return owed, f"I6: {wrong}"
        ended = ended or line.kind in {Kind.COMPLETED, Kind.COMPENSATED}
    return tuple(stack), None


def _entry_judged(  # noqa: C901, PLR0911, PLR0912 - a table: one rule for each kind
    saga: Saga[Any], line: Entry, stack: list[str], before: Instance[Any] | None, *, refused: bool
) -> str | None:
    step = None if line.step is None else saga.steps[line.step]
    match line.kind:
        case Kind.SENT if step is not None and step.role is Role.UNDO:
            if not stack or saga.undoes[step.name] != stack[-1]:
                return f"{step.name} was sent, owed are the undos of {stack}"
        case Kind.SENT if step is not None:
            if before is not None and before.status is not Status.RUNNING:
                return f"{step.name} was sent by a saga that is {before.status}"
            if step.undo:
                stack.append(step.name)
        case Kind.STARTED if before is not None:
            return "started twice"
        case Kind.CANCEL_REQUESTED if before is None:
            stack.extend(step.name for step in saga.stages[0].steps if step.undo)
        case Kind.REFUSED if step is not None and step.name in stack:
            stack.remove(step.name)
        case Kind.COMPENSATING if before is not None and not refused:
            if saga.position[before.stage] >= saga.no_return:
                return "it turned back after the point of no return"
        case Kind.UNDONE if step is not None:
            if not stack or saga.undoes[step.name] != stack.pop():
                return f"{step.name} was done, which was not the next to be undone"
        case Kind.COMPENSATED if stack:
            return f"compensated, and the undos of {stack} are owed"
        case _:
            pass
    return None


def read_out(entry: Entry) -> str:
    """A journal entry in a line."""
    detail = dict(entry.detail)
    told = [entry.kind.value, entry.step or "", f"(attempt {entry.attempt})" if entry.attempt else ""]
    told += [
        detail[name] for name in ("command", "answer", "reason", "undo", "action", "why") if name in detail
    ]
    return " ".join(part for part in told if part)


def earlier(saga: Instance[Any], passes: timedelta) -> Instance[Any]:
    """A saga after so much time has passed, seen from the same moment."""

    def moved(moment: datetime | None) -> datetime | None:
        return None if moment is None else moment - passes

    def closer(flight: Flight) -> Flight:
        times = (flight.due, flight.retry_at, flight.credited)
        due, retry_at, credited = (moved(moment) for moment in times)
        return replace(flight, due=due, retry_at=retry_at, credited=credited)

    flights = tuple(closer(flight) for flight in saga.flights)
    return saga._replace(flights=flights, expires=moved(saga.expires))


def moved(timeout: Timeout, passes: timedelta) -> Timeout:
    """A claimed deadline after so much time has passed, seen from the same moment."""
    gap = timeout.unwatched
    moved = None if gap is None else Gap(gap.start - passes, gap.end - passes)
    return replace(timeout, deadline=timeout.deadline - passes, unwatched=moved)
