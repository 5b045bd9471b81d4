"""A lean HTTP/1.1 client with keep-alive: one parser and one future per request, nothing else."""

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, cast
from urllib.parse import urlsplit

import httptools
import orjson

NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})


class ConnectionLostError(Exception):
    """The server closed the connection before it had answered."""


@dataclass(frozen=True, slots=True)
class Response:
    """An answer: its status, its headers by lower-case name, and its body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> dict[str, object]:
        """The body as a JSON object."""
        document = orjson.loads(self.body)
        if not isinstance(document, dict):
            raise TypeError(f"expected a JSON object, got {self.body[:80]!r}")
        return document


class Connection(asyncio.Protocol):
    """One connection; one request at a time. The parser calls the `on_…` methods."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._answer: asyncio.Future[Response] | None = None
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self.reusable = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance
        self.reusable = True

    def connection_lost(self, exc: Exception | None) -> None:
        self.reusable = False
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionLostError(str(exc or "closed by the server")))

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self.reusable = False
            if self._answer is not None and not self._answer.done():
                self._answer.set_exception(ConnectionLostError(str(error)))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        response = Response(self._parser.get_status_code(), self._headers, b"".join(self._body))
        self.reusable = self.reusable and self._parser.should_keep_alive()
        self._headers, self._body = {}, []
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(response)

    async def exchange(self, request: bytes) -> Response:
        """Send one request and wait for its answer."""
        if self._transport is None or not self.reusable:
            raise ConnectionLostError("not connected")
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        """Close at once."""
        self.reusable = False
        if self._transport is not None:
            self._transport.close()


class Client:
    """Requests to one server over as many connections as are busy at once."""

    def __init__(self, url: str, *, timeout_seconds: float = 40.0) -> None:
        parts = urlsplit(url)
        if parts.hostname is None or parts.port is None:
            raise ValueError(f"a URL with host and port, please: {url}")
        self._host, self._port = parts.hostname, parts.port
        self._timeout = timeout_seconds
        self._idle: deque[Connection] = deque()
        self._open: set[Connection] = set()
        self.reconnects = 0

    async def request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] = NO_HEADERS,
        body: bytes = b"",
        safe_to_repeat: bool = True,
    ) -> Response:
        """One request and its answer; repeated on a fresh connection when the server had closed the old one.

        Every request of the benchmark may be repeated: reads, and writes that carry an Idempotency-Key.
        """
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self._host}:{self._port}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if body:
            lines.append("Content-Type: application/json")
        lines.append(f"Content-Length: {len(body)}\r\n\r\n")
        request = "\r\n".join(lines).encode("latin-1") + body
        async with asyncio.timeout(self._timeout):
            while True:
                connection, fresh = await self._connection()
                try:
                    response = await connection.exchange(request)
                except ConnectionLostError:
                    connection.close()
                    self._open.discard(connection)
                    if fresh or not safe_to_repeat:
                        raise
                    self.reconnects += 1
                    continue
                except asyncio.CancelledError:
                    connection.close()
                    self._open.discard(connection)
                    raise
                self._release(connection)
                return response

    async def _connection(self) -> tuple[Connection, bool]:
        while self._idle:
            connection = self._idle.pop()
            if connection.reusable:
                return connection, False
            self._open.discard(connection)
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(Connection, self._host, self._port)
        self._open.add(connection)
        return connection, True

    def _release(self, connection: Connection) -> None:
        if connection.reusable:
            self._idle.append(connection)
        else:
            connection.close()
            self._open.discard(connection)

    def close(self) -> None:
        """Close every connection."""
        for connection in self._open:
            connection.close()
        self._open.clear()
        self._idle.clear()
