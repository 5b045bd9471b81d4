"""Which faults befall a world, and when: drawn from its seed, each with its own end."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, TypeAlias

from psycopg import errors

from libs.contracts.topics import COMMAND_TOPICS, EVENT_TOPICS
from libs.messaging.record import TopicPartition
from tests.simulation.broker import KAFKA
from tests.simulation.cards import CARDS
from tests.simulation.platform import SERVICES, Platform, Running
from tests.simulation.world import World

Fault: TypeAlias = Callable[["Trouble"], Awaitable[None]]
"""Does its harm and undoes what of it does not pass by itself; it ends when it is over."""

SPAN_SECONDS: Final = 5.5
"""Faults begin within so many seconds."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """What a fault works on."""

    world: World
    platform: Platform
    only: str = ""
    """The service or topic that a fault's name asks for, as in `crash:payment`; otherwise chance decides."""

    def service(self, *besides: str) -> str:
        """One of the services, by chance."""
        if self.only:
            return self.only
        return self.world.chance.choice([name for name in SERVICES if name not in besides])

    def process(self, service: str) -> Running | None:
        """One of a service's processes, if it has any."""
        able = [one for one in self.platform.running[service] if not one.process.paused]
        return self.world.chance.choice(able) if able else None

    async def wait(self, least: float, most: float) -> None:
        """Let some time pass."""
        await asyncio.sleep(self.world.chance.uniform(least, most))

    def place(self, topics: tuple[str, ...]) -> TopicPartition:
        """A partition of one of these topics, by chance."""
        chance = self.world.chance
        return TopicPartition(
            self.only or chance.choice(topics), chance.randrange(self.platform.broker.partitions)
        )


async def crash(trouble: Trouble) -> None:
    """A process is killed; another one starts a little later."""
    service = trouble.service()
    if (running := trouble.process(service)) is not None:
        trouble.platform.kill(running)
        await trouble.wait(0.1, 2.0)
        trouble.platform.start(service)


async def crash_all(trouble: Trouble) -> None:
    """Everything is killed at once."""
    gone = [running for each in trouble.platform.running.values() for running in each]
    for running in gone:
        running.process.resume()
        trouble.platform.kill(running)
    await trouble.wait(0.2, 1.5)
    for running in gone:
        trouble.platform.start(running.service)


async def zombie(trouble: Trouble) -> None:
    """A process hangs while another takes over, and goes on later with what it had in hand."""
    service = trouble.service()
    if (running := trouble.process(service)) is not None:
        await _stopped_at_work(trouble, running)
        await trouble.wait(0.0, 1.0)
        trouble.platform.start(service)
        await trouble.wait(1.0, 7.0)
        running.process.resume()


async def _stopped_at_work(trouble: Trouble, running: Running) -> None:
    """Stop a process between two statements of a batch; where it has nothing to do, as it is."""
    stopped = asyncio.Event()
    process, left = running.process, trouble.world.chance.choice((1, 1, 2, 3))

    def stop() -> None:
        nonlocal left
        left -= 1
        if left <= 0:
            process.ambush = None
            trouble.platform.pause(running)
            stopped.set()

    process.ambush = stop
    with suppress(TimeoutError):
        async with asyncio.timeout(1.5):
            await stopped.wait()
    if not stopped.is_set() and process.alive:
        left = 0
        stop()


async def second_process(trouble: Trouble) -> None:
    """A service gets one more process, which may leave again."""
    service = trouble.service()
    running = trouble.platform.start(service)
    await trouble.wait(0.5, 4.0)
    if trouble.world.chance.random() < 0.5 and running in trouble.platform.running[service]:
        trouble.platform.kill(running)


async def scale_out(trouble: Trouble) -> None:
    """A service gets one more process, for good."""
    trouble.platform.start(trouble.service())


async def commit_unknown(trouble: Trouble) -> None:
    """Answers to commits get lost."""
    database = trouble.platform.databases[trouble.service()]
    database.lose_commits = 0.3
    await trouble.wait(0.3, 2.0)
    database.lose_commits = 0.0


async def backend_killed(trouble: Trouble) -> None:
    """A server process is killed, whatever it is doing."""
    for _ in range(3):
        database = trouble.platform.databases[trouble.service()]
        if sessions := list(database.sessions):
            trouble.world.chance.choice(sessions).die(errors.AdminShutdown("terminating connection"))
        await trouble.wait(0.1, 0.5)


async def conflict(trouble: Trouble) -> None:
    """Transactions are refused for what others do."""
    database = trouble.platform.databases[trouble.service()]
    database.refuse += [
        errors.SerializationFailure("could not serialize access"),
        errors.DeadlockDetected("deadlock detected"),
        errors.LockNotAvailable("canceling statement due to lock timeout"),
    ]
    await trouble.wait(0.5, 2.0)
    database.refuse.clear()


async def database_restart(trouble: Trouble) -> None:
    """A database server stops at once and comes back."""
    database = trouble.platform.databases[trouble.service()]
    database.go_down()
    await trouble.wait(0.2, 3.0)
    database.up = True


async def cut_from_database(trouble: Trouble) -> None:
    """A process and its database cannot reach each other."""
    service = trouble.service()
    if (running := trouble.process(service)) is not None:
        trouble.platform.cut_off(running, service)
        await trouble.wait(0.5, 7.0)
        trouble.world.network.heal(running.process, service)


async def cut_from_broker(trouble: Trouble) -> None:
    """A process and the broker cannot reach each other."""
    if (running := trouble.process(trouble.service())) is not None:
        trouble.platform.cut_off(running, KAFKA)
        await trouble.wait(0.5, 7.0)
        trouble.world.network.heal(running.process, KAFKA)


async def broker_outage(trouble: Trouble) -> None:
    """No broker answers."""
    trouble.platform.broker.up = False
    await trouble.wait(0.5, 4.0)
    trouble.platform.broker.up = True


async def leader_change(trouble: Trouble) -> None:
    """Partitions have no leader for a while."""
    places = [trouble.place((*COMMAND_TOPICS, *EVENT_TOPICS)) for _ in range(4)]
    for place in places:
        trouble.platform.broker.logs[place].leaderless = True
    await trouble.wait(0.2, 2.0)
    for place in places:
        trouble.platform.broker.logs[place].leaderless = False


async def send_unknown(trouble: Trouble) -> None:
    """Acknowledgements of sends get lost."""
    trouble.platform.broker.lose_sends = 0.3
    await trouble.wait(0.3, 2.0)
    trouble.platform.broker.lose_sends = 0.0


async def duplicates(trouble: Trouble) -> None:
    """Batches are written twice."""
    trouble.platform.broker.double_sends = 0.3
    await trouble.wait(0.5, 3.0)
    trouble.platform.broker.double_sends = 0.0


async def replay(trouble: Trouble) -> None:
    """All records of a partition come once more, from zero."""
    await trouble.wait(1.0, 4.0)
    place = trouble.place((*COMMAND_TOPICS, *EVENT_TOPICS))
    log = trouble.platform.broker.logs[place]
    rows = [(record.key, record.value, record.headers) for record in log.records]
    trouble.platform.broker.append(place, rows, None)


async def lost_records(trouble: Trouble) -> None:
    """Retention runs past commands that nobody has read; somebody then says where to go on."""
    await trouble.wait(0.5, 3.0)
    place = trouble.place(COMMAND_TOPICS)
    trouble.platform.lose(place)


async def clock_skew(trouble: Trouble) -> None:
    """A machine's clock is wrong by up to an hour."""
    if (running := trouble.process(trouble.service())) is not None:
        running.process.skew = trouble.world.chance.uniform(-3_600.0, 3_600.0)
        await trouble.wait(1.0, 6.0)
        running.process.skew = 0.0


async def slow_network(trouble: Trouble) -> None:
    """Everything takes much longer."""
    with trouble.world.slow_network():
        await trouble.wait(0.5, 3.0)


async def provider_silent(trouble: Trouble) -> None:
    """The card provider does what it is asked and does not say so."""
    trouble.platform.cards.swallow = 0.6
    await trouble.wait(1.0, 4.0)
    trouble.platform.cards.swallow = 0.0


async def provider_away(trouble: Trouble) -> None:
    """The card provider cannot be reached."""
    if (running := trouble.process("payment")) is not None:
        trouble.world.network.cut(running.process, CARDS)
        await trouble.wait(0.5, 4.0)
        trouble.world.network.heal(running.process, CARDS)


async def poison(trouble: Trouble) -> None:
    """Records come that nobody can read."""
    for _ in range(2):
        trouble.platform.poison(trouble.place((*COMMAND_TOPICS, *EVENT_TOPICS)))
        await trouble.wait(0.1, 1.0)


async def bug(trouble: Trouble) -> None:
    """A service cannot handle some orders for a while."""
    service = trouble.service("gateway")
    until = trouble.world.time + trouble.world.chance.uniform(0.5, 2.5)
    sagas = list(trouble.platform.databases["order_saga"].tables["sagas"].rows.values())
    for row in trouble.world.chance.sample(sagas, min(2, len(sagas))):
        trouble.platform.witness.bugs[service, row["business_key"]] = until
    await asyncio.sleep(max(0.0, until - trouble.world.time))


KINDS: Final[Mapping[str, Fault]] = MappingProxyType(
    {
        fault.__name__: fault
        for fault in (
            crash,
            crash_all,
            zombie,
            second_process,
            scale_out,
            commit_unknown,
            backend_killed,
            conflict,
            database_restart,
            cut_from_database,
            cut_from_broker,
            broker_outage,
            leader_change,
            send_unknown,
            duplicates,
            replay,
            lost_records,
            clock_skew,
            slow_network,
            provider_silent,
            provider_away,
            poison,
            bug,
        )
    }
)
HARMLESS: Final = frozenset({"scale_out", "clock_skew", "provider_silent", "provider_away", "poison"})
"""Faults after which nothing need be sent again."""
FEWEST: Final = 5
MOST: Final = 9


async def befall(trouble: Trouble, names: list[str]) -> None:
    """Let the named faults happen, each at its time; ends when all are over."""

    async def happen(name: str, at: float) -> None:
        await asyncio.sleep(at)
        kind, _, only = name.partition(":")
        trouble.world.note("fault", name)
        trouble.world.faults[kind] += 1
        await KINDS[kind](replace(trouble, only=only))
        trouble.world.note("over", name)

    async with asyncio.TaskGroup() as group:
        for name in names:
            group.create_task(happen(name, trouble.world.chance.uniform(0.2, SPAN_SECONDS)))


def drawn(world: World) -> list[str]:
    """The faults of this world's seed."""
    return [world.chance.choice(list(KINDS)) for _ in range(world.chance.randint(FEWEST, MOST))]
