"""A service's moving parts, without HTTP and process: consumers, relays, parked messages, workers."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Final, Generic, TypeVar

import httpx
import psycopg
import structlog
import uuid_utils.compat
from prometheus_client import CollectorRegistry

from libs.contracts.values import MessageId
from libs.messaging.codec import Codec, rfc3339
from libs.messaging.message import UNCORRELATED, Outgoing
from libs.outbox import mailbox
from libs.outbox.handover import Committed
from libs.outbox.relay import Producer, Relay
from libs.outbox.transaction import Transaction
from libs.outbox.writers import Lane
from libs.service.auth import Guard
from libs.service.batch import Batch, Outcome, Parking
from libs.service.consumption import Consumption, Reader
from libs.service.database import Database
from libs.service.runtime import Commits, Runtime, Source
from libs.service.service import Service, Worker
from libs.service.settings import Settings

State = TypeVar("State")

MAINTENANCE_SECONDS: Final = 3_600.0
PARKED_POLL_SECONDS: Final = 1.0
ROOM_WAIT_SECONDS: Final = 0.2
FIRST_BACK_OFF_SECONDS: Final = 0.1
MAX_BACK_OFF_SECONDS: Final = 5.0


def new_message_id() -> MessageId:
    """A fresh UUIDv7 (RFC 9562, section 5.7)."""
    return MessageId(uuid_utils.compat.uuid7())


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports(Generic[State]):
    """Through what an engine reaches everything outside of it.

    `reader` makes a member of the service's group for a consumption and its topics; `clock` is this
    machine's, in seconds since the epoch.
    """

    database: Database
    reader: Callable[[Consumption[State], Sequence[str]], Reader]
    producer: Callable[[], Producer]
    http: httpx.AsyncClient
    guard: Guard
    metrics: CollectorRegistry
    new_id: Callable[[], MessageId] = new_message_id
    clock: Callable[[], float] = time.time


class Engine(Generic[State]):
    """What a running service consists of, put together; its host starts and stops it.

    `done` is told of every committed batch and of how many seconds it took.
    """

    def __init__(
        self,
        service: Service[State],
        settings: Settings,
        ports: Ports[State],
        done: Callable[[Outcome, float], None],
    ) -> None:
        self._service = service
        self._settings = settings
        self._ports = ports
        self._done = done
        self._log = structlog.get_logger("host")
        self._database = ports.database
        self._codec = Codec(service.name, settings.topic_prefix)
        self._commits = Commits()
        self.relays = [
            Relay(
                partial(self._database.dedicated, "relay", idle_session_timeout="5s"),
                ports.producer(),
                process=self._database.process,
                batch_size=settings.relay_batch_size,
                lane=Lane(number, settings.relay_lanes),
            )
            for number in range(settings.relay_lanes)
        ]
        self._batch = Batch(
            service,
            self._codec,
            ports.new_id,
            prefix=settings.topic_prefix,
            parking=Parking(
                settings.parked_attempts,
                timedelta(seconds=settings.parked_first_delay_seconds),
                timedelta(seconds=settings.parked_max_delay_seconds),
            ),
            committed=self._committed,
            outlet=self._offer,
        )
        self.runtime = Runtime(
            name=service.name,
            settings=settings,
            database=self._database,
            log=structlog.get_logger(service.name),
            metrics=ports.metrics,
            http=ports.http,
            guard=ports.guard,
            new_id=ports.new_id,
            feed_source=self._feed,
            put=self._put,
            commits=self._commits,
        )
        self.consumptions = list(self._consumers())

    def _consumers(self) -> "Sequence[Consumption[State]]":
        gated, paced = self._service.gated, self._service.paced
        apart = {topic for one in (gated, paced) if one is not None for topic in one.topics}
        topics = [topic for topic in self._service.topics if topic not in apart]
        consumers = [self._consumption(topics)] if topics else []
        if gated is not None:
            consumers.append(self._consumption(gated.topics, room=partial(self._room, gated.room)))
        if paced is not None:
            consumers.append(self._consumption(paced.topics, pace_seconds=paced.seconds))
        return consumers

    def _consumption(
        self,
        topics: Sequence[str],
        *,
        room: Callable[[], Awaitable[int]] | None = None,
        pace_seconds: float = 0.0,
    ) -> Consumption[State]:
        prefixed = [self._settings.topic_prefix + topic for topic in topics]
        return Consumption(
            self._batch,
            reader=lambda listener: self._ports.reader(listener, prefixed),
            connect=partial(self._database.writing, "consumer"),
            batch_size=self._settings.batch_size,
            done=self._done,
            room=room,
            pace_seconds=pace_seconds,
            clock=self._ports.clock,
        )

    async def _room(self, room: Callable[[Runtime], Awaitable[int]]) -> int:
        free = await room(self.runtime)
        if free <= 0:
            await self._commits.wait(ROOM_WAIT_SECONDS)
        return free

    async def prepare(self, stop: asyncio.Event) -> None:
        """Wait for the database, and let the service look at it; gives up when `stop` is set."""
        delay = FIRST_BACK_OFF_SECONDS
        while not stop.is_set():
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

    def background(self, *more: Worker) -> "list[Coroutine[None, None, None]]":
        """The workers, each run again when it fails: the service's, the given ones, and those of parked messages."""
        workers: list[Worker] = [*self._service.workers, *more]
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

    def _offer(self, rows: Sequence[Committed] | None) -> None:
        if len(self.relays) == 1:
            self.relays[0].offer(rows)
            return
        for relay in self.relays:
            relay.wake()

    def _committed(self, state: State) -> None:
        self._commits.announce()
        if self._service.committed is not None:
            self._service.committed(self.runtime, state)

    async def _feed(self, source: Source) -> int:
        return await self._batch.feed(self._database.transaction, source)

    async def _put(self, tx: Transaction, messages: Sequence[Outgoing]) -> None:
        now = rfc3339(tx.now)
        await mailbox.put(
            tx,
            [
                self._codec.encode(
                    outgoing, outgoing.id or self._ports.new_id(), outgoing.correlation or UNCORRELATED, now
                )
                for outgoing in messages
            ],
            self._offer,
        )
