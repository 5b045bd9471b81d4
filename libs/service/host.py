"""Runs services: the engine and the HTTP server of each, from start to orderly stop."""

import asyncio
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, Generic, TypeVar

import httpx
import structlog

from libs.crash_points import reach
from libs.messaging.consumer import RecordConsumer
from libs.messaging.producer import RecordProducer
from libs.messaging.requests import Requests
from libs.outbox.relay import Producer
from libs.service import logs
from libs.service.auth import Guard, JwksOverHttp, TokenVerifier
from libs.service.batch import Outcome
from libs.service.consumption import Consumption, Reader
from libs.service.database import Database
from libs.service.engine import Engine, Ports, new_message_id
from libs.service.errors import StartupRefused
from libs.service.http import Server, build, listen, server
from libs.service.memory import settle, stay_settled
from libs.service.metrics import Metrics
from libs.service.runtime import Runtime
from libs.service.service import Service
from libs.service.settings import Settings, read
from libs.service.trust import trust

State = TypeVar("State")

GAUGES_SECONDS: Final = 5.0
ORDERS_IN_LOG: Final = 20
OUTBOX_STATE: Final = """
    SELECT count(*), coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0)::float8 FROM outbox
"""
LETTERS_STATE: Final = """
    SELECT (SELECT count(*) FROM parked_messages), (SELECT count(*) FROM dead_letters WHERE redriven_at IS NULL)
"""


class Host(Generic[State]):
    """One running service. `run` returns after SIGTERM or SIGINT, with everything in hand finished."""

    def __init__(self, service: Service[State], settings: Settings) -> None:
        self._service = service
        self._settings = settings
        self._log = structlog.get_logger("host")
        self._database = Database(settings.database_url, service.name)
        self._requests = Requests()
        self._metrics = Metrics(service.name, self._database.statements, self._requests)
        self._stop = asyncio.Event()
        self._ready = False
        self._http = httpx.AsyncClient(timeout=5.0, verify=trust())
        ports = Ports(
            database=self._database,
            reader=self._reader,
            producer=self._producer,
            http=self._http,
            guard=Guard(TokenVerifier(self._keys())),
            metrics=self._metrics.registry,
        )
        self._engine = Engine(service, settings, ports, self._done)
        self.runtime = self._engine.runtime

    def _keys(self) -> "JwksOverHttp":
        if self._service.keys is not None:
            return self._service.keys(self._database)  # type: ignore[return-value]
        return JwksOverHttp(f"{self._settings.gateway_url}/.well-known/jwks.json", self._http)

    def _reader(self, listener: Consumption[State], topics: Sequence[str]) -> Reader:
        return RecordConsumer(
            self._settings.kafka_bootstrap_servers,
            group=self._settings.topic_prefix + self._service.name,
            topics=topics,
            listener=listener,
            client_id=self._service.name,
            requests=self._requests,
        )

    def _producer(self) -> Producer:
        return RecordProducer(
            self._settings.kafka_bootstrap_servers, f"{self._service.name}-relay", requests=self._requests
        )

    def stop(self) -> None:
        """Begin the orderly stop, as SIGTERM does."""
        self._stop.set()

    async def run(self) -> None:
        """Start, serve, and stop in order. Raises StartupRefused with a sentence that names the remedy."""
        logs.speak_for(self._service.name)
        listener = listen(self._settings.http_host, self._settings.http_port)
        web = server(
            build(self._service, self.runtime, self.faults),
            shutdown_seconds=self._settings.shutdown_seconds,
        )
        await self._database.open()
        try:
            async with _refused_alone(), asyncio.TaskGroup() as group:
                serving = group.create_task(web.serve(sockets=[listener]))
                await self._engine.prepare(self._stop)
                reach("host.prepared")
                tasks = [group.create_task(work) for work in self._engine.background(self._gauges)]
                relays = [group.create_task(relay.run()) for relay in self._engine.relays]
                consuming = [(c, group.create_task(c.run())) for c in self._engine.consumptions]
                settle()
                self._ready = True
                self._log.info("service.started", port=listener.getsockname()[1])
                reach("host.started")
                await self._stop.wait()
                await self._stop_in_order(web, serving, consuming, tasks, relays)
        finally:
            listener.close()
            await self._http.aclose()
            await self._database.close()

    async def _stop_in_order(
        self,
        web: Server,
        serving: "asyncio.Task[None]",
        consuming: "Sequence[tuple[Consumption[State], asyncio.Task[None]]]",
        tasks: "Sequence[asyncio.Task[None]]",
        relays: "Sequence[asyncio.Task[None]]",
    ) -> None:
        self._log.info("service.stopping")
        reach("host.stopping")
        self._ready = False
        self.runtime.stopping.set()
        web.should_exit = True
        await asyncio.gather(asyncio.wait([serving]), *(consumer.stop(task) for consumer, task in consuming))
        reach("host.consumers_stopped")
        for task in tasks:
            task.cancel()
        limit = self._settings.shutdown_seconds / 4
        flushed = all(await asyncio.gather(*(relay.flush(limit) for relay in self._engine.relays)))
        reach("host.flushed")
        for task in relays:
            task.cancel()
        self._log.info("service.stopped", outbox_flushed=flushed)

    async def _gauges(self, _runtime: Runtime) -> None:
        while True:
            async with self._database.transaction() as tx:
                ((rows, age),) = await tx.fetch(OUTBOX_STATE)
                self._metrics.outbox_rows.set(rows)
                self._metrics.outbox_age.set(age)
                if self._service.topics:
                    ((parked, dead),) = await tx.fetch(LETTERS_STATE)
                    self._metrics.parked.set(parked)
                    self._metrics.dead.set(dead)
            self._metrics.relayed.set(sum(relay.counters.sent for relay in self._engine.relays))
            self._metrics.ready.set(not self.faults())
            self._metrics.lag.clear()  # partitions move: what is another process's is not shown here
            for consumption in self._engine.consumptions:
                for place, unread in consumption.lag().items():
                    self._metrics.lag.labels(*place).set(unread)
            await asyncio.sleep(GAUGES_SECONDS)

    def faults(self) -> list[str]:
        """What keeps the service from being ready."""
        if not self._ready:
            return ["stopping" if self._stop.is_set() else "starting"]
        return [fault for c in self._engine.consumptions if (fault := c.fault) is not None]

    def _done(self, outcome: Outcome, seconds: float) -> None:
        self._metrics.batch(outcome, seconds)
        self._log.info(
            "batch.handled",
            records=outcome.records,
            decided=outcome.decided,
            duplicates=outcome.duplicates,
            skipped=outcome.skipped,
            parked=outcome.parked,
            dead=outcome.dead,
            sent=outcome.sent,
            milliseconds=round(seconds * 1_000, 1),
            order_ids=outcome.orders[:ORDERS_IN_LOG],
        )


@asynccontextmanager
async def _refused_alone() -> AsyncIterator[None]:
    """Raise a refused start by itself, not in the group of what ended with it."""
    try:
        yield
    except BaseExceptionGroup as group:
        refused = group.subgroup(StartupRefused)
        raise refused.exceptions[0] if refused is not None else group from None


async def run(*services: Service[Any]) -> None:
    """Run services in this process, with the settings of its environment, until SIGTERM or SIGINT stops them all.

    Each has its own consumers, connections and port; they share the interpreter and the event loop.
    """
    settings = [read(service.settings, service.name) for service in services]
    logs.configure(settings[0])
    hosts = [Host(service, own) for service, own in zip(services, settings, strict=True)]
    loop = asyncio.get_running_loop()

    def stop() -> None:
        for host in hosts:
            host.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    settling = asyncio.create_task(stay_settled())
    try:
        async with _refused_alone(), asyncio.TaskGroup() as group:
            for host in hosts:
                group.create_task(host.run())
    finally:
        settling.cancel()


__all__ = ["Host", "StartupRefused", "new_message_id", "run"]
