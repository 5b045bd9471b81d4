"""The definitions that a process knows, by type and version."""

from collections.abc import Iterable
from types import MappingProxyType
from typing import TypeAlias

from libs.saga.definition import DefinitionError, Saga

SagaType: TypeAlias = tuple[str, int]


class Sagas:
    """Several sagas, each in every version that may still be under way."""

    def __init__(self, *definitions: Saga[object]) -> None:
        known: dict[SagaType, Saga[object]] = {}
        for saga in definitions:
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
