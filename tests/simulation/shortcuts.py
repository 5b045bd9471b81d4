"""What happens very often in a seed and gives the same each time, done once or done faster; it changes no outcome."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any, Final
from uuid import UUID, SafeUUID

from libs.contracts.message import Contract
from libs.messaging.codec import Codec
from libs.messaging.message import Message
from libs.messaging.record import Record
from tests.model.substitution import Substitute

CANONICAL_LENGTH: Final = 36
_make, _text, _decode = UUID.__init__, UUID.__str__, Codec.decode
_set_int: Callable[[UUID, int], None] = vars(UUID)["int"].__set__
_set_safe: Callable[[UUID, SafeUUID], None] = vars(UUID)["is_safe"].__set__


def make_uuid(made: UUID, text: str | None = None, *rest: Any, **given: Any) -> None:
    """UUID.__init__: the canonical text and the number are what is given here."""
    if text is not None and len(text) == CANONICAL_LENGTH and not (rest or given):
        digits = text.replace("-", "")
        if len(digits) == CANONICAL_LENGTH - 4:
            _set_int(made, int(digits, 16))
            _set_safe(made, SafeUUID.unknown)
            return
    _make(made, text, *rest, **given)


def hash_of_uuid(one: UUID) -> int:
    """UUID.__hash__: what is returned here is hashed by the interpreter itself."""
    return one.int


@lru_cache(maxsize=16_384)
def _canonical(number: int) -> str:
    return _text(uuid_of(number))


def text_of_uuid(one: UUID) -> str:
    """UUID.__str__."""
    return _canonical(one.int)


def uuid_of(number: int) -> UUID:
    """UUID(int=…)."""
    made = UUID.__new__(UUID)
    _set_int(made, number)
    _set_safe(made, SafeUUID.unknown)
    return made


def unregistered(_task: "asyncio.Task[Any]") -> None:
    """Enter a task into no register of all tasks: nobody reads it here."""


class Decoding:
    """Codec.decode: a record is decoded for the first who reads it, and all others read the same message."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Record, Message[Contract]]] = {}

    def substitute(self) -> Substitute:
        """In the place of the codec's own."""

        def decode(
            codec: Codec, record: Record, now: datetime, handled: Mapping[str, type[object]]
        ) -> Message[Contract] | None:
            known = self._known.get(id(record))
            if known is not None and known[1].body.wire in handled:
                return known[1]
            message = _decode(codec, record, now, handled)
            if message is not None:
                self._known[id(record)] = record, message
            return message

        return Substitute(Codec, "decode", decode)


SHORTCUTS: Final = (
    Substitute(UUID, "__init__", make_uuid),
    Substitute(UUID, "__hash__", hash_of_uuid),
    Substitute(UUID, "__str__", text_of_uuid),
    Substitute(asyncio.tasks._all_tasks, "add", unregistered),  # type: ignore[attr-defined]
)
