"""The shape in which a set-based statement travels: a batch of one without arrays.

To scan a row of arrays, and to unpack each of them, costs the server more than what most statements then do with that
row. `FROM (VALUES (...))` of a single row is planned as if the statement had been written for it
(pull_up_simple_values, src/backend/optimizer/prep/prepjointree.c).
"""

import re
from collections.abc import Sequence
from functools import cache
from typing import Any, Final, NamedTuple, TypeAlias

from psycopg.postgres import types as known_types

_COLUMNS: Final = re.compile(
    r"(?P<clause>\bFROM|\bSELECT)\s+unnest\((?P<columns>\s*%s::\w+\[\](?:\s*,\s*%s::\w+\[\])*\s*)\)"
    r"(?P<numbered>\s+WITH\s+ORDINALITY)?(?P<named>\s+AS\b)?"
)
_CAST: Final = re.compile(r"%s::(\w+)\[\]")
PLACEHOLDER: Final = re.compile("%[s%]")


class Columns(NamedTuple):
    """Parameters of a statement that are columns of the same rows: from `first` up to, not with, `end`."""

    first: int
    end: int


class Shape(NamedTuple):
    """A statement's text; `types` has, by parameter, the oid that a row's cast gives, and 0 where it is no row's."""

    text: str
    types: tuple[int, ...]


Lone: TypeAlias = tuple[bool, ...]
"""Which of a statement's groups of columns have one row."""


class SetStatement:
    """A statement whose parameters are columns of rows, and the shapes that it was given so far."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._written = Shape(text, ())
        self._found = list(_COLUMNS.finditer(text))
        self._shapes: dict[Lone, Shape] = {}
        self.groups = tuple(self._columns(found) for found in self._found)

    def fitted(self, parameters: Sequence[Any]) -> tuple[Shape, Sequence[Any]]:
        """The shape for these parameters, and they in it; the shape as it is written has no types."""
        lone = tuple(all(len(column) == 1 for column in parameters[g.first : g.end]) for g in self.groups)
        if True not in lone:
            return self._written, parameters
        fitting = list(parameters)
        for group, alone in zip(self.groups, lone, strict=True):
            if alone:
                fitting[group.first : group.end] = [only for (only,) in parameters[group.first : group.end]]
        shape = self._shapes.get(lone)
        if shape is None:
            shape = self._shapes[lone] = self._shaped(lone)
        return shape, fitting

    def _columns(self, found: re.Match[str]) -> Columns:
        first = _placeholders(self._text[: found.start("columns")])
        return Columns(first, first + _placeholders(found["columns"]))

    def _shaped(self, lone: Lone) -> Shape:
        parts, at = [], 0
        types = [0] * _placeholders(self._text)
        for found, group, alone in zip(self._found, self.groups, lone, strict=True):
            if alone:
                parts += [self._text[at : found.start()], _row(found)]
                at = found.end()
                types[group.first : group.end] = [_oid(cast) for cast in _CAST.findall(found["columns"])]
        return Shape("".join([*parts, self._text[at:]]), tuple(types))


@cache
def set_statement(text: str) -> SetStatement | None:
    """What is known of a statement; None where no parameter is a column."""
    statement = SetStatement(text)
    return statement if statement.groups else None


def _row(found: re.Match[str]) -> str:
    row = _CAST.sub(r"%s::\1", found["columns"])
    if found["clause"] == "SELECT":
        return f"SELECT {row}{found['named'] or ''}"
    number = ", 1::bigint" if found["numbered"] else ""
    return f"FROM (VALUES ({row}{number})) AS{'' if found['named'] else ' lone'}"


def _oid(cast: str) -> int:
    known = known_types.get(cast)
    return 0 if known is None else known.oid  # 0: the server finds out


def _placeholders(text: str) -> int:
    return sum(found[0] == "%s" for found in PLACEHOLDER.finditer(text))
