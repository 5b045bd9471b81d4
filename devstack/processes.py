"""Detached processes: starting them, knowing them again after a restart of the tool, stopping exactly them."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class ProcessId:
    """A pid together with the process's birth, so that a recycled pid is never taken for the process."""

    pid: int
    born: str

    @classmethod
    def of(cls, pid: int) -> "ProcessId":
        """Read the birth of a process that is known to live (a child not yet reaped counts)."""
        state, born = _read_stat(pid)
        if state is None:
            raise ProcessLookupError(pid)
        return cls(pid, born)

    @property
    def alive(self) -> bool:
        """True while this very process runs; a zombie is dead."""
        state, born = _read_stat(self.pid)
        return state not in (None, "Z", "X") and born == self.born


@cache
def _boot_id() -> str:
    return (_PROC / "sys/kernel/random/boot_id").read_text().strip()


def _read_stat(pid: int) -> tuple[str | None, str]:
    try:
        stat = (_PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None, ""
    fields = stat.rpartition(")")[2].split()  # the name before it may hold blanks and brackets
    return fields[0], f"{_boot_id()}:{fields[19]}"


@dataclass(frozen=True, slots=True)
class Account:
    """The system user that a process runs as."""

    name: str
    uid: int
    gid: int


def launch(
    argv: Sequence[str | Path],
    *,
    log: Path,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    account: Account | None = None,
) -> ProcessId:
    """Start a process in a session of its own that holds nothing of the caller's open; output goes to `log`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        child = subprocess.Popen(
            [str(part) for part in argv],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env=env,
            start_new_session=True,
            user=None if account is None else account.uid,
            group=None if account is None else account.gid,
            extra_groups=None if account is None else [],
        )
    process = ProcessId.of(child.pid)
    child.returncode = 0  # it outlives this object: Popen neither warns about it nor reaps it, stop() does
    return process


async def stop(process: ProcessId, *, by: signal.Signals = signal.SIGTERM, patience: float = 15) -> bool:
    """Signal the process and wait for its end; after `patience` seconds SIGKILL it with its whole session.

    Returns False when it had to be killed. A process that is gone, or whose pid is another's by now, is left alone.
    """
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return True
    try:
        if not process.alive:  # asked after opening: the handle cannot pass to another process any more
            return True
        signal.pidfd_send_signal(handle, by)
        if await _ended(handle, patience):
            return by is not signal.SIGKILL
        os.killpg(process.pid, signal.SIGKILL)  # still there, so the group is still its own
        await _ended(handle, None)
        return False
    finally:
        os.close(handle)
        _reap(process.pid)


async def _ended(handle: int, seconds: float | None) -> bool:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(handle, ended.set)
    try:
        await asyncio.wait_for(ended.wait(), seconds)
    except TimeoutError:
        return False
    else:
        return True
    finally:
        loop.remove_reader(handle)


def _reap(pid: int) -> None:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return  # started by an earlier run of the tool: init reaps it
