"""`up`, `down`, `status`, `clean`: starts what is dead in the order of dependence, stops what it started, and no more."""

import asyncio
import os
import shutil
import signal
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from functools import partial

from devstack import processes, server_account, toolchain
from devstack.errors import PortTakenError, StackError
from devstack.kafka import STOP_PATIENCE
from devstack.layout import SERVICE_PORTS, Layout
from devstack.postgres import STOP_SIGNAL, discard_left
from devstack.preparation import (
    operator,
    prepare_databases,
    prepare_operator,
    prepare_topics,
    require_external_servers,
)
from devstack.processes import ProcessId
from devstack.readiness import http_ok, port_is_free
from devstack.records import (
    Processes,
    Secrets,
    as_started,
    only_one,
    read_json,
    same_processes,
    write_private,
)
from devstack.units import CARD_PROVIDER, Plan, Unit, plan
from migrations.provision import access

_SERVICES_STOP_WITHIN = 12.0
_POSTGRES_STOPS_WITHIN = 20.0
_Start = Callable[[Sequence[Unit]], Awaitable[None]]
_OURS = ("logs", "kafka", "kafka_2", "kafka_3")


async def up(layout: Layout) -> None:
    """Return once everything is ready; what runs already is left alone, and stack.json is written anew."""
    with only_one(layout.folder):
        registry, secrets = Processes(layout.folder), Secrets(layout.folder)
        alive = registry.alive()
        layout = same_processes(layout, registry.all())
        is_new = not secrets.kept
        wanted = plan(layout, secrets)
        _require_same_ports(layout, alive)
        dead = [unit for unit in wanted.units if unit.name not in alive]
        _require_free_ports(dead)
        if is_new:
            await asyncio.to_thread(discard_left, layout.folder / "postgres")
        await require_external_servers(layout)
        if any(unit in dead for unit in wanted.brokers):
            await asyncio.to_thread(toolchain.require)
        began = time.monotonic()
        start = partial(_start, registry=registry, dead=dead, began=began)
        async with asyncio.TaskGroup() as group:
            group.create_task(_databases(wanted, secrets, start))
            group.create_task(_topics(layout, wanted, start))
            group.create_task(start(wanted.named(CARD_PROVIDER)))
        async with asyncio.TaskGroup() as group:
            group.create_task(prepare_operator(layout, wanted, secrets))
            group.create_task(start(wanted.services))
        write_stack_file(layout, wanted, secrets)
        _say_where(layout, started=len(dead), seconds=time.monotonic() - began)


async def start_service(layout: Layout, service: str) -> None:
    """Start one service that is dead, in a stack whose servers run, and return once it is ready."""
    with only_one(layout.folder):
        registry, secrets = Processes(layout.folder), Secrets(layout.folder)
        wanted = plan(as_started(layout), secrets)
        dead = [unit for unit in wanted.named(service) if unit.name not in registry.alive()]
        await _start(dead, registry=registry, dead=dead, began=time.monotonic())
        write_stack_file(layout, wanted, secrets)


async def down(layout: Layout) -> None:
    """Stop everything that `up` started, services first; nothing else is touched."""
    with only_one(layout.folder):
        registry = Processes(layout.folder)
        running = registry.all()
        if not running:
            print(f"Nothing runs in {layout.folder}.")
        servers = {name for name in running if name == "postgres" or name.startswith("kafka")}
        await _stop(registry, running.keys() - servers)
        await _stop(registry, servers)
        if "postgres" in servers:
            server_account.remove_socket_folder(layout.folder / "postgres")
        layout.stack_file.unlink(missing_ok=True)


async def clean(layout: Layout) -> None:
    """Stop the stack and remove its data; files in STACK_DIR that are not the stack's stay."""
    await down(layout)
    server_account.remove(layout.folder / "postgres")
    for name in _OURS:
        shutil.rmtree(layout.folder / name, ignore_errors=True)
    for pattern in ("*.json", "card_provider.sqlite*", "lock", "postgres.password"):
        for file in layout.folder.glob(pattern):
            file.unlink()
    if layout.folder.exists() and not any(layout.folder.iterdir()):
        layout.folder.rmdir()
    if layout.external_postgres or layout.external_kafka:
        print("The databases and topics on the external servers stay; drop them there.")


async def status(layout: Layout) -> bool:
    """Print a line per process; True when all that were started run and are ready."""
    registry = Processes(layout.folder)
    known = registry.all()
    if not known:
        print(f"Nothing runs in {layout.folder}: `make up` starts it.")
        return True
    well = True
    for unit in plan(as_started(layout), Secrets(layout.folder)).units:
        process = known.get(unit.name)
        state = await _state(unit, process)
        well = well and state in ("ready", "running")
        pid = "" if process is None else f"pid {process.pid}"
        print(f"  {unit.name:<14} {state:<12} {pid:<12} port {_ports(unit)}")
    return well


def write_stack_file(layout: Layout, wanted: Plan, secrets: Secrets) -> None:
    """Tell tools where everything is."""
    alive = Processes(layout.folder).alive()
    running = {service: unit.name for unit in wanted.services for service in unit.services}
    account = operator(secrets)
    content = {
        "gateway_url": layout.service_url("gateway"),
        "service_urls": {service: layout.service_url(service) for service in SERVICE_PORTS},
        "kafka_bootstrap": wanted.kafka_bootstrap,
        "postgres": {
            service: access(wanted.admin_dsn, service, secrets).runtime_dsn for service in SERVICE_PORTS
        },
        "postgres_admin": wanted.admin_dsn,
        "pids": {name: alive[name].pid for name in ("postgres", "kafka") if name in alive}
        | {service: alive[process].pid for service, process in running.items() if process in alive},
        "operator": {"email": account.email, "password": account.password},
        "card_provider": {
            "url": f"http://127.0.0.1:{layout.card_provider_port}",
            "pid": alive[CARD_PROVIDER].pid if CARD_PROVIDER in alive else None,
        },
        "brokers": [
            {"port": unit.ports[0], "pid": alive[unit.name].pid}
            for unit in wanted.brokers
            if unit.name in alive
        ],
    }
    write_private(layout.stack_file, content)


async def _databases(wanted: Plan, secrets: Secrets, start: _Start) -> None:
    await start(wanted.named("postgres"))
    await prepare_databases(wanted, secrets)


async def _topics(layout: Layout, wanted: Plan, start: _Start) -> None:
    await start(wanted.brokers)
    await prepare_topics(layout, wanted)


async def _start(units: Sequence[Unit], *, registry: Processes, dead: Collection[Unit], began: float) -> None:
    """Start those that are dead, side by side, and wait until all are ready."""

    def launch(unit: Unit) -> ProcessId:
        process = unit.launch()
        registry.record(unit.name, process)  # before anything is waited for, and whatever interrupts
        return process

    async def start(unit: Unit) -> None:
        fresh = unit in dead
        process = await asyncio.to_thread(launch, unit) if fresh else registry.all()[unit.name]
        await unit.ready(process)
        if fresh:
            after = time.monotonic() - began
            print(f"  {unit.name:<14} ready on port {_ports(unit):<6} after {after:4.1f} s", flush=True)

    async with asyncio.TaskGroup() as group:
        for unit in units:
            group.create_task(start(unit))


async def _stop(registry: Processes, names: Iterable[str]) -> None:
    known = registry.all()

    async def stop(name: str) -> None:
        was_alive = known[name].alive
        match name:
            case "postgres":
                by, patience = STOP_SIGNAL, _POSTGRES_STOPS_WITHIN
            case "kafka" | "kafka_2" | "kafka_3":
                by, patience = signal.SIGTERM, STOP_PATIENCE
            case _:
                by, patience = signal.SIGTERM, _SERVICES_STOP_WITHIN
        gentle = await processes.stop(known[name], by=by, patience=patience)
        registry.forget(name)
        ended = "was dead" if not was_alive else "stopped" if gentle else f"killed after {patience:.0f} s"
        print(f"  {name:<14} {ended}", flush=True)

    async with asyncio.TaskGroup() as group:
        for name in names:
            group.create_task(stop(name))


def _ports(unit: Unit) -> str:
    """Where it listens for clients; a broker's second port is its controller's."""
    return ", ".join(map(str, unit.ports if unit.services else unit.ports[:1]))


async def _state(unit: Unit, process: ProcessId | None) -> str:
    if process is None:
        return "not started"
    if not process.alive:
        return "dead"
    if unit.name == "postgres" or unit.name.startswith("kafka"):
        return "running"
    return "ready" if all([await http_ok(port, "/readyz") for port in unit.ports]) else "not ready"


def _require_same_ports(layout: Layout, alive: Collection[str]) -> None:
    told = read_json(layout.stack_file).get("gateway_url", layout.service_url("gateway"))
    if alive and told != layout.service_url("gateway"):
        raise StackError(f"The stack in {layout.folder} runs on other ports ({told}): `make down` first.")


def _require_free_ports(units: Iterable[Unit]) -> None:
    taken = [f"{port} ({unit.name})" for unit in units for port in unit.ports if not port_is_free(port)]
    if taken:
        raise PortTakenError(
            f"In use by another program: port {', '.join(taken)}. Stop that program,"
            " or set STACK_PORT_OFFSET=100 to move every port of this stack."
        )


def _say_where(layout: Layout, *, started: int, seconds: float) -> None:
    print(
        f"{started} processes started in {seconds:.1f} s; the shop: {layout.service_url('gateway')}/docs,"
        f" addresses and passwords: {os.path.relpath(layout.stack_file)}, logs: {os.path.relpath(layout.logs)}/",
        flush=True,
    )


def require_running(layout: Layout) -> None:
    """Raise where the stack was not started."""
    if not layout.stack_file.exists():
        raise StackError(f"No stack runs in {layout.folder}: `make up` starts it.")
