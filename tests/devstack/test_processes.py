"""Processes that outlive the tool: started detached, known again, stopped exactly."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from devstack import processes
from devstack.processes import ProcessId
from tests.support.waiting import eventually

SLEEPER = [sys.executable, "-c", "import signal; print('up', flush=True); signal.pause()"]
DEAF = [
    sys.executable,
    "-c",
    (
        "import os, signal, subprocess, sys\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()'])\n"
        "print(child.pid, flush=True)\n"
        "signal.pause()"
    ),
]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "logs/process.log"


@pytest.fixture
def sleeper(log: Path) -> Iterator[ProcessId]:
    process = processes.launch(SLEEPER, log=log)
    yield process
    if process.alive:
        os.kill(process.pid, signal.SIGKILL)
        os.waitpid(process.pid, 0)


async def _printed(log: Path) -> str:
    async def text() -> str | None:
        return log.read_text().strip() or None

    return await eventually(text)


async def test_a_process_writes_to_its_log_in_a_session_of_its_own(sleeper: ProcessId, log: Path) -> None:
    assert await _printed(log) == "up"
    assert os.getsid(sleeper.pid) == sleeper.pid


async def test_stop_ends_it_and_leaves_no_zombie(sleeper: ProcessId) -> None:
    assert await processes.stop(sleeper)
    assert not sleeper.alive
    assert not Path(f"/proc/{sleeper.pid}").exists()


async def test_stopping_twice_is_fine(sleeper: ProcessId) -> None:
    await processes.stop(sleeper)
    assert await processes.stop(sleeper)


async def test_a_recycled_pid_is_not_taken_for_the_process(sleeper: ProcessId) -> None:
    before = replace(sleeper, born="another boot:1")
    assert not before.alive
    assert await processes.stop(before)
    assert sleeper.alive


async def test_who_does_not_hear_is_killed_with_its_children(log: Path) -> None:
    deaf = processes.launch(DEAF, log=log)
    child = ProcessId.of(int(await _printed(log)))
    assert not await processes.stop(deaf, patience=0.1)
    assert not deaf.alive

    async def gone() -> bool:
        return not child.alive

    await eventually(gone)


async def test_a_killed_process_is_dead_before_it_is_reaped(sleeper: ProcessId) -> None:
    os.kill(sleeper.pid, signal.SIGKILL)

    async def dead() -> bool:
        return not sleeper.alive

    await eventually(dead)
    assert os.waitpid(sleeper.pid, 0)[0] == sleeper.pid


def test_nothing_of_the_callers_output_is_held_open(log: Path) -> None:
    launcher = (
        "import pathlib, sys; from devstack import processes;"
        f"print(processes.launch({SLEEPER!r}, log=pathlib.Path({str(log)!r})).pid)"
    )
    # Returns only when everybody who holds the pipe has closed it.
    done = subprocess.run([sys.executable, "-c", launcher], stdout=subprocess.PIPE, check=True, timeout=20)
    process = ProcessId.of(int(done.stdout))
    assert process.alive
    os.kill(process.pid, signal.SIGKILL)
