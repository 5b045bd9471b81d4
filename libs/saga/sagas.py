"""The definitions that a process knows, by type and version."""

from collections.abc import Iterable
from types import MappingProxyType
from typing import Protocol, TypeAlias

from libs.contracts.message import Event
from libs.saga.definition import DefinitionError, Saga

SagaType: TypeAlias = tuple[str, int]


class Definition(Protocol):
    """A saga of whatever data."""

    name: str
    version: int


class Sagas:
    """Several sagas, each in every version that may still be under way."""

    def __init__(self, *definitions: Definition) -> None:
        known: dict[SagaType, Saga[object]] = {}
        for saga in definitions:
            if not isinstance(saga, Saga):
                raise DefinitionError(f"{saga!r} is no saga")
            if (saga.name, saga.version) in known:
                raise DefinitionError(f"{saga!r} is defined twice")
            known[saga.name, saga.version] = saga
        self.known = MappingProxyType(known)

    def of(self, name: str, version: int) -> Saga[object] | None:
        """The definition of a type in a version, if it is known."""
        return self.known.get((name, version))

    def unknown(self, found: Iterable[SagaType]) -> list[SagaType]:
        """Those of `found` that no definition is known for."""
        return sorted(set(found) - self.known.keys())

    @property
    def replies(self) -> list[type[Event]]:
        """Every event that answers a command of these sagas, each once, by wire name."""
        commands = {step.command for saga in self.known.values() for step in saga.steps.values()}
        events = {
            event
            for command in commands
            if command is not None
            for event in (command.done, command.refused)
            if event is not None
        }
        return sorted(events, key=lambda event: event.wire)

    @property
    def reply_topics(self) -> list[str]:
        """The topics that the answers come on."""
        return sorted({event.topic for event in self.replies})
