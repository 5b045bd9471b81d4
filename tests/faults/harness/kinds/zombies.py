"""Processes that are thought dead and are not: paused, replaced, awake again; and groups that never settle."""

import asyncio
import signal
from contextlib import suppress
from typing import Final

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from tests.faults.harness.broker import Broker
from tests.faults.harness.rounds import Kind, Trial

DEPUTISED: Final = ("order_saga", "inventory", "payment")
READS: Final = {
    "order_saga": (
        "order-saga-commands",
        "order-events",
        "product-events",
        "inventory-events",
        "payment-events",
    ),
    "order": ("order-commands",),
    "product": ("product-commands",),
    "inventory": ("inventory-commands", "order-events"),
    "payment": ("payment-commands",),
    "order_history": ("order-events", "product-events", "inventory-events", "payment-events"),
}
JOINED_WITHIN: Final = 8.0
LEFT_WITHIN: Final = 3.0


async def zombie(trial: Trial) -> None:
    """Three services stand still in the middle of their work until others have their partitions; then they wake."""
    twins = [trial.stage.twin(service) for service in DEPUTISED]
    for twin in twins:
        trial.stage.add(twin)
    await trial.stage.start(*(twin.name for twin in twins))
    trial.note(f"a second process of each of {', '.join(DEPUTISED)}")
    await trial.under_load(20)
    for service in DEPUTISED:
        trial.stage.send(service, signal.SIGSTOP)
    trial.note("SIGSTOP to the first ones")
    seconds = await trial.last(15, 20)
    for service in DEPUTISED:
        trial.stage.send(service, signal.SIGCONT)
    trial.note(f"SIGCONT after {seconds:.0f} s: their partitions are others' by now")
    await trial.under_load(20)
    await asyncio.gather(*(trial.stage.remove(twin.name) for twin in twins))
    trial.note("the second ones have left")


async def rebalance_storm(trial: Trial) -> None:
    """Strangers join every group and leave it again, some without a word."""
    broker = Broker(trial.stage.bootstrap)
    joined = 0
    loop = asyncio.get_running_loop()
    until = loop.time() + trial.random.uniform(10, 14)
    trial.note("strangers come and go in every group")
    while loop.time() < until:
        members = [broker.member(group, topics) for group, topics in READS.items()]
        joined += sum(await asyncio.gather(*map(_visit, members)))
    trial.note(f"they joined {joined} times")
    if not joined:
        trial.fail("no stranger was let into any group")


async def _visit(member: AIOKafkaConsumer) -> bool:
    try:
        async with asyncio.timeout(JOINED_WITHIN):
            await member.start()
    except (KafkaError, TimeoutError):
        return False
    finally:
        with suppress(KafkaError, TimeoutError):
            async with asyncio.timeout(LEFT_WITHIN):
                await member.stop()
    return True


async def slow_consumer(trial: Trial) -> None:
    """Two services get a fifth of the time: their backlogs grow, and drain afterwards."""
    loop = asyncio.get_running_loop()
    until = loop.time() + trial.random.uniform(7, 10)
    victims = trial.random.sample(["inventory", "payment", "order", "order_saga", "order_history"], 2)
    trial.note(f"{' and '.join(victims)} get a fifth of the time")
    while loop.time() < until:
        for number, seconds in ((signal.SIGSTOP, 0.4), (signal.SIGCONT, 0.1)):
            for victim in victims:
                trial.stage.send(victim, number)
            await asyncio.sleep(seconds)


KINDS: Final = (
    Kind("zombie", "services paused for 15 to 20 s, replaced, and awake again", zombie, rate=15),
    Kind("rebalance_storm", "members join and leave every group without end", rebalance_storm, rate=20),
    Kind("slow_consumer", "two services get a fifth of the time", slow_consumer),
)
