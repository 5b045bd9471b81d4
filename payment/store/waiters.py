"""Those who wait for an answer, as jsonb: the headers that their answers will carry."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias
from uuid import UUID

from libs.contracts.values import MessageId, SagaId
from libs.messaging.message import Correlation, Trace

Stored: TypeAlias = dict[str, str | int]


def waiters_to(waiters: Iterable[Correlation]) -> list[Stored]:
    """What is stored: the headers that are there, by their names."""
    return [_headers(waiter) for waiter in waiters]


def waiters_from(stored: Sequence[Mapping[str, str | int]]) -> tuple[Correlation, ...]:
    """What was stored."""
    return tuple(_correlation(one) for one in stored)


def _headers(waiter: Correlation) -> Stored:
    trace = waiter.trace
    given = {
        "saga_id": None if waiter.saga_id is None else str(waiter.saga_id),
        "step": waiter.step,
        "attempt": waiter.attempt,
        "causation_id": None if waiter.causation_id is None else str(waiter.causation_id),
        "traceparent": None if trace is None else trace.parent,
        "tracestate": None if trace is None else trace.state,
    }
    return {name: value for name, value in given.items() if value is not None}


def _correlation(stored: Mapping[str, str | int]) -> Correlation:
    attempt = stored.get("attempt")
    parent, state = _text(stored, "traceparent"), _text(stored, "tracestate")
    return Correlation(
        saga_id=None if (saga := _text(stored, "saga_id")) is None else SagaId(UUID(saga)),
        step=_text(stored, "step"),
        attempt=attempt if isinstance(attempt, int) else None,
        causation_id=None if (cause := _text(stored, "causation_id")) is None else MessageId(UUID(cause)),
        trace=None if parent is None else Trace(parent, state),
    )


def _text(stored: Mapping[str, str | int], name: str) -> str | None:
    value = stored.get(name)
    return value if isinstance(value, str) else None
