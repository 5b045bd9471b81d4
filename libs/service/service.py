"""What a service is to its host: how it loads and saves, and which function decides on which message."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeAlias, TypeVar

from fastapi import APIRouter

from libs.contracts.message import Contract
from libs.messaging.message import Message, Outgoing
from libs.outbox.transaction import Transaction
from libs.service.runtime import Runtime

State = TypeVar("State")
Body = TypeVar("Body")

Answer: TypeAlias = Contract | Outgoing | Sequence[Contract | Outgoing] | None
"""What a decide function sends: nothing, one message or several, in order."""


@dataclass(frozen=True, slots=True)
class Route(Generic[State]):
    """A kind of message and the pure function that decides on it."""

    body: type[object]
    decide: Callable[[State, Message[object]], Answer]


def on(body: type[Body], decide: Callable[[State, Body], Answer]) -> Route[State]:
    """Decide on the payload alone; the host correlates the answer."""
    return Route(body, lambda state, message: decide(state, message.body))  # type: ignore[arg-type]


def on_message(
    body: type[Body], decide: Callable[[State, Message[Body]], Answer]
) -> Route[State]:
    """Decide on the payload and its envelope."""
    return Route(body, decide)  # type: ignore[arg-type]


Load: TypeAlias = Callable[[Transaction, Sequence[Message[object]]], Awaitable[State]]
Save: TypeAlias = Callable[[Transaction, State], Awaitable[None]]
Worker: TypeAlias = Callable[[Runtime], Awaitable[None]]
"""A background task; it runs until cancelled, and the host runs it again, later and later, when it raises."""
