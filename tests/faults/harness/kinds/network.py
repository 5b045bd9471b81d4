"""The ways between services and servers: cut, slow, and losing what decides."""

import asyncio
import os
from typing import Final

from tests.faults.harness.rounds import Kind, Trial
from tests.faults.harness.weather import Loss, answers, sometimes

BRIEF_MINUTES: Final = 0.25


async def partition_kafka(trial: Trial) -> None:
    """Three services hear nothing from Kafka, and are not told."""
    await _partition(trial, "kafka")


async def partition_postgres(trial: Trial) -> None:
    """Three services hear nothing from PostgreSQL, and are not told."""
    await _partition(trial, "postgres")


async def _partition(trial: Trial, server: str) -> None:
    victims = trial.random.sample(trial.stage.services, 3)
    for victim in victims:
        trial.stage.proxies[victim, server].weather.blackhole()
    trial.note(f"nothing passes between {', '.join(victims)} and {server}")
    await trial.last(6, 9)


async def latency_and_resets(trial: Trial) -> None:
    """Every way takes 20 to 80 ms more, and connections break now and then: by reset, by half-close."""
    proxies = list(trial.stage.proxies.values())
    for proxy in proxies:
        proxy.weather.delay, proxy.weather.jitter = 0.02, 0.06
    trial.note("20 to 80 ms more on every way")
    broken = halved = 0
    for _ in range(24):
        await trial.last(0.1, 0.5)
        victim = trial.random.choice(proxies)
        if trial.random.random() < 0.5:
            broken += victim.reset()
        else:
            halved += victim.half_close()
    trial.note(f"{broken} connections reset, {halved} half-closed")


async def commit_answers_lost(trial: Trial) -> None:
    """A third of the commits happens unseen: the answer does not arrive, and the connection breaks."""
    for proxy in trial.stage.to("postgres"):
        proxy.weather.losing = answers(trial.random, 0.3)
    await _while_lost(trial, "postgres", "a third of the answers to COMMIT gets lost", 6)


async def produce_acks_lost(trial: Trial) -> None:
    """A third of the sends happens unseen."""
    for proxy in trial.stage.to("kafka"):
        proxy.weather.losing = answers(trial.random, 0.3)
    await _while_lost(trial, "kafka", "a third of the acks of produce gets lost", 6)


async def ambiguous(trial: Trial) -> None:
    """Of every hundred commits and sends five are ambiguous, for MINUTES of load (15 seconds without)."""
    await _ambiguous(trial, 60 * float(os.environ.get("MINUTES") or BRIEF_MINUTES))


async def briefly_ambiguous(trial: Trial) -> None:
    """The same for 15 seconds, beside another fault."""
    await _ambiguous(trial, 60 * BRIEF_MINUTES)


async def _ambiguous(trial: Trial, seconds: float) -> None:
    for server in ("postgres", "kafka"):
        for proxy in trial.stage.to(server):
            proxy.weather.losing = sometimes(trial.random, 0.05)
    await _while_lost(trial, "", f"5 % of commits and sends are ambiguous, for {seconds:.0f} s", seconds)


async def _while_lost(trial: Trial, server: str, what: str, seconds: float) -> None:
    proxies = [p for (_, behind), p in trial.stage.proxies.items() if behind == server or not server]
    before = {loss: sum(proxy.lost[loss] for proxy in proxies) for loss in Loss}
    trial.note(what)
    await asyncio.sleep(seconds)
    for proxy in proxies:
        proxy.weather.clear()
    lost = {loss: sum(proxy.lost[loss] for proxy in proxies) - before[loss] for loss in Loss}
    if not any(lost.values()):
        trial.fail("nothing was lost")
    trial.note(", ".join(f"{count} lost: {loss.value}" for loss, count in lost.items()))


BRIEFLY_AMBIGUOUS: Final = Kind("ambiguous", "5 % of commits and sends made ambiguous", briefly_ambiguous)
KINDS: Final = (
    Kind("partition_kafka", "services cut off from Kafka", partition_kafka),
    Kind("partition_postgres", "services cut off from PostgreSQL", partition_postgres),
    Kind("latency_and_resets", "latency, resets and half-closed connections", latency_and_resets),
    Kind("commit_answers_lost", "the answer to COMMIT is dropped", commit_answers_lost),
    Kind("produce_acks_lost", "the ack of produce is dropped", produce_acks_lost),
    Kind("ambiguous", "5 % of commits and sends made ambiguous", ambiguous, rate=20, afterwards=1.0),
)
