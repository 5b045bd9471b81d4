"""Reads what a PostgreSQL client sends and its server answers, as far as finding commits takes.

"Frontend/Backend Protocol", version 3.0, "Message Formats".
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

LENGTH: Final = struct.Struct(">i")
NEGOTIATIONS: Final = frozenset({80877103, 80877104})
"""SSLRequest and GSSENCRequest: answered with one byte, after which the start-up comes again."""
COMMITS: Final = frozenset({b"COMMIT", b"END", b"COMMIT TRANSACTION", b"COMMIT WORK"})


@dataclass(frozen=True, slots=True)
class Message:
    """One whole message; `commits` when it makes the server commit, or says that it has."""

    raw: bytes
    commits: bool


class Frontend:
    """Cuts one client's bytes into messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._started = False
        self._statements: set[bytes] = set()
        self._portals: set[bytes] = set()

    def feed(self, data: bytes) -> Iterator[Message]:
        """The messages that are whole now."""
        self._buffer += data
        while raw := self._next():
            if self._started:
                yield Message(raw, self._commits(raw[:1], raw[5:]))
            else:
                (code,) = LENGTH.unpack_from(raw, 4)
                self._started = code not in NEGOTIATIONS
                yield Message(raw, commits=False)

    def _next(self) -> bytes:
        return _cut(self._buffer, 1 if self._started else 0)

    def _commits(self, kind: bytes, body: bytes) -> bool:
        """A simple query, or an Execute of a portal that was bound to a statement that is a COMMIT."""
        match kind:
            case b"Q":
                return _is_commit(body[:-1])
            case b"P":
                name, text, _ = body.split(b"\0", 2)
                _toggle(self._statements, name, on=_is_commit(text))
            case b"B":
                portal, statement, _ = body.split(b"\0", 2)
                _toggle(self._portals, portal, on=statement in self._statements)
            case b"E":
                return body.split(b"\0", 1)[0] in self._portals
            case _:
                return False
        return False


class Backend:
    """Cuts one server's bytes into messages; the one-byte answers to negotiations pass as they are."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._started = False

    def feed(self, data: bytes) -> Iterator[Message]:
        """The messages that are whole now; a completed COMMIT is marked."""
        self._buffer += data
        while self._buffer and not self._started and self._buffer[:1] in b"NS":
            yield Message(bytes(self._buffer[:1]), commits=False)
            del self._buffer[:1]
        while raw := _cut(self._buffer, 1):
            self._started = True
            yield Message(raw, commits=raw[:1] == b"C" and raw[5:-1] == b"COMMIT")


def _cut(buffer: bytearray, prefix: int) -> bytes:
    """Take the first whole message off the buffer; empty while there is none."""
    if len(buffer) < prefix + LENGTH.size:
        return b""
    size = prefix + LENGTH.unpack_from(buffer, prefix)[0]
    if len(buffer) < size:
        return b""
    raw = bytes(buffer[:size])
    del buffer[:size]
    return raw


def _is_commit(text: bytes) -> bool:
    return text.strip().rstrip(b";").strip().upper() in COMMITS


def _toggle(names: set[bytes], name: bytes, *, on: bool) -> None:
    if on:
        names.add(name)
    else:
        names.discard(name)
