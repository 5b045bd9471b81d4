"""Processes die: services one by one and all at once, as by SIGKILL, and rolling, as in a deploy."""

from typing import Final

from tests.faults.harness.rounds import Kind, Trial


async def kill_each(trial: Trial) -> None:
    """Every service once, in an order by chance, each while orders are under way in it."""
    services = list(trial.stage.services)
    trial.random.shuffle(services)
    for service in services:
        await trial.under_load(12)
        await trial.stage.kill(service)
        trial.note(f"SIGKILL {service}")
        await trial.last(0.1, 0.6)
        await trial.stage.start(service)
        trial.note(f"{service} is back")


async def kill_all(trial: Trial) -> None:
    """All services in the same moment."""
    await trial.stage.kill(*trial.stage.services)
    trial.note("SIGKILL to all services")
    await trial.last(0.5, 2.0)
    await trial.stage.start(*trial.stage.services)


async def start_in_any_order(trial: Trial) -> None:
    """All services die, and come back one after the other in an order by chance."""
    await trial.stage.kill(*trial.stage.services)
    order = list(trial.stage.services)
    trial.random.shuffle(order)
    trial.note(f"SIGKILL to all services; back in this order: {', '.join(order)}")
    for service in order:
        trial.stage.launch(service)
        await trial.last(0.1, 0.8)
    await trial.stage.ready(*order)


async def rolling_restart(trial: Trial) -> None:
    """Every service is asked to stop, and started again once it has, one after the other."""
    for service in trial.stage.services:
        gently = await trial.stage.stop(service)
        trial.note(f"SIGTERM {service}: {'ended by itself' if gently else 'had to be killed'}")
        await trial.stage.start(service)


KINDS: Final = (
    Kind("kill_each", "kill -9 of each service, one by one", kill_each),
    Kind("kill_all", "kill -9 of all services at once", kill_all),
    Kind("start_in_any_order", "all services start again in random order", start_in_any_order),
    Kind("rolling_restart", "rolling restart of all services", rolling_restart),
)
