"""How an instance is written into one JSON column and read back."""

from collections.abc import Hashable
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Generic, cast

from pydantic import TypeAdapter

from libs.contracts.values import SagaId
from libs.saga.definition import Saga
from libs.saga.instance import Data, Flight, Instance, Reason, Status


@dataclass(frozen=True, slots=True)
class Memory(Generic[Data]):
    """What an instance remembers besides the columns of its row; JSON, by its fields' names."""

    data: Data
    stage: str
    flights: tuple[Flight, ...] = ()
    armed: tuple[str, ...] = ()
    reason: Reason | None = None
    failure: Reason | None = None
    kept_cancel: Reason | None = None
    early: tuple[str, ...] = ()
    expires: datetime | None = None


def _key(data: type[object]) -> Hashable:
    return cast("Hashable", data)


@cache
def _adapter(data: Hashable) -> TypeAdapter[Memory[object]]:
    return TypeAdapter(Memory[data])  # type: ignore[valid-type]


def dump(instance: Instance[Data]) -> str:
    """The JSON text of what an instance remembers; what is at its default is left out."""
    memory: Memory[object] = Memory(
        instance.data,
        instance.stage,
        instance.flights,
        instance.armed,
        instance.reason,
        instance.failure,
        instance.kept_cancel,
        instance.early,
        instance.expires,
    )
    return _adapter(_key(instance.data.__class__)).dump_json(memory, exclude_defaults=True).decode()


def restore(
    saga: Saga[Data],
    saga_id: SagaId,
    status: Status,
    revision: int,
    parked_at: datetime | None,
    memory: str | bytes,
) -> Instance[Data]:
    """The instance that `dump` was called with; raises pydantic's ValidationError on anything else."""
    held = cast("Memory[Data]", _adapter(_key(saga.data)).validate_json(memory))
    return Instance(
        saga_id,
        saga.name,
        saga.version,
        status,
        held.stage,
        held.data,
        revision,
        held.flights,
        held.armed,
        held.reason,
        held.failure,
        held.kept_cancel,
        held.early,
        held.expires,
        parked_at,
    )
