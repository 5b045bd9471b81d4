"""The services of a stack as children of the harness, so that how each of them ended is seen."""

import asyncio
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from devstack import processes
from devstack.layout import Layout
from devstack.processes import ProcessId
from devstack.records import Processes, Secrets, as_started
from devstack.units import Unit, plan
from libs.crash_points import VARIABLE
from tests.crashpoints.plan import Arming


class NotReachedError(AssertionError):
    """An armed place was not reached, or the process ended by something else; the message says what was seen."""


@dataclass(frozen=True, slots=True)
class Child:
    """A service that was started here; `log_from` is where its part of the log begins."""

    unit: Unit
    process: ProcessId
    log_from: int

    def said(self) -> str:
        """What it has logged so far."""
        with self.unit.log.open("rb") as log:
            log.seek(self.log_from)
            return log.read().decode(errors="replace")


class Services:
    """Starts and ends the services of one running stack; what `make down` would stop stays known to it."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._environment = dict(environment)

    async def end(self, service: str, by: signal.Signals = signal.SIGKILL) -> None:
        """End whatever runs of this service."""
        process = Processes(self._folder).all().get(service)
        if process is not None:
            await processes.stop(process, by=by)

    def runs(self, service: str) -> bool:
        """Whether a process of this service lives."""
        return service in Processes(self._folder).alive()

    def launch(self, service: str, armed: Arming | None = None) -> Child:
        """Start a service, without waiting."""
        environment = {**self._environment, VARIABLE: armed.variable if armed else ""}
        layout = as_started(Layout.from_environ(environment))
        [unit] = plan(layout, Secrets(self._folder)).named(service)
        log_from = unit.log.stat().st_size if unit.log.exists() else 0
        process = unit.launch()
        Processes(self._folder).record(service, process)
        return Child(unit, process, log_from)

    async def start(self, service: str) -> None:
        """Start a service unarmed, and return once it is ready."""
        child = self.launch(service)
        await child.unit.ready(child.process)


async def died(child: Child, armed: Arming, *, within: float) -> None:
    """Return once the child has ended by SIGKILL at the armed place. Raises NotReachedError."""
    await _ended(child, armed, within)
    status = os.waitid(os.P_PID, child.process.pid, os.WEXITED)
    if status is None or (status.si_code, status.si_status) != (os.CLD_KILLED, signal.SIGKILL):
        raise NotReachedError(f"{armed}: ended otherwise: {status}\n{child.said()[-2_000:]}")
    if f'"crash_point": "{armed.name}"' not in child.said():
        raise NotReachedError(f"{armed}: killed, but not there\n{child.said()[-2_000:]}")


async def _ended(child: Child, armed: Arming, within: float) -> None:
    handle = os.pidfd_open(child.process.pid)
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(handle, ended.set)
    try:
        async with asyncio.timeout(within):
            await ended.wait()
    except TimeoutError:
        raise NotReachedError(
            f"{armed}: not reached within {within:.0f} s\n{child.said()[-2_000:]}"
        ) from None
    finally:
        loop.remove_reader(handle)
        os.close(handle)
