"""Packs a column of a batch as a PostgreSQL array in one go (array_recv, src/backend/utils/adt/arrayfuncs.c)."""

import struct
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeAlias
from uuid import UUID

from psycopg.abc import AdaptContext, Buffer, DumperKey
from psycopg.adapt import Dumper, PyFormat
from psycopg.pq import Format
from psycopg.types.array import ListBinaryDumper

_HEAD: Final = struct.Struct("!iIIii").pack
_LENGTH: Final = struct.Struct("!i").pack
_NULL: Final = _LENGTH(-1)
_OF_8: Final = _LENGTH(8)
_OF_16: Final = _LENGTH(16)
_FALSE_TRUE: Final = _LENGTH(1) + b"\0", _LENGTH(1) + b"\1"
_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

Pack: TypeAlias = Callable[[Sequence[Any]], list[bytes]]


def _uuids(column: Sequence[UUID | None]) -> list[bytes]:
    return [_NULL if v is None else _OF_16 + v.int.to_bytes(16, "big") for v in column]


def _ints(column: Sequence[int | None]) -> list[bytes]:
    return [_NULL if v is None else _OF_8 + v.to_bytes(8, "big", signed=True) for v in column]


def _bools(column: Sequence[bool | None]) -> list[bytes]:
    return [_NULL if v is None else _FALSE_TRUE[v] for v in column]


def _texts(column: Sequence[str | None]) -> list[bytes]:
    return _byteas([None if v is None else v.encode() for v in column])


def _byteas(column: Sequence[bytes | None]) -> list[bytes]:
    return [_NULL if v is None else _LENGTH(len(v)) + v for v in column]


def _timestamps(column: Sequence[datetime | None]) -> list[bytes]:
    return _ints([None if v is None else (v - _EPOCH) // _MICROSECOND for v in column])


_PACKED: Final[dict[type, tuple[int, Pack]]] = {
    UUID: (2950, _uuids),
    int: (20, _ints),
    bool: (16, _bools),
    str: (25, _texts),
    bytes: (17, _byteas),
    datetime: (1184, _timestamps),
}
"""What an element is, by pg_type.dat: uuid, int8, bool, text, bytea, timestamptz."""


class ColumnDumper(Dumper):
    """Dumps a flat list whose elements are all of one type, or None, for a parameter with a cast.

    psycopg's own dumper is made anew for each list of each statement, and asked for each element.
    What is not of a type known here is left to it.
    """

    format = Format.BINARY

    def __init__(self, cls: type, context: AdaptContext | None = None) -> None:
        super().__init__(cls, context)
        self._context = context

    def get_key(self, obj: list[Any], format: PyFormat) -> DumperKey:  # noqa: A002, ARG002 - psycopg's
        """One dumper for every list that is packed here."""
        kind = _element_type(obj)
        return self.cls if kind in _PACKED else (self.cls, kind)

    def upgrade(self, obj: list[Any], format: PyFormat) -> Dumper:  # noqa: A002 - psycopg's name
        """Itself, or psycopg's dumper."""
        if _element_type(obj) in _PACKED:
            return self
        return ListBinaryDumper(self.cls, self._context).upgrade(obj, format)

    def dump(self, obj: list[Any]) -> Buffer | None:
        """The array; raises AttributeError or TypeError where an element is of another type than the first."""
        oid, pack = _PACKED[_element_type(obj)]
        return _HEAD(1, None in obj, oid, len(obj), 1) + b"".join(pack(obj))


def _element_type(column: Sequence[object]) -> type:
    for value in column:
        if value is not None:
            return type(value)
    return type(None)
