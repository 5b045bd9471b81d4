"""Whether a socket has something to read, asked many times at the price of one registration."""

import asyncio
from typing import Final

AGAIN_SECONDS: Final = 0.1
"""libuv drops a socket that reports an error, once and silently: so often it is registered anew."""


class Listening:
    """A socket's registration with the event loop, kept from one answer to the next.

    psycopg registers its socket at every wait, which is a quarter of what a small transaction costs the client.
    Whoever closes the socket calls `end` first: its number may be another's a moment later.
    """

    def __init__(self) -> None:
        self._socket: int | None = None
        self._waiter: asyncio.Future[bool] | None = None

    @property
    def registered(self) -> bool:
        """Whether the event loop watches the socket."""
        return self._socket is not None

    async def readable(self, socket: int) -> None:
        """Wait until the peer has sent something, or has gone; at most one waits."""
        loop = asyncio.get_running_loop()
        told = False
        while not told:
            if self._socket is None:
                loop.add_reader(socket, self._tell, True)
                self._socket = socket
            self._waiter = loop.create_future()
            again = loop.call_later(AGAIN_SECONDS, self._tell, False)
            try:
                told = await self._waiter
            finally:
                again.cancel()
                self._waiter = None
            if not told:
                self.end()

    def end(self) -> None:
        """Let the event loop forget the socket."""
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket = None

    def _tell(self, told: bool) -> None:
        if self._waiter is None:
            self.end()  # the peer says something unasked, or has gone; who asks next will learn of it
        elif not self._waiter.done():
            self._waiter.set_result(told)
