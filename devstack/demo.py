"""`make demo`: starts the shop with short deadlines, lives through every kind of order, and shows what happened."""

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

import httpx

from devstack import processes, supervisor
from devstack.customer import Customer
from devstack.errors import StackError
from devstack.layout import Layout
from devstack.records import Processes, read_json, write_private
from devstack.scenarios import QUICK, Order, Outage, Scenario, timeouts

_DEADLINES: Final[Mapping[str, str]] = {"INVENTORY_TIMEOUT_SECONDS": "3", "PAYMENT_TIMEOUT_SECONDS": "4"}


@dataclass(frozen=True, slots=True)
class Played:
    """A scenario and how its order ended, or what went wrong."""

    scenario: Scenario
    order: Order | None
    wrong: str | None


async def demo(layout: Layout) -> bool:
    """Play every scenario; False when one ended otherwise than it must. DEMO_EXIT=1 stops the stack afterwards."""
    hurried = replace(layout, environ={**_DEADLINES, **layout.environ})
    await _stop(layout, "order_saga")  # one that runs already has other deadlines
    print("Starting the shop …", flush=True)
    await supervisor.up(hurried)
    print("\nPlacing orders …", flush=True)
    played = await _play(hurried)
    for each in played:
        print(_told(each))
    _keep(layout, played)
    if layout.environ.get("DEMO_EXIT") == "1":
        print("Stopping the shop …", flush=True)
        await supervisor.down(layout)
    else:
        print("The orchestrator again, with its usual deadlines …", flush=True)
        await _stop(layout, "order_saga")
        await supervisor.start_service(layout, "order_saga")
        _say_how_to_go_on(layout)
    wrong = [each.wrong for each in played if each.wrong]
    if wrong:
        raise StackError("\n".join(["The demo did not go as it must:", *wrong]))
    return True


async def _play(layout: Layout) -> list[Played]:
    """Play all at once, but for the outage: it begins when the quick ones are through."""
    quick: list[asyncio.Task[Played]] = []

    async def begin_outage() -> None:
        await asyncio.wait(quick)
        await _stop(layout, "inventory")

    async def end_outage() -> None:
        await supervisor.start_service(layout, "inventory")

    async with httpx.AsyncClient(base_url=layout.service_url("gateway"), timeout=20, trust_env=False) as http:

        async def play(scenario: Scenario) -> Played:
            order = None
            try:
                customer = await Customer.register(http, scenario.name.replace("_", "-"))
                order = await scenario.play(customer)
            except (StackError, httpx.TransportError) as problem:
                return Played(scenario, None, f"{scenario.name}: {problem}")
            return Played(scenario, order, scenario.differs(order))

        async with asyncio.TaskGroup() as group:
            quick += [group.create_task(play(scenario)) for scenario in QUICK]
            slow = [
                group.create_task(play(scenario)) for scenario in timeouts(Outage(begin_outage, end_outage))
            ]
    return [task.result() for task in quick + slow]


async def _stop(layout: Layout, service: str) -> None:
    """Stop a service the way an operator would: SIGTERM to its process."""
    registry = Processes(layout.folder)
    if (process := registry.alive().get(service)) is not None:
        await processes.stop(process)


def _told(played: Played) -> str:
    scenario, order = played.scenario, played.order
    head = f"\n{scenario.name}: {scenario.told}"
    if order is None:
        return f"{head}\n    went wrong"
    why = f": {order['reason']}" if order["reason"] else ""
    began = _moment(order["timeline"][0]["at"])
    entries = [
        f"    {(_moment(entry['at']) - began).total_seconds():+7.3f} s  {entry['event']}"
        for entry in order["timeline"]
    ]
    return "\n".join([head, f"    order {order['order_id']} is {order['status']}{why}", *entries])


def _keep(layout: Layout, played: Sequence[Played]) -> None:
    write_private(layout.demo_file, [_kept(each.scenario, each.order) for each in played if each.order])
    print(f"\nAll of this in {os.path.relpath(layout.demo_file)}.", flush=True)


def _kept(scenario: Scenario, order: Order) -> dict[str, object]:
    return {
        "scenario": scenario.name,
        "order_id": order["order_id"],
        "status": order["status"],
        "reason_code": order["reason_code"],
        "timeline": [{"event": entry["event"], "at": entry["at"]} for entry in order["timeline"]],
    }


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _say_how_to_go_on(layout: Layout) -> None:
    operator = read_json(layout.stack_file)["operator"]
    print(
        f"\nThe shop goes on: {layout.service_url('gateway')}/docs"
        f"\nThe operator: {operator['email']}, password {operator['password']}"
        "\n`make status` shows what runs, `make down` stops it.",
        flush=True,
    )
