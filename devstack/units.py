"""What a stack consists of: each unit is one process, with its ports, its start, and the question that proves it ready."""

import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

from devstack import postgres, processes
from devstack.kafka import EmbeddedKafka
from devstack.layout import CHECKOUT, SERVICE_PORTS, Layout
from devstack.postgres import EmbeddedPostgres
from devstack.processes import ProcessId
from devstack.readiness import START_SECONDS, http_ok, until_ready
from devstack.records import Secrets, kafka_cluster
from libs.service.settings import OWN
from migrations.provision import access

CARD_PROVIDER: Final = "card_provider"
_BROKERS: Final = ("kafka", "kafka_2", "kafka_3")
_OWN_SETTINGS: Final = ("POSTGRES_URL", "MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES")


@dataclass(frozen=True, slots=True)
class Unit:
    """One process of the stack; `stop_signal` ends it well, it listens on `ports`, and these `services` run in it."""

    name: str
    ports: tuple[int, ...]
    log: Path
    launch: Callable[[], ProcessId]
    ready: Callable[[ProcessId], Awaitable[None]]
    stop_signal: signal.Signals = signal.SIGTERM
    services: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """All units of a stack, and where its servers are, be they its own or given from outside.

    `local_dsn` is the admin's as `admin_dsn` is, by the shortest way on this machine: it is what services get.
    """

    units: tuple[Unit, ...]
    admin_dsn: str
    local_dsn: str
    kafka_bootstrap: str

    @property
    def brokers(self) -> tuple[Unit, ...]:
        return tuple(unit for unit in self.units if unit.name.startswith("kafka"))

    @property
    def services(self) -> tuple[Unit, ...]:
        return tuple(unit for unit in self.units if unit.services)

    def named(self, name: str) -> tuple[Unit, ...]:
        """Return the unit of that name, or the one which that service runs in; none where an external server takes its place."""
        return tuple(unit for unit in self.units if name in (unit.name, *unit.services))


def plan(layout: Layout, secrets: Secrets) -> Plan:
    """Say what has to run; servers given from outside are not among it."""
    units = [_card_provider(layout)]
    bootstrap = layout.external_kafka
    if bootstrap is None:
        cluster_id, brokers = kafka_cluster(layout.folder, layout.brokers)
        nodes = {name: _kafka_node(layout, name, cluster_id, brokers) for name in _BROKERS[:brokers]}
        bootstrap = nodes[_BROKERS[0]].bootstrap_servers
        units += [_kafka_unit(name, node) for name, node in nodes.items()]
    if layout.external_postgres is not None:
        admin_dsn = local_dsn = layout.external_postgres
    else:
        server = EmbeddedPostgres(
            layout.folder / "postgres",
            layout.postgres_port,
            password=secrets("postgres"),
            log=layout.log("postgres"),
            sockets=True,
        )
        admin_dsn, local_dsn = server.admin_dsn, server.local_dsn
        units.append(_postgres_unit(server))
    for process in dict.fromkeys(map(layout.process_of, SERVICE_PORTS)):
        services = tuple(name for name in SERVICE_PORTS if layout.process_of(name) == process)
        environments = {
            service: service_environment(layout, service, local_dsn, bootstrap, secrets)
            for service in services
        }
        ports = tuple(layout.service_port(service) for service in services)
        arguments = ["-m", "libs.service", *services]
        unit = _python_unit(layout, process, arguments, _in_one(environments), *ports)
        units.append(replace(unit, services=services))
    return Plan(tuple(units), admin_dsn, local_dsn, bootstrap)


def _in_one(environments: Mapping[str, Mapping[str, str]]) -> Mapping[str, str]:
    """The environment of a process that runs these services: what is not the same for all is named with the service."""
    first = next(iter(environments.values()))
    if len(environments) == 1:
        return first
    shared = {name: value for name, value in first.items() if name.lower() not in OWN}
    for service, environment in environments.items():
        shared |= {f"{service}_{name}".upper(): environment[name.upper()] for name in OWN}
    return shared


def service_environment(
    layout: Layout, service: str, admin_dsn: str, bootstrap: str, secrets: Secrets
) -> dict[str, str]:
    """Return a service's whole environment: the caller's, with the stack's addresses in it."""
    inherited = {name: value for name, value in layout.environ.items() if name not in _OWN_SETTINGS}
    urls = {f"{name.upper()}_URL": layout.service_url(name) for name in SERVICE_PORTS}
    return {
        **inherited,
        "PROFILE": "dev",
        "DATABASE_URL": access(admin_dsn, service, secrets).runtime_dsn,
        "KAFKA_BOOTSTRAP_SERVERS": bootstrap,
        "TOPIC_PARTITIONS": str(layout.partitions),
        "HTTP_HOST": "127.0.0.1",
        "HTTP_PORT": str(layout.service_port(service)),
        "CARD_PROVIDER_URL": f"http://127.0.0.1:{layout.card_provider_port}",
        "LOG_FORMAT": "json",
        "PYTHONUNBUFFERED": "1",
        **urls,
    }


def _postgres_unit(server: EmbeddedPostgres) -> Unit:
    return Unit("postgres", (server.port,), server.log, server.launch, server.ready, postgres.STOP_SIGNAL)


def _kafka_node(layout: Layout, name: str, cluster_id: str, brokers: int) -> EmbeddedKafka:
    nodes = layout.nodes(brokers)
    node = nodes[_BROKERS.index(name)]
    return EmbeddedKafka(
        layout.folder / name,
        node.port,
        node.controller_port,
        cluster=nodes,
        cluster_id=cluster_id,
        log=layout.log(name),
    )


def _kafka_unit(name: str, node: EmbeddedKafka) -> Unit:
    return Unit(name, (node.port, node.controller_port), node.log, node.launch, node.ready)


def _card_provider(layout: Layout) -> Unit:
    port = layout.card_provider_port
    environment = {
        **layout.environ,
        "HTTP_HOST": "127.0.0.1",
        "HTTP_PORT": str(port),
        "CARD_PROVIDER_FILE": str(layout.folder / "card_provider.sqlite"),
    }
    return _python_unit(layout, CARD_PROVIDER, ["-m", "devstack.card_provider"], environment, port)


def _python_unit(
    layout: Layout, name: str, arguments: list[str], environment: Mapping[str, str], *ports: int
) -> Unit:
    log = layout.log(name)
    argv = [sys.executable, *arguments]
    return Unit(
        name,
        ports,
        log,
        launch=partial(processes.launch, argv, log=log, cwd=CHECKOUT, env=environment),
        ready=partial(_until_http_ready, name, ports, log),
    )


async def _until_http_ready(name: str, ports: Sequence[int], log: Path, process: ProcessId) -> None:
    for port in ports:
        await until_ready(
            f"{name} on port {port}",
            partial(http_ok, port, "/readyz"),
            process=process,
            log=log,
            within=START_SECONDS,
        )
