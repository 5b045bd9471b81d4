"""Runs one service: its consumers, relay, workers and HTTP server, from start to orderly stop."""

import asyncio
import gc
import signal
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from datetime import timedelta
from functools import partial
from typing import Final, Generic, TypeVar

import httpx
import psycopg
import structlog
import uuid_utils.compat

from libs.contracts.values import MessageId
from libs.crash_points import reach
from libs.messaging.codec import Codec, rfc3339
from libs.messaging.consumer import RecordConsumer
from libs.messaging.message import UNCORRELATED, Outgoing
from libs.messaging.producer import RecordProducer
from libs.outbox import mailbox
from libs.outbox.handover import Committed
from libs.outbox.relay import Relay
from libs.outbox.transaction import Transaction
from libs.outbox.writers import Lane
from libs.service import logs
from libs.service.auth import Guard, JwksOverHttp, TokenVerifier
from libs.service.batch import Batch, Outcome, Parking
from libs.service.consumption import Consumption, Reader
from libs.service.database import Database
from libs.service.errors import StartupRefused
from libs.service.http import Server, build, listen, server
from libs.service.metrics import Metrics
from libs.service.runtime import Commits, Runtime, Source
from libs.service.service import Service, Worker
from libs.service.settings import Settings

State = TypeVar("State")

MAINTENANCE_SECONDS: Final = 3_600.0
GAUGES_SECONDS: Final = 5.0
PARKED_POLL_SECONDS: Final = 1.0
ROOM_WAIT_SECONDS: Final = 0.2
FIRST_BACK_OFF_SECONDS: Final = 0.1
MAX_BACK_OFF_SECONDS: Final = 5.0
ORDERS_IN_LOG: Final = 20
OUTBOX_STATE: Final = """
    SELECT count(*), coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0)::float8 FROM outbox
"""
LETTERS_STATE: Final = """
    SELECT (SELECT count(*) FROM parked_messages), (SELECT count(*) FROM dead_letters WHERE redriven_at IS NULL)
"""


def new_message_id() -> MessageId:
    """A fresh UUIDv7 (RFC 9562, section 5.7)."""
    return MessageId(uuid_utils.compat.uuid7())


class Host(Generic[State]):
    """One running service. `run` returns after SIGTERM or SIGINT, with everything in hand finished."""

    def __init__(self, service: Service[State], settings: Settings) -> None:
        self._service = service
        self._settings = settings
        self._log = structlog.get_logger("host")
        self._metrics = Metrics(service.name)
        self._database = Database(settings.database_url, service.name)
        self._codec = Codec(service.name, settings.topic_prefix)
        self._commits = Commits()
        self._stop = asyncio.Event()
        self._ready = False
        self._relays = [
            Relay(
                partial(self._database.dedicated, "relay", autocommit=True, idle_session_timeout="5s"),
                RecordProducer(settings.kafka_bootstrap_servers, f"{service.name}-relay"),
                batch_size=settings.relay_batch_size,
                lane=Lane(number, settings.relay_lanes),
            )
            for number in range(settings.relay_lanes)
        ]
        self._batch = Batch(
            service,
            self._codec,
            new_message_id,
            prefix=settings.topic_prefix,
            parking=Parking(
                settings.parked_attempts,
                timedelta(seconds=settings.parked_first_delay_seconds),
                timedelta(seconds=settings.parked_max_delay_seconds),
            ),
            committed=self._committed,
            outlet=self._offer,
        )
        self._http = httpx.AsyncClient(timeout=5.0)
        self.runtime = Runtime(
            name=service.name,
            settings=settings,
            database=self._database,
            log=structlog.get_logger(service.name),
            metrics=self._metrics.registry,
            http=self._http,
            guard=Guard(TokenVerifier(self._keys())),
            new_id=new_message_id,
            feed_source=self._feed,
            put=self._put,
            commits=self._commits,
        )
        self._consumptions = list(self._consumers())

    def _keys(self) -> "JwksOverHttp":
        if self._service.keys is not None:
            return self._service.keys(self._database)  # type: ignore[return-value]
        return JwksOverHttp(f"{self._settings.gateway_url}/.well-known/jwks.json", self._http)

    def _consumers(self) -> "Sequence[Consumption[State]]":
        gated = self._service.gated
        apart = gated.topics if gated is not None else ()
        topics = [topic for topic in self._service.topics if topic not in apart]
        consumers = [self._consumption(topics, None)] if topics else []
        if gated is not None:
            consumers.append(self._consumption(gated.topics, partial(self._room, gated.room)))
        return consumers

    def _consumption(
        self, topics: Sequence[str], room: Callable[[], Awaitable[int]] | None
    ) -> Consumption[State]:
        prefix = self._settings.topic_prefix

        def reader(listener: Consumption[State]) -> Reader:
            return RecordConsumer(
                self._settings.kafka_bootstrap_servers,
                group=prefix + self._service.name,
                topics=[prefix + topic for topic in topics],
                listener=listener,
                client_id=self._service.name,
            )

        return Consumption(
            self._batch,
            reader=reader,
            connect=partial(self._database.dedicated, "consumer"),
            batch_size=self._settings.batch_size,
            done=self._done,
            room=room,
        )

    async def _room(self, room: Callable[[Runtime], Awaitable[int]]) -> int:
        free = await room(self.runtime)
        if free <= 0:
            await self._commits.wait(ROOM_WAIT_SECONDS)
        return free

    def stop(self) -> None:
        """Begin the orderly stop, as SIGTERM does."""
        self._stop.set()

    async def run(self) -> None:
        """Start, serve, and stop in order. Raises StartupRefused with a sentence that names the remedy."""
        listener = listen(self._settings.http_host, self._settings.http_port)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        web = server(
            build(self._service, self.runtime, self.faults),
            shutdown_seconds=self._settings.shutdown_seconds,
        )
        await self._database.open()
        try:
            async with asyncio.TaskGroup() as group:
                serving = group.create_task(web.serve(sockets=[listener]))
                await self._prepare()
                reach("host.prepared")
                tasks = [group.create_task(work) for work in self._background()]
                relays = [group.create_task(relay.run()) for relay in self._relays]
                consuming = [(c, group.create_task(self._consume(c))) for c in self._consumptions]
                _settle_memory()
                self._ready = True
                self._log.info("service.started", port=listener.getsockname()[1])
                reach("host.started")
                await self._stop.wait()
                await self._stop_in_order(web, serving, consuming, tasks, relays)
        except BaseExceptionGroup as group:
            refused = group.subgroup(StartupRefused)
            raise refused.exceptions[0] if refused is not None else group from None
        finally:
            listener.close()
            await self._http.aclose()
            await self._database.close()

    async def _consume(self, consumption: Consumption[State]) -> None:
        for relay in self._relays:
            await relay.joined.wait()
        await consumption.run()

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
        flushed = all(await asyncio.gather(*(relay.flush(limit) for relay in self._relays)))
        reach("host.flushed")
        for task in relays:
            task.cancel()
        self._log.info("service.stopped", outbox_flushed=flushed)

    async def _prepare(self) -> None:
        """Wait for the database, and let the service look at it."""
        delay = FIRST_BACK_OFF_SECONDS
        while not self._stop.is_set():
            try:
                if self._service.topics:
                    await self._maintain()
                if self._service.startup is not None:
                    await self._service.startup(self.runtime)
            except (psycopg.Error, OSError) as error:
                self._log.warning("service.waits_for_database", error=repr(error))
                await asyncio.sleep(delay)
                delay = min(delay * 2, MAX_BACK_OFF_SECONDS)
            else:
                return

    def _background(self) -> "list[Coroutine[None, None, None]]":
        workers: list[Worker] = [*self._service.workers, self._gauges]
        if self._service.topics:
            workers += [self._maintenance, self._retry_parked]
        return [self._keep_running(worker) for worker in workers]

    async def _keep_running(self, worker: Worker) -> None:
        delay = FIRST_BACK_OFF_SECONDS
        name = getattr(worker, "__qualname__", repr(worker))
        while True:
            try:
                await worker(self.runtime)
            except Exception as error:  # noqa: BLE001 - whatever it is, the worker must go on
                self._log.exception("worker.failed", worker=name, error=repr(error), retry_in_seconds=delay)
                await asyncio.sleep(delay)
                delay = min(delay * 2, MAX_BACK_OFF_SECONDS)
            else:
                return

    async def _maintenance(self, _runtime: Runtime) -> None:
        while True:
            await asyncio.sleep(MAINTENANCE_SECONDS)
            await self._maintain()

    async def _maintain(self) -> None:
        async with self._database.transaction() as tx:
            await tx.fetch("SELECT inbox_maintain()")

    async def _retry_parked(self, _runtime: Runtime) -> None:
        while True:
            outcome = await self._batch.retry_parked(self._database.transaction)
            if outcome is None:
                await asyncio.sleep(PARKED_POLL_SECONDS)
                continue
            self._done(outcome, 0.0)

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
            self._metrics.relayed.set(sum(relay.counters.sent for relay in self._relays))
            self._metrics.ready.set(not self.faults())
            self._metrics.lag.clear()  # partitions move: what is another process's is not shown here
            for consumption in self._consumptions:
                for place, unread in consumption.lag().items():
                    self._metrics.lag.labels(*place).set(unread)
            await asyncio.sleep(GAUGES_SECONDS)

    def faults(self) -> list[str]:
        """What keeps the service from being ready."""
        if not self._ready:
            return ["stopping" if self._stop.is_set() else "starting"]
        return [c.health.fault for c in self._consumptions if c.health.fault is not None]

    def _offer(self, rows: Sequence[Committed]) -> None:
        if len(self._relays) == 1:
            self._relays[0].offer(rows)
            return
        for relay in self._relays:
            relay.wake()

    def _committed(self, state: State) -> None:
        self._commits.announce()
        if self._service.committed is not None:
            self._service.committed(self.runtime, state)

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

    async def _feed(self, source: Source) -> int:
        return await self._batch.feed(self._database.transaction, source)

    async def _put(self, tx: Transaction, messages: Sequence[Outgoing]) -> None:
        now = rfc3339(tx.now)
        await mailbox.put(
            tx,
            [
                self._codec.encode(
                    outgoing, outgoing.id or new_message_id(), outgoing.correlation or UNCORRELATED, now
                )
                for outgoing in messages
            ],
            self._offer,
        )


def _settle_memory() -> None:
    """Leave what start-up made out of every later collection, and collect the young less often.

    A batch makes some thousand objects that live as long as the batch.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


async def run(service: Service[State]) -> None:
    """Run a service with the settings of this process's environment."""
    settings = service.settings()
    logs.configure(settings, service.name)
    await Host(service, settings).run()


__all__ = ["Host", "StartupRefused", "new_message_id", "run"]
