"""The stack that faults are tried on: real servers and services, each child in a session of its own, proxies between."""

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from random import Random
from types import MappingProxyType
from typing import Final

from devstack import postgres as embedded_postgres
from devstack import processes, server_account, toolchain
from devstack.errors import ProcessDiedError
from devstack.kafka import EmbeddedKafka
from devstack.layout import CHECKOUT, Layout
from devstack.postgres import EmbeddedPostgres
from devstack.preparation import prepare_databases, prepare_operator, prepare_topics
from devstack.processes import ProcessId
from devstack.readiness import http_ok, until_ready
from devstack.records import Processes, Secrets, kafka_cluster
from devstack.units import CARD_PROVIDER, Unit, plan, service_environment
from tests.faults.harness.disks import Disk
from tests.faults.harness.inspectors import Commits, Inspector, Lost, Produces, Unread
from tests.faults.harness.ports import SERVICES, Ports
from tests.faults.harness.proxy import Proxy
from tests.faults.harness.weather import Weather

NOTHING: Final[Mapping[str, str]] = MappingProxyType({})
SETTINGS: Final = {
    # An order must have ended half a minute after the fault is healed, so nothing may wait for longer.
    "PAYMENT_TIMEOUT_SECONDS": "15",
    "INVENTORY_TIMEOUT_SECONDS": "15",
    "RESEND_AFTER_SECONDS": "10",
    "RESEND_AT_MOST_EVERY_SECONDS": "10",
    "ACCESS_TOKEN_SECONDS": "14400",
}
POSTGRES_SETTINGS: Final = {
    "shared_buffers": "128MB",
    "min_wal_size": "80MB",
    "max_wal_size": "256MB",
}
KAFKA_SETTINGS: Final = {
    "log.index.size.max.bytes": str(1024 * 1024),
    "log.segment.delete.delay.ms": "1000",
}
START_SECONDS: Final = 300.0
PATIENCE: Final = {"postgres": 20.0, "kafka": 10.0}
STOPS_WITHIN: Final = 12.0
INSPECTORS: Final[Mapping[str, Callable[[Weather, Lost], Inspector]]] = {
    "postgres": Commits,
    "kafka": Produces,
    "cards": Unread,
}
Key = tuple[str, str]


class Stage:
    """One stack in one folder. Everything is known by its name: a service's, `postgres`, `kafka`, `card_provider`.

    `proxies` are by service and server: ("payment", "kafka").
    """

    def __init__(self, folder: Path, *, offset: int, random: Random, disk_megabytes: int) -> None:
        self._disk_megabytes = disk_megabytes
        self.layout = Layout(folder.absolute(), offset, environ={**os.environ, **SETTINGS})
        self.ports = Ports(offset)
        self._secrets = Secrets(self.layout.folder)
        self._registry = Processes(self.layout.folder)
        self._random = random
        self.proxies = self._proxies()
        self.disks: dict[str, Disk] = {}
        self.processes: dict[str, ProcessId] = {}
        self._units: dict[str, Unit] = {}

    @property
    def services(self) -> tuple[str, ...]:
        """All seven."""
        return SERVICES

    @property
    def gateway_url(self) -> str:
        """Where the customers go."""
        return self.layout.service_url("gateway")

    @property
    def cards_url(self) -> str:
        """Where the card provider's books are read, past its proxy."""
        return f"http://127.0.0.1:{self.layout.card_provider_port}"

    async def up(self) -> None:
        """Make and start everything anew; what an earlier run has left behind is stopped and removed first."""
        await self.down()
        await asyncio.to_thread(toolchain.require)
        await asyncio.to_thread(self._mount)
        self._plan = plan(self.layout, self._secrets)
        self.admin_dsn, self.bootstrap = self._plan.admin_dsn, self._plan.kafka_bootstrap
        self._units = self._made()
        await asyncio.gather(*(proxy.start() for proxy in self.proxies.values()))
        await self.start("postgres", "kafka", CARD_PROVIDER)
        await asyncio.gather(
            prepare_databases(self._plan, self._secrets), prepare_topics(self.layout, self._plan)
        )
        await asyncio.gather(prepare_operator(self.layout, self._plan, self._secrets), self.start(*SERVICES))

    async def down(self) -> None:
        """Stop everything that this folder's runs started; logs stay, and data where the disks are ordinary ones."""
        left = self._registry.all()
        servers = {"postgres", "kafka"}
        for names in (left.keys() - servers, left.keys() & servers):
            await asyncio.gather(*(self._end(left[name], name) for name in names))
        self.processes.clear()
        await asyncio.gather(*(proxy.stop() for proxy in self.proxies.values()))
        for disk in self.disks.values():
            disk.unmount()

    async def start(self, *names: str, environment: Mapping[str, str] = NOTHING) -> None:
        """Start these side by side and return once all are ready; `environment` adds to a service's own."""
        launched = {name: await asyncio.to_thread(self.launch, name, environment) for name in names}
        await asyncio.gather(*(self._units[name].ready(process) for name, process in launched.items()))

    def launch(self, name: str, environment: Mapping[str, str] = NOTHING) -> ProcessId:
        """Start one without waiting for it."""
        assert not self.runs(name), f"{name} runs already"
        self._bury(name)
        if environment:
            self._units[name] = self._service(name, environment=environment)
        process = self._units[name].launch()
        if environment:
            self._units[name] = self._service(name)
        self._registry.record(name, process)
        self.processes[name] = process
        return process

    async def ready(self, *names: str) -> None:
        """Return once all of these, which were launched, are ready."""
        await asyncio.gather(*(self._units[name].ready(self.processes[name]) for name in names))

    def runs(self, name: str) -> bool:
        """Whether it was started and has not ended."""
        return name in self.processes and self.processes[name].alive

    def send(self, name: str, number: signal.Signals) -> int:
        """Send it a signal; returns its process id."""
        process = self.processes[name]
        assert process.alive, f"{name} has ended"
        os.kill(process.pid, number)
        return process.pid

    async def kill(self, *names: str) -> None:
        """SIGKILL, all at the same time, and wait for the ends."""
        for name in names:
            self.send(name, signal.SIGKILL)
        await asyncio.gather(*(self._end(self.processes[name], name) for name in names))

    async def stop(self, name: str, by: signal.Signals = signal.SIGTERM) -> bool:
        """End it well; false when it had to be killed in the end."""
        return await self._end(self.processes[name], name, by)

    def clear_weather(self) -> None:
        """Make every way between services and servers fine again."""
        for proxy in self.proxies.values():
            proxy.weather.clear()

    async def heal(self) -> list[str]:
        """Fair weather everywhere, stopped processes go on, what is dead starts again; returns what was dead."""
        self.clear_weather()
        for disk in self.disks.values():
            disk.empty()
        for process in self.processes.values():
            if process.alive:
                os.kill(process.pid, signal.SIGCONT)
        servers = [name for name in self._units if name not in SERVICES]
        dead = [name for name in servers if not await self._stands(name)]
        await self.start(*dead)
        died = [name for name in SERVICES if not self.runs(name)]
        await self.start(*died)
        return [*dead, *died]

    async def _stands(self, name: str) -> bool:
        """Whether it runs and answers; what is still making up its mind whether to die is waited for."""
        if not self.runs(name):
            return False
        try:
            await self.ready(name)
        except ProcessDiedError:
            return False
        return True

    def twin(self, service: str, number: int = 0) -> Unit:
        """A second process of a service: same database, same group, same proxies, another port."""
        port = self.ports.twin(service) + 10 * number
        return self._service(service, environment={"HTTP_PORT": str(port)}, name=f"{service}_twin_{number}")

    def add(self, unit: Unit) -> None:
        """Know a unit that is not of the plan; `remove` forgets it."""
        self._units[unit.name] = unit

    async def remove(self, name: str, by: signal.Signals = signal.SIGTERM) -> None:
        """End and forget a unit that was added."""
        if self.runs(name):
            await self.stop(name, by)
        self._bury(name)
        self._registry.forget(name)
        self.processes.pop(name, None)
        del self._units[name]

    async def command(self, service: str, *arguments: str) -> str:
        """What `python -m libs.service <arguments>` prints in a service's environment; it must go well."""
        command = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "libs.service",
            *arguments,
            cwd=CHECKOUT,
            env=self._environment(service),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await command.communicate()
        assert command.returncode == 0, output.decode(errors="replace")
        return output.decode().strip()

    def to(self, server: str) -> list[Proxy]:
        """Every proxy in front of a server: `postgres`, `kafka` or `cards`."""
        return [proxy for (_, behind), proxy in self.proxies.items() if behind == server]

    def operator_password(self) -> str:
        """The operator's."""
        return self._secrets("operator")

    def _clear(self) -> None:
        server_account.remove(self.layout.folder / "postgres")
        shutil.rmtree(self.layout.folder, ignore_errors=True)

    def _mount(self) -> None:
        installation = embedded_postgres._installation()
        place = server_account.place_for(self.layout.folder / "postgres", installation)
        owner = None if place.account is None else (place.account.uid, place.account.gid)
        self.disks = {
            "postgres": Disk(place.data, megabytes=self._disk_megabytes),
            "kafka": Disk(self.layout.folder / "kafka", megabytes=self._disk_megabytes),
        }
        for disk in self.disks.values():
            disk.unmount()
        self._clear()
        self.disks["postgres"].mount(owner)
        self.disks["kafka"].mount()

    def _made(self) -> dict[str, Unit]:
        layout = self.layout
        server = EmbeddedPostgres(
            layout.folder / "postgres",
            layout.postgres_port,
            password=self._secrets("postgres"),
            log=layout.log("postgres"),
            settings=POSTGRES_SETTINGS,
            sockets=True,  # what is prepared before the services goes by it; they go through their proxies
        )
        [node] = layout.nodes(1)
        cluster_id, _ = kafka_cluster(layout.folder, 1)
        broker = EmbeddedKafka(
            layout.folder / "kafka",
            node.port,
            node.controller_port,
            cluster_id=cluster_id,
            log=layout.log("kafka"),
            settings={**KAFKA_SETTINGS, **self.ports.broker_settings(node.port, node.controller_port)},
        )
        [cards] = self._plan.named(CARD_PROVIDER)
        units = [
            Unit(
                "postgres",
                (server.port,),
                server.log,
                server.launch,
                partial(server.ready, within=START_SECONDS),
                signal.SIGINT,
            ),
            Unit(
                "kafka", (node.port,), broker.log, broker.launch, partial(broker.ready, within=START_SECONDS)
            ),
            cards,
            *(self._service(service) for service in SERVICES),
        ]
        return {unit.name: unit for unit in units}

    def _service(
        self, service: str, *, environment: Mapping[str, str] = NOTHING, name: str | None = None
    ) -> Unit:
        name, given = name or service, {**self._environment(service), **environment}
        log, port = self.layout.log(name), int(given["HTTP_PORT"])
        argv = [sys.executable, "-m", "libs.service", service]

        async def ready(process: ProcessId) -> None:
            ask = partial(http_ok, port, "/readyz")
            await until_ready(name, ask, process=process, log=log, within=START_SECONDS)

        launch = partial(processes.launch, argv, log=log, cwd=CHECKOUT, env=given)
        return Unit(name, (port,), log, launch, ready)

    def _environment(self, service: str) -> dict[str, str]:
        layout = self.layout
        through = self.admin_dsn.replace(f":{layout.postgres_port}/", f":{self.ports.postgres(service)}/")
        kafka = f"127.0.0.1:{self.ports.kafka(service)}"
        known = service_environment(layout, service, through, kafka, self._secrets)
        return {**known, "CARD_PROVIDER_URL": f"http://127.0.0.1:{self.ports.cards}"}

    def _proxies(self) -> dict[Key, Proxy]:
        layout, ports = self.layout, self.ports
        made: dict[Key, Proxy] = {}
        for s in SERVICES:
            made[s, "postgres"] = self._proxy(f"{s}-postgres", ports.postgres(s), layout.postgres_port)
            made[s, "kafka"] = self._proxy(f"{s}-kafka", ports.kafka(s), ports.broker_for(s))
        made["payment", "cards"] = self._proxy("payment-cards", ports.cards, layout.card_provider_port)
        return made

    def _proxy(self, name: str, port: int, server_port: int) -> Proxy:
        return Proxy(name, port, server_port, INSPECTORS[name.rpartition("-")[2]], self._random)

    async def _end(self, process: ProcessId, name: str, by: signal.Signals | None = None) -> bool:
        if process.alive:
            os.kill(process.pid, signal.SIGCONT)
        by = by or (signal.SIGINT if name == "postgres" else signal.SIGTERM)
        return await processes.stop(process, by=by, patience=PATIENCE.get(name, STOPS_WITHIN))

    def _bury(self, name: str) -> None:
        """Reap what has ended by itself."""
        if name in self.processes:
            try:
                os.waitpid(self.processes[name].pid, os.WNOHANG)
            except ChildProcessError:
                return


def every(names: Iterable[str]) -> str:
    """Names as a fault log shows them."""
    return ", ".join(names)
