"""Waiting for something to be ready by asking it, until it answers, dies, or its time is over."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

from devstack.errors import NotReadyError, ProcessDiedError
from devstack.processes import ProcessId

_BETWEEN_QUESTIONS = 0.05
_TAIL_BYTES = 2_000
START_SECONDS = 180.0
"""For a start on a machine that is busy with other things; what ends while it starts is told at once."""


async def until_ready(
    name: str, ask: Callable[[], Awaitable[bool]], *, process: ProcessId | None, log: Path, within: float
) -> None:
    """Ask until the answer is yes; `ask` answers False, and does not raise, while nobody is there.

    Raises ProcessDiedError with the end of the log, or NotReadyError after `within` seconds.
    """
    try:
        async with asyncio.timeout(within):
            while not await ask():
                if process is not None and not process.alive:
                    raise ProcessDiedError(
                        f"{name} ended while it was starting; the end of {log}:\n{tail(log)}"
                    )
                await asyncio.sleep(_BETWEEN_QUESTIONS)
    except TimeoutError:
        raise NotReadyError(
            f"{name} was not ready within {within:.0f} s; the end of {log}:\n{tail(log)}"
        ) from None


def tail(log: Path) -> str:
    """Return the last lines of a log, empty when there is none."""
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
        return file.read().decode(errors="replace").strip()


def port_is_free(port: int) -> bool:
    """Tell whether a listener could be opened on the loopback port now."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def free_port() -> int:
    """Return a loopback port that nobody listened on a moment ago."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


async def http_ok(port: int, path: str) -> bool:
    """Ask a process on this machine over HTTP; only status 200 is a yes, a refusal and a silence are a no."""
    try:
        async with asyncio.timeout(2):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
                status_line = await reader.readline()
            finally:
                writer.close()
    except OSError:
        return False
    return b" 200 " in status_line
