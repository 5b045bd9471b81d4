"""PostgreSQL and Kafka die, pause and come back."""

import asyncio
import os
import signal
from typing import Final

from devstack.errors import ProcessDiedError
from tests.faults.harness import sql
from tests.faults.harness.rounds import Kind, Trial

BACKENDS: Final = "SELECT pid FROM pg_stat_activity WHERE usename = %s AND pid <> pg_backend_pid()"
RESTARTS_WITHIN: Final = 60.0


async def postgres_immediate(trial: Trial) -> None:
    """An immediate stop: no checkpoint, sessions are cut, recovery at the next start."""
    await trial.stage.stop("postgres", signal.SIGQUIT)
    trial.note("immediate stop of PostgreSQL")
    await trial.last(1, 3)
    await trial.stage.start("postgres")
    trial.note("PostgreSQL has recovered")


async def backend_killed(trial: Trial) -> None:
    """One backend is ended by the administrator, then one dies by SIGKILL, on which the server restarts all."""
    for service in trial.random.sample(trial.stage.services, 2):
        [pid, *_] = await _backends(trial, service)
        await sql.rows(trial.stage.admin_dsn, service, "SELECT pg_terminate_backend(%s)", [pid])
        trial.note(f"ended a session of {service}")
    victim = trial.random.choice(trial.stage.services)
    [pid, *_] = await _backends(trial, victim)
    os.kill(pid, signal.SIGKILL)
    trial.note(f"SIGKILL to a backend of {victim}: the server recovers from a crash")
    await trial.stage.ready("postgres")


async def _backends(trial: Trial, service: str) -> list[int]:
    found = await sql.rows(trial.stage.admin_dsn, service, BACKENDS, [f"{service}_runtime"])
    pids = [int(pid) for (pid,) in found]
    trial.random.shuffle(pids)
    return pids


async def postmaster_killed(trial: Trial) -> None:
    """The server's first process dies by SIGKILL, and its backends find out by themselves."""
    await trial.stage.kill("postgres")
    trial.note("SIGKILL to the postmaster")
    await trial.last(0.5, 2)
    async with asyncio.timeout(RESTARTS_WITHIN):
        while not trial.stage.runs("postgres"):
            try:
                await trial.stage.start("postgres")
            except ProcessDiedError:  # a backend still holds the old shared memory
                trial.note("not yet: a backend of the dead server still lives")
    trial.note("PostgreSQL has recovered")


async def broker_killed(trial: Trial) -> None:
    """The broker dies by SIGKILL."""
    await trial.stage.kill("kafka")
    trial.note("SIGKILL to the broker")
    await trial.last(2, 5)
    await trial.stage.start("kafka")
    trial.note("the broker is back")


async def broker_restarted(trial: Trial) -> None:
    """The broker is asked to stop, and started again."""
    await trial.stage.stop("kafka")
    trial.note("the broker has stopped in order")
    await trial.stage.start("kafka")
    trial.note("the broker is back")


async def broker_paused(trial: Trial) -> None:
    """The broker stands still for five seconds, and later for twenty: longer than every session."""
    for seconds in (5, 20):
        trial.stage.send("kafka", signal.SIGSTOP)
        trial.note(f"SIGSTOP to the broker for {seconds} s")
        await asyncio.sleep(seconds)
        trial.stage.send("kafka", signal.SIGCONT)
        trial.note("SIGCONT")
        await trial.under_load(20)


KINDS: Final = (
    Kind("postgres_immediate", "PostgreSQL, immediate stop", postgres_immediate),
    Kind("backend_killed", "one PostgreSQL backend ended, one killed", backend_killed),
    Kind("postmaster_killed", "kill -9 of the postmaster", postmaster_killed),
    Kind("broker_killed", "kill -9 of the broker", broker_killed),
    Kind("broker_restarted", "clean restart of the broker", broker_restarted),
    Kind("broker_paused", "SIGSTOP of the broker for 5 and 20 seconds", broker_paused, rate=15),
)
