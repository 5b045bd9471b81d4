"""Runs a seed's world: people and faults, then healing, quiet, and the audit."""

import asyncio
import gc
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import process_time
from types import MappingProxyType
from typing import Final

import structlog

import gateway.api.intents
import libs.outbox.transaction
from tests.model.substitution import Substitute, substituted
from tests.simulation import schedule
from tests.simulation.audit import Audit, Finding
from tests.simulation.clock import PROCESS, StuckError
from tests.simulation.connection import Connection
from tests.simulation.people import People
from tests.simulation.platform import HANDLERS, SERVICES, Platform, looked_up, simulated_gate
from tests.simulation.schedule import Trouble
from tests.simulation.server import Database, Played
from tests.simulation.shortcuts import SHORTCUTS, Decoding
from tests.simulation.store import Handler, Row
from tests.simulation.timing import TIMES
from tests.simulation.witness import Witness
from tests.simulation.world import World

ORDERS: Final = 30
QUIET_WITHIN_SECONDS: Final = 90.0
"""After the last fault everything must have ended within so much simulated time."""
LOOK_SECONDS: Final = 0.5
NOTHING: Final[Mapping[str, Handler]] = MappingProxyType({})
IN_PLACE_OF: Final = (
    Substitute(libs.outbox.transaction, "Connection", Connection),
    Substitute(gateway.api.intents, "statuses", looked_up),
    Substitute(gateway.api.intents, "open_gate", simulated_gate),
)


@dataclass(slots=True)
class Seen:
    """What became of a seed, in a form that can leave the process."""

    seed: int
    digest: str
    findings: list[Finding]
    faults: Counter[str]
    orders: int
    completed: int
    cancelled: int
    transactions: int
    simulated_seconds: float
    trace: list[str] = field(default_factory=list)


@contextmanager
def simulating(*careless: Substitute) -> Iterator[None]:
    """The platform as the simulation needs it, without what `careless` leaves out, until the block ends."""
    before = structlog.get_config()
    try:
        with substituted(*TIMES, *IN_PLACE_OF, *SHORTCUTS, *careless):
            yield
    finally:
        structlog.configure(**before)


def run(
    seed: int,
    *,
    faults: Sequence[str] | None = None,
    careless: Mapping[str, Handler] = NOTHING,
    traced: bool = False,
) -> Seen:
    """Live through one seed's world and judge it; within `simulating`.

    `faults` are the seed's own unless they are given; `careless` takes the place of statements.
    """
    return Life(seed, careless).live(faults, traced=traced)


@dataclass(frozen=True, slots=True)
class Recording:
    """What the servers of one world were told, and the rows of their tables before and afterwards."""

    beginning: dict[str, dict[str, list[Row]]]
    tapes: dict[str, list[Played]]
    end: dict[str, dict[str, list[Row]]]


def recorded(seed: int) -> Recording:
    """Live through one seed's world and keep all that its servers were told; within `simulating`."""
    world = Life(seed, NOTHING)
    databases = world.platform.databases
    tapes: dict[str, list[Played]] = {}
    beginning = {name: _rows(database) for name, database in databases.items()}
    for name, database in databases.items():
        database.tape = tapes[name] = []
    world.live(None, traced=False)
    return Recording(beginning, tapes, {name: _rows(database) for name, database in databases.items()})


def _rows(database: Database) -> dict[str, list[Row]]:
    return {name: list(table.rows.values()) for name, table in database.tables.items() if table.rows}


class Life:
    """One world, from its making to its end."""

    def __init__(self, seed: int, careless: Mapping[str, Handler]) -> None:
        self.world = World(seed)
        self.witness = Witness(self.world)
        self.platform = Platform(self.world, self.witness, {**HANDLERS, **careless})
        self.people = People(self.world, self.platform, ORDERS)
        self.decoding = Decoding()

    def live(self, faults: Sequence[str] | None, *, traced: bool) -> Seen:
        world, loop = self.world, self.world.loop
        _listen(world, at=logging.WARNING if traced else logging.CRITICAL)
        collecting = gc.isenabled()
        gc.disable()
        loop.set_exception_handler(
            lambda _, what: world.note("unheard", what.get("message"), what.get("exception"))
        )
        try:
            with substituted(*self.decoding.substitutes()):
                findings = self._lived(faults)
        finally:
            _end(world, self.platform)
            loop.close()
            if collecting:
                gc.enable()
        return self._seen(findings, told=traced or bool(findings))

    def _lived(self, faults: Sequence[str] | None) -> list[Finding]:
        """Live through it; what is wrong in the end."""
        world = self.world
        main = world.loop.create_task(
            _live(world, self.platform, self.people, faults), context=world.outside.copy()
        )
        try:
            world.loop.run_until_complete(main)
        except StuckError:
            self.witness.fault("nothing is due any more, and not all is quiet", "I3")
        return list(Audit(self.platform, self.people).findings())

    def _seen(self, findings: list[Finding], *, told: bool) -> Seen:
        histories = self.platform.databases["order_history"].tables["orders"].rows.values()
        statuses = Counter(row["status"] for row in histories)
        return Seen(
            self.world.seed,
            self.world.trace.digest(),
            findings,
            self.world.faults,
            len(self.people.orders),
            statuses["completed"],
            statuses["cancelled"],
            self.witness.transactions,
            self.world.time,
            self.world.trace.told() if told else [],
        )


def share(seeds: range) -> tuple[list[Seen], float]:
    """Run several seeds in a process that ends with them; what they showed, and how many seconds of CPU they took.

    Their worlds are full of cycles. To look for those costs a tenth of all, and the memory is there.
    """
    began = process_time()
    gc.disable()
    with simulating():
        seen = [run(seed) for seed in seeds]
    return seen, process_time() - began


async def _live(world: World, platform: Platform, people: People, faults: Sequence[str] | None) -> None:
    for service in SERVICES:
        platform.start(service)
    names = schedule.drawn(world) if faults is None else list(faults)
    operator = asyncio.ensure_future(platform.settle_alarms())
    await asyncio.sleep(0.2)
    async with asyncio.TaskGroup() as group:
        group.create_task(people.shop())
        group.create_task(schedule.befall(Trouble(world, platform), names))
    healed = world.time
    world.note("healed")
    while not (operator.done() or quiet(platform)) and world.time - healed < QUIET_WITHIN_SECONDS:  # noqa: ASYNC110
        await asyncio.sleep(LOOK_SECONDS)
    world.note("quiet" if quiet(platform) else "not quiet")
    operator.cancel()
    await asyncio.wait([operator])
    if not operator.cancelled():
        await operator


def _listen(world: World, *, at: int) -> None:
    """Take what services log from a level on into the trace; the rest costs nothing."""

    def noted(_logger: object, _method: str, event: MutableMapping[str, object]) -> str:
        process = PROCESS.get()
        world.note(
            "log", process.name if process else "-", *(f"{name}={value}" for name, value in event.items())
        )
        raise structlog.DropEvent

    structlog.configure(
        processors=[structlog.processors.format_exc_info, noted],
        wrapper_class=structlog.make_filtering_bound_logger(at),
        cache_logger_on_first_use=False,
    )


def quiet(platform: Platform) -> bool:
    """Whether nothing is under way any more."""
    tables = {name: database.tables for name, database in platform.databases.items()}
    return (
        not any(each["outbox"].rows for each in tables.values())
        and not any(each["parked_messages"].rows for name, each in tables.items() if name != "gateway")
        and not tables["gateway"]["order_intents"].rows
        and not any(row["state"] == "due" for row in tables["payment"]["payment_attempts"].rows.values())
        and all(row["finished_at"] is not None for row in tables["order_saga"]["sagas"].rows.values())
        and all(_read(platform, service) for service in SERVICES)
    )


def _read(platform: Platform, service: str) -> bool:
    offsets = platform.databases[service].tables.get("consumer_offsets")
    if offsets is None:
        return True
    places = (place for place in platform.broker.logs if place.topic in platform.readers[service])
    return all(
        (row := offsets.rows.get(tuple(place))) is not None
        and row["next_offset"] >= platform.broker.logs[place].end
        for place in places
    )


def _end(world: World, platform: Platform) -> None:
    """End all processes, and see that nothing of them stays."""
    for running in [one for each in platform.running.values() for one in each]:
        platform.kill(running)
    loop = world.loop
    for _ in range(50):
        left = [task for process in platform.gone for task in process.leftovers]
        if not left:
            return
        loop.run_until_complete(loop.create_task(asyncio.sleep(0.5), context=world.outside.copy()))
        for task in left:
            task.cancel()
    raise RuntimeError("there are tasks that do not end")
