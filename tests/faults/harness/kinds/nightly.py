"""What takes too long for every change: two faults at the same time, and a soak in which nothing may grow."""

import asyncio
import os
import time
from itertools import chain, product
from pathlib import Path
from typing import Final

import psycopg

from tests.faults.harness import sql
from tests.faults.harness.kinds import deaths, network, servers, zombies
from tests.faults.harness.rounds import Kind, Trial
from tests.faults.platform import DATABASES

OF_SERVICES: Final = (*deaths.KINDS, *(kind for kind in zombies.KINDS if kind.name == "slow_consumer"))
OF_WAYS: Final = (*(kind for kind in network.KINDS if kind.name != "ambiguous"), network.BRIEFLY_AMBIGUOUS)
OF_SERVERS: Final = tuple(
    kind
    for kind in servers.KINDS
    if kind.name in {"postgres_immediate", "postmaster_killed", "broker_killed", "broker_restarted"}
)
SAMPLE_SECONDS: Final = 10.0
QUEUES: Final = ("outbox", "parked_messages", "consumer_offsets", "dead_letters")
"""Tables whose rows come and go: they stay as large as they are, whatever passes through."""
SIZES: Final = """
    SELECT relname, pg_total_relation_size(oid) FROM pg_class
    WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
"""


def pairs() -> list[Kind]:
    """Every two faults of different families."""
    return [
        pair(one, other)
        for one, other in chain(
            product(OF_SERVICES, OF_SERVERS), product(OF_SERVICES, OF_WAYS), product(OF_SERVERS, OF_WAYS)
        )
    ]


def pair(one: Kind, other: Kind) -> Kind:
    """Both at the same time."""

    async def hurt(trial: Trial) -> None:
        await asyncio.gather(one.hurt(trial), _passing(other, trial))

    name = f"{one.name}+{other.name}"
    return Kind(name, f"{one.what}, and at the same time {other.what}", hurt, rate=20)


async def _passing(kind: Kind, trial: Trial) -> None:
    """A fault that ends by itself: a service that was killed meanwhile comes back only where it reaches its servers."""
    await kind.hurt(trial)
    trial.stage.clear_weather()


async def soak(trial: Trial) -> None:
    """MINUTES of even load (60 without), in which everything that may grow is weighed."""
    ends = time.monotonic() + 60 * float(os.environ.get("MINUTES") or 60)
    trial.note("even load; what every process and every table needs is written down")
    while time.monotonic() < ends:
        for name, process in trial.stage.processes.items():
            if (used := resident(process.pid)) is not None:
                # A broker's heap is its own affair: it has a limit, and is touched page by page until there.
                trial.weigh(name, used, judged=not name.startswith("kafka"))
        for service in DATABASES:
            await _weigh_tables(trial, service)
        await asyncio.sleep(SAMPLE_SECONDS)
    trial.note("weighed for the last time")


async def _weigh_tables(trial: Trial, service: str) -> None:
    try:
        sizes = await sql.rows(trial.stage.admin_dsn, service, SIZES)
    except psycopg.OperationalError as error:
        trial.note(f"{service}'s tables could not be weighed: {error}")
        return
    for table, size in sizes:
        trial.weigh(f"{service}.{table}", size, judged=table in QUEUES)


def resident(pid: int) -> int | None:
    """The memory that a process and its children would give back, in bytes; None when it has gone."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), None)


SOAK: Final = Kind("soak", "even load for long", soak, rate=15, afterwards=1.0)
