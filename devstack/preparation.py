"""What the servers need before the services start: databases, tables, topics, the catalogue, the operator."""

import asyncio
import sys
from dataclasses import dataclass

import psycopg
from psycopg import AsyncConnection

from devstack import catalogue, kafka
from devstack.errors import StackError
from devstack.layout import CHECKOUT, SERVICE_PORTS, Layout
from devstack.records import Secrets
from devstack.units import Plan, service_environment
from libs.messaging.topics import create_topics
from migrations import runner
from migrations.provision import access, provision

OPERATOR_EMAIL = "operator@example.com"


@dataclass(frozen=True, slots=True)
class Operator:
    """The dev profile's operator account."""

    email: str
    password: str


def operator(secrets: Secrets) -> Operator:
    """Return the account as it is, or will be made."""
    return Operator(OPERATOR_EMAIL, secrets("operator"))


async def require_external_servers(layout: Layout) -> None:
    """Raise StackError where a server that was given from outside does not answer."""
    if (dsn := layout.external_postgres) is not None:
        try:
            await (await AsyncConnection.connect(dsn, connect_timeout=5)).close()
        except psycopg.OperationalError as error:
            raise StackError(f"POSTGRES_URL names a server that does not let us in: {error}") from error
    if (servers := layout.external_kafka) is not None:
        places = [server.strip().rpartition(":") for server in servers.split(",")]
        asked = [
            await kafka.answers(host.strip("[]"), int(port)) for host, _, port in places if port.isdecimal()
        ]
        if not any(asked):
            raise StackError(
                f"KAFKA_BOOTSTRAP_SERVERS={servers}: no broker answers there; start it, or unset this."
            )


async def prepare_databases(plan: Plan, secrets: Secrets) -> None:
    """Make what is missing: roles, databases, tables, catalogue."""
    made = await provision(plan.admin_dsn, secrets)
    await asyncio.to_thread(migrate, plan.admin_dsn, secrets)
    await catalogue.load(made["product"].runtime_dsn, made["inventory"].runtime_dsn)


def migrate(admin_dsn: str, secrets: Secrets, service: str | None = None) -> None:
    """Bring one database, or all, to the newest revision."""
    for each in [service] if service else SERVICE_PORTS:
        runner.upgrade(each, access(admin_dsn, each, secrets).owner_dsn)


async def prepare_topics(layout: Layout, plan: Plan) -> None:
    """Create the topics that are missing, with as many copies as the brokers allow."""
    copies = max(1, len(plan.brokers))
    await create_topics(
        plan.kafka_bootstrap,
        partitions=layout.partitions,
        replication_factor=copies,
        min_insync_replicas=max(1, copies - 1),
    )


async def prepare_operator(layout: Layout, plan: Plan, secrets: Secrets) -> None:
    """Make the operator's account, or set its password again on old data."""
    account = operator(secrets)
    arguments = ["-m", "gateway", "users", "create", "--email", account.email]
    arguments += ["--name", "Operator", "--role", "operator"]
    command = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        "--password-stdin",
        cwd=CHECKOUT,
        env=service_environment(layout, "gateway", plan.local_dsn, plan.kafka_bootstrap, secrets),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _nothing = await command.communicate(account.password.encode())
    if command.returncode != 0:
        raise StackError(
            f"The operator's account could not be made:\n{output.decode(errors='replace')[-2000:]}"
        )
