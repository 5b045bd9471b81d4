"""What a service is to its host: how it loads and saves, and which function decides on which message."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

from fastapi import APIRouter, FastAPI
from starlette.types import ASGIApp

from libs.contracts.message import Contract
from libs.messaging.message import Message, Outgoing
from libs.outbox.transaction import Transaction
from libs.service.auth import KeySource
from libs.service.database import Database
from libs.service.runtime import Runtime
from libs.service.settings import Settings

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


def on_message(body: type[Body], decide: Callable[[State, Message[Body]], Answer]) -> Route[State]:
    """Decide on the payload and its envelope."""
    return Route(body, decide)  # type: ignore[arg-type]


Load: TypeAlias = Callable[[Transaction, Sequence[Message[object]]], Awaitable[State]]
Save: TypeAlias = Callable[[Transaction, State], Awaitable[None]]
Worker: TypeAlias = Callable[[Runtime], Awaitable[None]]
"""A background task; it runs until cancelled, and the host runs it again, later and later, when it raises."""


@dataclass(frozen=True, slots=True)
class Gated:
    """Topics that are read by a consumer of their own, and only while there is room.

    `room` says how many records may be taken now; at zero it is asked again after the next commit.
    """

    topics: tuple[str, ...]
    room: Callable[[Runtime], Awaitable[int]]


@dataclass(frozen=True, slots=True)
class Paced:
    """Topics that nobody waits for: read by a consumer of their own, which takes what belongs together at once.

    Its batches begin at least `seconds` apart, and further under load.
    """

    topics: tuple[str, ...]
    seconds: float


async def _load_nothing(_tx: Transaction, _messages: Sequence[Message[object]]) -> None:
    return None


async def _save_nothing(_tx: Transaction, _state: None) -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Service(Generic[State]):
    """A service: what it is called, what it reads, who decides, what else it runs.

    Its topics are those of the contracts that it has routes for. `startup` may raise
    StartupRefused. `committed` is told of every committed batch, for waiters in this process; it
    must not raise. `keys` gives the public keys of tokens where they are at hand.
    """

    name: str
    load: Load[State] = _load_nothing  # type: ignore[assignment]
    save: Save[State] = _save_nothing  # type: ignore[assignment]
    routes: Sequence[Route[State]] = ()
    api: Callable[[Runtime], APIRouter] | None = None
    workers: Sequence[Worker] = ()
    settings: type[Settings] = Settings
    gated: Gated | None = None
    paced: Paced | None = None
    startup: Callable[[Runtime], Awaitable[None]] | None = None
    committed: Callable[[Runtime, State], None] | None = None
    keys: Callable[[Database], KeySource] | None = None
    middleware: Callable[[ASGIApp, Runtime], ASGIApp] | None = None
    describe: Callable[[FastAPI], None] | None = None

    @property
    def topics(self) -> tuple[str, ...]:
        """Every topic that a route's contract is published on."""
        return tuple(sorted({route.body.topic for route in self.routes if issubclass(route.body, Contract)}))
