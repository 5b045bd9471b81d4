"""The PostgreSQL and the Kafka that a test run uses: given from outside, in containers, or embedded."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from devstack.kafka import EmbeddedKafka
from devstack.postgres import EmbeddedPostgres
from devstack.readiness import free_port

Provider = Literal["external", "testcontainers", "embedded"]

POSTGRES_SETTINGS: Mapping[str, str] = {
    # A killed server process loses nothing by this; only a machine that dies does, and with it the test run.
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "128MB",
    "max_connections": "200",
}
KAFKA_SETTINGS: Mapping[str, str] = {
    "log.segment.delete.delay.ms": "1000",
    "log.index.size.max.bytes": str(1024 * 1024),
}


@dataclass(frozen=True, slots=True)
class Backing:
    """Where both are: the DSN of a superuser, and the broker's address."""

    postgres_admin: str
    kafka_bootstrap: str


def provider(environ: Mapping[str, str] = os.environ) -> Provider:
    """`TEST_PROVIDER`, else external where its addresses are given, else embedded."""
    match environ.get("TEST_PROVIDER", ""):
        case "external" | "testcontainers" | "embedded" as named:
            return named
        case "":
            given = "POSTGRES_URL" in environ and "KAFKA_BOOTSTRAP_SERVERS" in environ
            return "external" if given else "embedded"
        case unknown:
            raise ValueError(f"TEST_PROVIDER={unknown}: external, testcontainers or embedded, please")


@asynccontextmanager
async def backing(folder: Path, environ: Mapping[str, str] = os.environ) -> AsyncIterator[Backing]:
    """Both, until the block ends; what was started is stopped and its data removed."""
    async with AsyncExitStack() as stack:
        match provider(environ):
            case "external":
                yield Backing(environ["POSTGRES_URL"], environ["KAFKA_BOOTSTRAP_SERVERS"])
            case "testcontainers":
                yield await _containers(stack)
            case "embedded":
                postgres, kafka = await asyncio.gather(_postgres(stack, folder), _kafka(stack, folder))
                yield Backing(postgres.admin_dsn, kafka.bootstrap_servers)


async def _postgres(stack: AsyncExitStack, folder: Path) -> EmbeddedPostgres:
    postgres = EmbeddedPostgres(folder / "postgres", free_port(), settings=POSTGRES_SETTINGS)
    stack.callback(postgres.remove)
    stack.push_async_callback(postgres.stop)
    await postgres.start()
    return postgres


async def _kafka(stack: AsyncExitStack, folder: Path) -> EmbeddedKafka:
    kafka = EmbeddedKafka(folder / "kafka", free_port(), free_port(), settings=KAFKA_SETTINGS, heap="256m")
    stack.callback(kafka.remove)
    stack.push_async_callback(kafka.stop)
    await kafka.start()
    return kafka


async def _containers(stack: AsyncExitStack) -> Backing:
    """The container library is loaded where it is asked for: it talks to the engine when it is imported."""
    from tests.support.containers import KafkaContainer, postgres_container  # noqa: PLC0415

    postgres, kafka = postgres_container(), KafkaContainer()
    for container in (postgres, kafka):
        stack.push_async_callback(asyncio.to_thread, container.stop)
    await asyncio.gather(asyncio.to_thread(postgres.start), asyncio.to_thread(kafka.start))
    return Backing(postgres.get_connection_url(), kafka.bootstrap_servers)
