"""A stack of one's own, through devstack's command and the stack.json that it leaves."""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from pydantic import TypeAdapter

ROOT: Final = Path(__file__).parents[1]
UP_SECONDS: Final = 300.0
DOWN_SECONDS: Final = 60.0
AS_IT_IS: Final[Mapping[str, str]] = MappingProxyType({})


class StackFailedError(Exception):
    """devstack could not do what was asked; the message is what it printed."""


@dataclass(frozen=True, slots=True)
class Operator:
    """The account that may do everything in the dev profile."""

    email: str
    password: str


@dataclass(frozen=True, slots=True)
class CardProvider:
    """The simulated one; its charges and its mood are under /admin."""

    url: str


@dataclass(frozen=True, slots=True)
class StackInfo:
    """Where everything of a running stack is; the fields of stack.json."""

    gateway_url: str
    service_urls: dict[str, str]
    kafka_bootstrap: str
    postgres: dict[str, str]
    postgres_admin: str
    pids: dict[str, int]
    operator: Operator
    card_provider: CardProvider | None = None


_INFO: Final = TypeAdapter(StackInfo)


class Stack:
    """One stack in one folder; several run side by side when their port offsets differ."""

    def __init__(self, folder: Path, *, port_offset: int, environment: Mapping[str, str] = AS_IT_IS) -> None:
        self.folder = folder
        self._environment = {
            **environment,
            "STACK_DIR": str(folder.absolute()),
            "STACK_PORT_OFFSET": str(port_offset),
        }

    @property
    def info(self) -> StackInfo:
        """Where everything is now; read anew, because pids change when something is started again."""
        return _INFO.validate_json((self.folder / "stack.json").read_bytes())

    async def up(self, environment: Mapping[str, str] = AS_IT_IS) -> StackInfo:
        """Start what is not running, with these settings, and return once all is ready."""
        await self._devstack("up", UP_SECONDS, environment)
        return self.info

    async def down(self) -> None:
        """Stop everything; the data stays."""
        await self._devstack("down", DOWN_SECONDS, AS_IT_IS)

    async def clean(self) -> None:
        """Stop everything and remove the data."""
        await self._devstack("clean", DOWN_SECONDS, AS_IT_IS)

    def signal(self, process: str, number: signal.Signals) -> int:
        """Send a signal to one process of the stack, by its name in stack.json; returns its pid."""
        pid = self.info.pids[process]
        os.kill(pid, number)
        return pid

    async def _devstack(self, action: str, seconds: float, environment: Mapping[str, str]) -> None:
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "devstack",
            action,
            cwd=ROOT,
            env={**os.environ, **self._environment, **environment},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            async with asyncio.timeout(seconds):
                output, _ = await child.communicate()
        except TimeoutError:
            child.kill()
            raise StackFailedError(f"devstack {action} did not end within {seconds:.0f} s") from None
        if child.returncode != 0:
            raise StackFailedError(f"devstack {action}: {output.decode(errors='replace')[-4_000:]}")


async def gone(pid: int, *, within: float = 10.0) -> None:
    """Return once a process has ended; a zombie has. Raises TimeoutError."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(handle, ended.set)
    try:
        async with asyncio.timeout(within):
            await ended.wait()
    finally:
        loop.remove_reader(handle)
        os.close(handle)


def runs(pid: int) -> bool:
    """Whether there is a process of this id that is not dead."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in {"Z", "X"}
