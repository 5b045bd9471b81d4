"""Reads the frames between a Kafka client and a broker, as far as finding produce requests and their acks takes.

"Kafka protocol guide", "Common Request and Response Structure".
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

SIZE: Final = struct.Struct(">i")
REQUEST: Final = struct.Struct(">ihhi")
RESPONSE: Final = struct.Struct(">ii")
PRODUCE: Final = 0


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it lies on the wire; `correlation` is what its response will carry."""

    raw: bytes
    api: int
    version: int
    correlation: int

    @property
    def produces(self) -> bool:
        """Whether it appends records."""
        return self.api == PRODUCE


@dataclass(frozen=True, slots=True)
class Response:
    """One response as it lies on the wire."""

    raw: bytes
    correlation: int


class Frames:
    """Cuts one direction's bytes into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The frames that are whole now, each with its size in front."""
        self._buffer += data
        while len(self._buffer) >= SIZE.size:
            end = SIZE.size + SIZE.unpack_from(self._buffer)[0]
            if len(self._buffer) < end:
                return
            raw = bytes(self._buffer[:end])
            del self._buffer[:end]
            yield raw


def request(raw: bytes) -> Request:
    """Read a request's header."""
    _, api, version, correlation = REQUEST.unpack_from(raw)
    return Request(raw, api, version, correlation)


def response(raw: bytes) -> Response:
    """Read a response's header."""
    _, correlation = RESPONSE.unpack_from(raw)
    return Response(raw, correlation)
