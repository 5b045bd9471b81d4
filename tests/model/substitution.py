"""Puts something else in the place of a function, for as long as a block runs."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final
from uuid import UUID

import libs.saga.turn
import order_saga.domain
from libs.contracts.values import MessageId, SagaId


@dataclass(frozen=True, slots=True)
class Substitute:
    """What takes the place of an attribute of a module or class."""

    owner: object
    name: str
    by: object


@contextmanager
def substituted(*substitutes: Substitute) -> Iterator[None]:
    """Everything in its place again afterwards, whatever happens."""
    before = [(one.owner, one.name, getattr(one.owner, one.name)) for one in substitutes]
    for one in substitutes:
        setattr(one.owner, one.name, one.by)
    try:
        yield
    finally:
        for owner, name, value in reversed(before):
            setattr(owner, name, value)


def digest(*parts: object) -> UUID:
    """An id that follows from what it names."""
    named = "|".join(map(str, parts)).encode()
    return UUID(bytes=blake2b(named, digest_size=16).digest())


def _message_id(saga: SagaId, _revision: int, step: str, attempt: int, _now: object) -> MessageId:
    return MessageId(digest(saga, step, attempt))


def _jitter(_sent: MessageId) -> float:
    return 0.75


CHANCE: Final = (
    Substitute(libs.saga.turn, "message_id", _message_id),
    Substitute(libs.saga.turn, "jitter", _jitter),
    Substitute(order_saga.domain, "message_id", _message_id),
)
"""Chance pinned down: ids tell saga, step and attempt only, so that two ways to one state meet in it.

A saga sends a step's attempt once, so the ids stay apart; no revision and no moment goes into them.
"""
