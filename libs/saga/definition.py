"""How a saga is written down: its steps, in order, each with what undoes it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from typing import Final, Generic, Never, TypeAlias, TypeVar, get_type_hints

from libs.contracts.message import Command, Event, Refusal
from libs.saga.instance import Data, Reason

Done = TypeVar("Done", bound=Event)
AnyCommand: TypeAlias = Command[Event, Refusal]

WITHIN: Final = timedelta(seconds=30)
"""How long a step may be in flight, all its attempts together, unless it says otherwise."""


def seconds(number: float) -> timedelta:
    """`within=seconds(15)`."""
    return timedelta(seconds=number)


class DefinitionError(ValueError):
    """A saga that could not be run as written; raised when it is constructed."""


@dataclass(frozen=True, slots=True)
class Retry:
    """When a command that stays unanswered is sent again.

    `attempts` bounds a compensable step only: an undo, a pivot or a retriable step is sent again
    without end. The wait grows by `factor` up to `longest`, jitter included.
    """

    attempts: int
    first: timedelta
    factor: float = 2.0
    longest: timedelta = timedelta(minutes=5)

    def wait(self, attempt: int, jitter: float) -> timedelta:
        """How long after the `attempt`-th sending (the first is 1) the next one follows."""
        grown = self.first * self.factor ** min(attempt - 1, 40)
        return min(grown, self.longest) * jitter


PATIENT: Final = Retry(attempts=2, first=seconds(15))
PERSISTENT: Final = Retry(attempts=1, first=seconds(10))


class Role(StrEnum):
    """What a step is to its saga."""

    COMPENSABLE = "compensable"
    PIVOT = "pivot"
    RETRIABLE = "retriable"
    PAUSE = "pause"
    UNDO = "undo"
    NOTICE = "notice"


@dataclass(frozen=True, slots=True, eq=False)
class Step(Generic[Data]):
    """A step of a saga, called as its function. Made by `compensable`, `pivot`, `retriable`, `pause`."""

    name: str
    role: Role
    data: type[Data]
    within: timedelta = WITHIN
    retry: Retry = PATIENT
    command: type[AnyCommand] | None = None
    make: Callable[[Data, Reason], AnyCommand] | None = None
    keep: Callable[[Data, Event], Data] | None = None
    undo: "Step[Data] | None" = None
    lasts: Callable[[Data], timedelta] | None = None
    until: type[Event] | None = None

    @property
    def gives_up(self) -> bool:
        """Whether its outcome may become unknown; what does not give up is parked, and retried."""
        return self.role is Role.COMPENSABLE

    @property
    def refused(self) -> type[Refusal] | None:
        """How its command may be refused."""
        return None if self.command is None else self.command.refused

    @property
    def proof(self) -> type[Event] | None:
        """The event that says that it was done."""
        return self.until if self.command is None else self.command.done

    @property
    def service(self) -> str:
        """Who is asked: the first part of the command's wire name."""
        return self.name if self.command is None else self.command.wire.partition(".")[0]


def compensable(
    do: Callable[[Data], Command[Done, Refusal]],
    *,
    undo: Callable[[Data, Reason], Command[Event, Never]] | None,
    keep: Callable[[Data, Done], Data] | None = None,
    within: timedelta = WITHIN,
    retry: Retry | None = None,
    undo_within: timedelta = WITHIN,
    undo_retry: Retry = PERSISTENT,
) -> Step[Data]:
    """A step that can be undone; `undo=None` says that it leaves nothing to undo.

    `keep` takes what the saga needs out of the step's event. A command that stays unanswered
    `within` this time has an unknown outcome, and is undone. Undo retries without end; unanswered
    for `undo_within` it parks the saga.
    """
    return replace(
        _asking(do, Role.COMPENSABLE, keep, within, retry or Retry(2, within / 2)),
        undo=None if undo is None else _telling(undo, Role.UNDO, undo_within, undo_retry),
    )


def pivot(
    do: Callable[[Data], Command[Done, Refusal]],
    *,
    keep: Callable[[Data, Done], Data] | None = None,
    within: timedelta = WITHIN,
    retry: Retry = PERSISTENT,
) -> Step[Data]:
    """The step that decides: refused, all before it is undone; done, there is no way back.

    It has no undo, so it is retried until it is answered; unanswered `within` this time it parks.
    """
    return _asking(do, Role.PIVOT, keep, within, retry)


def retriable(
    do: Callable[[Data], Command[Done, Never]],
    *,
    keep: Callable[[Data, Done], Data] | None = None,
    within: timedelta = WITHIN,
    retry: Retry = PERSISTENT,
) -> Step[Data]:
    """A step after the point of no return; it cannot be refused and is retried until it is done."""
    return _asking(do, Role.RETRIABLE, keep, within, retry)


def pause(
    lasts: Callable[[Data], timedelta],
    *,
    until: type[Done] | None = None,
    keep: Callable[[Data, Done], Data] | None = None,
) -> Step[Data]:
    """A durable timer; with `until`, it ends when that event comes, which may be early.

    A pause of no length is passed over. One whose event does not come in time undoes the saga,
    or parks it where there is no way back.
    """
    if keep is not None and until is None:
        raise DefinitionError(f"{_name(lasts)} keeps something of an event that it does not wait for")
    return Step(
        _name(lasts),
        Role.PAUSE,
        _data(lasts),
        lasts=lasts,
        until=until,
        keep=keep,  # type: ignore[arg-type]
    )


class Join(StrEnum):
    """When a parallel group that met a failure turns back; either way its steps in flight are awaited."""

    FAIL_FAST = "fail_fast"
    WAIT_ALL = "wait_all"


@dataclass(frozen=True, slots=True, eq=False)
class Stage(Generic[Data]):
    """Steps that are in flight together; most stages have one."""

    name: str
    steps: tuple[Step[Data], ...]
    join: Join = Join.FAIL_FAST


def together(*steps: Step[Data], join: Join = Join.FAIL_FAST) -> Stage[Data]:
    """Run steps in parallel; the saga goes on when all are done.

    `FAIL_FAST` shows the saga as compensating with the first refusal, `WAIT_ALL` with the last
    answer; undoing begins when nothing of the group is in flight any more.
    """
    if not steps:
        raise DefinitionError("a parallel group has steps")
    return Stage("+".join(step.name for step in steps), steps, join)


class Saga(Generic[Data]):
    """A definition: a name, a version, and the steps in their order.

    An instance keeps the version that it was started with: change a definition that has run by
    adding one with the next version. `deadline` bounds the way to the point of no return.
    `on_compensation` makes a notice that is sent once when undoing begins, and never awaited.
    """

    def __init__(
        self,
        name: str,
        *,
        version: int,
        steps: Sequence[Step[Data] | Stage[Data]],
        on_compensation: Callable[[Data, Reason], AnyCommand] | None = None,
        deadline: timedelta | None = None,
    ) -> None:
        stages = tuple(map(_stage, steps))
        if not stages:
            raise DefinitionError(f"saga {name} version {version} has no steps")
        self.name, self.version = name, version
        self.stages, self.deadline, self._on_compensation = stages, deadline, on_compensation
        self.notice = on_compensation and _telling(on_compensation, Role.NOTICE, WITHIN, PERSISTENT)
        self.steps = {step.name: step for step in self._every()}
        """Every step by its name, undos and notice included."""
        self.undoes = {s.undo.name: s.name for stage in stages for s in stage.steps if s.undo}
        """The step that an undo belongs to."""
        self.position = {stage.name: number for number, stage in enumerate(stages)}
        self.no_return = next(
            (n for n, s in enumerate(stages) if s.steps[0].role in {Role.PIVOT, Role.RETRIABLE}),
            len(stages),
        )
        """The stage that, once sent, leaves no way back but a refusal."""
        self._check()
        self.data: type[Data] = stages[0].steps[0].data

    def _every(self) -> Iterator[Step[Data]]:
        for stage in self.stages:
            for step in stage.steps:
                yield step
                if step.undo:
                    yield step.undo
        if self.notice:
            yield self.notice

    def tuned(self, **times: timedelta) -> "Saga[Data]":
        """The same process with other times: a step's `within`, or how long a pause lasts, by name."""
        if unknown := times.keys() - self.steps.keys():
            raise DefinitionError(f"{self.name} has no step {', '.join(sorted(unknown))}")
        stages = tuple(
            replace(stage, steps=tuple(_tuned(step, times) for step in stage.steps)) for stage in self.stages
        )
        return Saga(
            self.name,
            version=self.version,
            steps=stages,
            on_compensation=self._on_compensation,
            deadline=self.deadline,
        )

    def _check(self) -> None:
        where = f"saga {self.name} version {self.version}"
        names = [step.name for step in self._every()]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise DefinitionError(f"{where} has more than one step called {', '.join(twice)}")
        if len({step.data for step in self._every()}) > 1:
            raise DefinitionError(f"the steps of {where} work on different data")
        for stage in self.stages:
            _check_group(stage, where)
        for number, stage in enumerate(self.stages):
            for step in stage.steps:
                if number > self.no_return and step.role in {Role.COMPENSABLE, Role.PIVOT}:
                    raise DefinitionError(
                        f"{step.name} of {where} comes after the point of no return "
                        f"({self.stages[self.no_return].name}) and could not be undone"
                    )

    def __repr__(self) -> str:
        return f"<saga {self.name} version {self.version}>"


def _stage(item: Step[Data] | Stage[Data]) -> Stage[Data]:
    return item if isinstance(item, Stage) else Stage(item.name, (item,))


def _check_group(stage: Stage[Data], where: str) -> None:
    roles = {step.role for step in stage.steps}
    if len(stage.steps) > 1 and (len(roles) > 1 or roles <= {Role.PIVOT, Role.PAUSE}):
        raise DefinitionError(f"{stage.name} of {where}: parallel steps are all compensable or all retriable")


def _tuned(step: Step[Data], times: dict[str, timedelta]) -> Step[Data]:
    if step.undo:
        step = replace(step, undo=_tuned(step.undo, times))
    if (time := times.get(step.name)) is None:
        return step
    if step.role is Role.PAUSE:
        return replace(step, lasts=lambda _: time)
    if step.gives_up:
        return replace(step, within=time, retry=replace(step.retry, first=time / 2))
    return replace(step, within=time)


def _asking(
    do: Callable[[Data], Command[Done, Refusal]],
    role: Role,
    keep: Callable[[Data, Done], Data] | None,
    within: timedelta,
    retry: Retry,
) -> Step[Data]:
    return Step(
        _name(do),
        role,
        _data(do),
        within,
        retry,
        _command(do),
        lambda data, _: do(data),
        keep,  # type: ignore[arg-type]  # it is called with the command's own event only
    )


def _telling(
    make: Callable[[Data, Reason], AnyCommand], role: Role, within: timedelta, retry: Retry
) -> Step[Data]:
    return Step(_name(make), role, _data(make), within, retry, _command(make), make)


def _name(function: Callable[..., object]) -> str:
    name: str = getattr(function, "__name__", "")
    if not name.isidentifier():
        raise DefinitionError(f"{function!r} has no name of its own, and a step is called as its function")
    return name


def _data(function: Callable[..., object]) -> type[Data]:
    hints = {name: hint for name, hint in get_type_hints(function).items() if name != "return"}
    found = next(iter(hints.values()), None)
    if not isinstance(found, type):
        raise DefinitionError(f"{_name(function)} does not say what data it works on")
    return found


def _command(function: Callable[..., object]) -> type[AnyCommand]:
    found = get_type_hints(function).get("return")
    if not (isinstance(found, type) and issubclass(found, Command)):
        raise DefinitionError(f"{_name(function)} does not say which command it makes")
    if not all(hasattr(found, part) for part in ("wire", "topic", "done")):
        raise DefinitionError(f"{found.__name__} has no contract: it needs wire, topic and its answers")
    return found
