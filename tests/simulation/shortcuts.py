"""What happens very often in a seed and gives the same each time, done once or done faster; it changes no outcome."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any, Final
from uuid import UUID, SafeUUID

import libs.messaging.codec
from libs.contracts.message import Contract
from libs.contracts.values import MessageId
from libs.messaging.codec import Codec, OutboxRow, text_of
from libs.messaging.message import Correlation, Message, Outgoing
from libs.messaging.record import Record
from tests.model.substitution import Substitute
from tests.simulation.clock import Timeout

CANONICAL_LENGTH: Final = 36
_UNKNOWN: Final = SafeUUID.unknown
_make, _text = UUID.__init__, UUID.__str__
_encode, _decode, _payload = Codec.encode, Codec.decode, libs.messaging.codec._payload
_set_int: Callable[[UUID, int], None] = vars(UUID)["int"].__set__
_set_safe: Callable[[UUID, SafeUUID], None] = vars(UUID)["is_safe"].__set__


def make_uuid(made: UUID, text: str | None = None, *rest: Any, **given: Any) -> None:
    """UUID.__init__: the canonical text and the number are what is given here."""
    if text is not None and len(text) == CANONICAL_LENGTH and not (rest or given):
        digits = text.replace("-", "")
        if len(digits) == CANONICAL_LENGTH - 4:
            _set_int(made, int(digits, 16))
            _set_safe(made, _UNKNOWN)
            return
    if text is None and len(given) == 1 and "int" in given and not rest:
        _set_int(made, given["int"])
        _set_safe(made, _UNKNOWN)
        return
    _make(made, text, *rest, **given)


def hash_of_uuid(one: UUID) -> int:
    """UUID.__hash__: what is returned here is hashed by the interpreter itself."""
    return one.int


def equal_uuids(one: UUID, other: object) -> bool:
    """UUID.__eq__."""
    return one.int == other.int if other.__class__ is UUID else NotImplemented


def uuid_before(one: UUID, other: UUID) -> bool:
    """UUID.__lt__."""
    return one.int < other.int if other.__class__ is UUID else NotImplemented


@lru_cache(maxsize=16_384)
def _canonical(number: int) -> str:
    return _text(uuid_of(number))


def text_of_uuid(one: UUID) -> str:
    """UUID.__str__."""
    return _canonical(one.int)


@lru_cache(maxsize=16_384)
def uuid_in(text: str) -> UUID:
    """UUID(text): the same for each who reads it."""
    return UUID(text)


def uuid_of(number: int) -> UUID:
    """UUID(int=…)."""
    made = UUID.__new__(UUID)
    _set_int(made, number)
    _set_safe(made, _UNKNOWN)
    return made


def unregistered(_task: "asyncio.Task[Any]") -> None:
    """Enter a task into no register of all tasks: nobody reads it here."""


class Decoding:
    """A record is decoded for the first who reads it; what was encoded in this world need not be parsed for that."""

    def __init__(self) -> None:
        self.bodies: dict[bytes, Contract] = {}
        """What the payloads were made from; parsed they must give the same."""
        self._known: dict[int, tuple[Record, Message[Contract]]] = {}

    def substitutes(self) -> tuple[Substitute, ...]:
        """In the place of the codec's own."""

        def encode(
            codec: Codec, outgoing: Outgoing, message_id: MessageId, correlation: Correlation, now: str
        ) -> OutboxRow:
            row = _encode(codec, outgoing, message_id, correlation, now)
            self.bodies[row.payload] = outgoing.body
            return row

        def payload(contract: type[Contract], record: Record) -> Contract:
            body = self.bodies.get(record.value or b"")
            if type(body) is contract and record.key == text_of(body.order_id).encode():
                return body
            return _payload(contract, record)

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

        return (
            Substitute(Codec, "encode", encode),
            Substitute(Codec, "decode", decode),
            Substitute(libs.messaging.codec, "_payload", payload),
        )


SHORTCUTS: Final = (
    Substitute(UUID, "__init__", make_uuid),
    Substitute(UUID, "__hash__", hash_of_uuid),
    Substitute(UUID, "__eq__", equal_uuids),
    Substitute(UUID, "__lt__", uuid_before),
    Substitute(UUID, "__str__", text_of_uuid),
    Substitute(libs.messaging.codec, "UUID", uuid_in),
    Substitute(asyncio, "timeout", Timeout),
    Substitute(asyncio.tasks._all_tasks, "add", unregistered),  # type: ignore[attr-defined]
)
