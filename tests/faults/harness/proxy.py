"""A TCP proxy on the loopback address between one client and one server, with weather of its own."""

import asyncio
import socket
import struct
from asyncio import StreamReader, StreamWriter
from collections.abc import Callable
from random import Random
from typing import Final

from tests.faults.harness.inspectors import Inspector, Lost
from tests.faults.harness.weather import Loss, Weather

READ_BYTES: Final = 256 * 1024
LINGER_NOT: Final = struct.pack("ii", 1, 0)
"""SO_LINGER of no seconds: closing sends RST."""


class Proxy:
    """Listens on `port` and passes on to `server_port`; counts what it made disappear."""

    def __init__(
        self,
        name: str,
        port: int,
        server_port: int,
        inspector: Callable[[Weather, Lost], Inspector],
        random: Random,
    ) -> None:
        self.name = name
        self.port = port
        self.weather = Weather(random)
        self.lost: dict[Loss, int] = dict.fromkeys(Loss, 0)
        self._server_port = server_port
        self._inspector = inspector
        self._links: set[_Link] = set()
        self._empty = asyncio.Event()
        self._empty.set()
        self._listener: asyncio.Server | None = None

    @property
    def links(self) -> int:
        """How many connections run through it now."""
        return len(self._links)

    async def start(self) -> None:
        """Listen."""
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def stop(self) -> None:
        """Listen no more and break what runs."""
        self.weather.clear()
        if self._listener is not None:
            self._listener.close()
        self.reset()
        await self._empty.wait()

    def reset(self) -> int:
        """Break every connection by RST, on both sides; returns how many there were."""
        broken = len(self._links)
        for link in tuple(self._links):
            link.reset()
        return broken

    def half_close(self) -> int:
        """Tell every client that its server will say no more, and go on listening to it."""
        return sum(link.half_close() for link in tuple(self._links))

    async def _serve(self, from_client: StreamReader, to_client: StreamWriter) -> None:
        if self.weather.refusing:
            _abort(to_client)
            return
        try:
            await self.weather.travel()
            from_server, to_server = await asyncio.open_connection("127.0.0.1", self._server_port)
        except OSError:
            _abort(to_client)
            return
        link = _Link(self.weather, to_client, to_server)
        inspector = self._inspector(self.weather, self._count)
        self._links.add(link)
        self._empty.clear()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(link.pump(from_client, to_server, inspector.outgoing))
                group.create_task(link.pump(from_server, to_client, inspector.incoming))
        finally:
            self._links.discard(link)
            if not self._links:
                self._empty.set()
            to_client.close()
            to_server.close()

    def _count(self, loss: Loss) -> None:
        self.lost[loss] += 1


class _Link:
    """One connection through the proxy."""

    def __init__(self, weather: Weather, to_client: StreamWriter, to_server: StreamWriter) -> None:
        self._weather = weather
        self._to_client = to_client
        self._to_server = to_server

    def reset(self) -> None:
        _abort(self._to_client)
        _abort(self._to_server)

    def half_close(self) -> bool:
        if self._to_client.is_closing() or not self._to_client.can_write_eof():
            return False
        self._to_client.write_eof()
        return True

    async def pump(
        self, reader: StreamReader, writer: StreamWriter, inspect: Callable[[bytes], tuple[bytes, bool]]
    ) -> None:
        """Pass on until one side ends or the connection breaks."""
        try:
            while data := await reader.read(READ_BYTES):
                await self._weather.travel()
                passed, breaks = inspect(data)
                if passed:
                    writer.write(passed)
                    await writer.drain()
                if breaks:
                    self.reset()
                    return
            await self._weather.travel()
            if not writer.is_closing():
                writer.write_eof()
        except (OSError, RuntimeError):  # RuntimeError: an end was written before, by half_close
            self.reset()


def _abort(writer: StreamWriter) -> None:
    if writer.is_closing():
        return
    endpoint: socket.socket | None = writer.get_extra_info("socket")
    if endpoint is not None:
        endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
    writer.transport.abort()
