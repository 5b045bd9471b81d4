"""The services of the platform, each its own engine in processes of the simulated world."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any, Final, cast

import httpx
from prometheus_client import CollectorRegistry

import gateway.api.intents
import inventory.app
import order.app
import order_history.app
import payment.app
import product.app
from gateway.api.gate import Gate
from gateway.settings import GatewaySettings
from gateway.store.intake import Intake, Limits
from libs.contracts.topics import COMMAND_TOPICS, CONSUMING_SERVICES, EVENT_TOPICS, dead_letters
from libs.contracts.values import OrderId
from libs.messaging.codec import message_id_of
from libs.messaging.producer import RecordProducer
from libs.messaging.record import TopicPartition
from libs.service import operations
from libs.service.auth import Guard
from libs.service.consumption import Consumption
from libs.service.engine import Engine, Ports
from libs.service.problems import Problem
from libs.service.runtime import Runtime
from libs.service.service import Service
from libs.service.settings import Settings
from order_saga.app import compose as compose_order_saga
from order_saga.cancel_completed_order import cancel_completed_order
from order_saga.census import Census
from order_saga.create_order import create_order
from order_saga.domain import Book
from order_saga.settings import OrderSagaSettings
from payment.card_desk import CardDesk
from payment.settings import PaymentSettings
from tests.simulation.broker import SEND_SECONDS, Broker
from tests.simulation.cards import Cards
from tests.simulation.clock import Process
from tests.simulation.connection import Client
from tests.simulation.group import Reader
from tests.simulation.sender import client
from tests.simulation.server import Database, Request
from tests.simulation.statements import front, mailbox, orchestrator, participants
from tests.simulation.store import Handler, Table
from tests.simulation.timing import STEPS
from tests.simulation.witness import Witness, witnessed
from tests.simulation.world import World

SERVICES: Final = ("gateway", "order_saga", "order", "product", "inventory", "payment", "order_history")
PARTITIONS: Final = 3
HANDLERS: Final = {
    **mailbox.HANDLERS,
    **orchestrator.HANDLERS,
    **participants.HANDLERS,
    **front.HANDLERS,
}


def tables(service: str) -> list[Table]:
    """The tables of a service's database."""
    shared = mailbox.tables(consumer=service != "gateway")
    match service:
        case "gateway":
            own = front.gateway_tables()
        case "order_saga":
            own = orchestrator.tables()
        case "order":
            own = participants.order_tables()
        case "product":
            own = participants.product_tables()
        case "inventory":
            own = participants.inventory_tables()
        case "payment":
            own = participants.payment_tables()
        case _:
            own = front.history_tables()
    return shared + own


@cache
def book() -> Book:
    """The sagas, with times that suit a world in which minutes are dear."""
    create = create_order.tuned(**{name: time for name, time in STEPS.items() if name in create_order.steps})
    steps = cancel_completed_order.steps
    return Book.of(
        create, cancel_completed_order.tuned(**{name: time for name, time in STEPS.items() if name in steps})
    )


@cache
def settings(service: str) -> Settings:
    """A service's settings: its defaults, but for what would take long."""
    given: dict[str, object] = {"database_url": "simulated", "profile": "dev"}
    match service:
        case "gateway":
            return GatewaySettings.model_validate(
                given | {"resend_after_seconds": 5.0, "resend_at_most_every_seconds": 10.0}
            )
        case "order_saga":
            return OrderSagaSettings.model_validate(given)
        case "payment":
            return PaymentSettings.model_validate(given)
        case _:
            return Settings.model_validate(given)


@dataclass(slots=True, eq=False)
class Running:
    """A process that runs a service."""

    service: str
    process: Process
    engine: Engine[Any]
    gate: Gate | None = None


class Platform:
    """All services, their databases, the broker and the card provider."""

    def __init__(self, world: World, witness: Witness, handlers: Mapping[str, Handler]) -> None:
        self.world = world
        self.witness = witness
        topics = [*COMMAND_TOPICS, *EVENT_TOPICS, *(dead_letters(one) for one in CONSUMING_SERVICES)]
        self.broker = Broker(world, topics, PARTITIONS)
        self.broker.watch = witness.appended
        self.databases = {name: Database(world, name, tables(name), handlers) for name in SERVICES}
        for name, database in self.databases.items():
            database.watch = partial(witness.committed, name)
        witness.databases = self.databases
        self.cards = Cards(world)
        self.running: dict[str, list[Running]] = {name: [] for name in SERVICES}
        self.readers = {name: self._service(name).topics for name in SERVICES}
        """Which topics each service reads."""
        self.gone: list[Process] = []
        self._started = 0

    def start(self, service: str) -> Running:
        """Start one more process of a service."""
        self._started += 1
        process = Process(f"{service}-{self._started}", self.world.loop, self._started)
        running = process.context.copy().run(self._engine, service, process)
        self.running[service].append(running)
        self.world.note("start", process.name)
        process.spawn(self._live(running))
        return running

    def kill(self, running: Running) -> None:
        """End a process at once."""
        self.world.note("kill", running.process.name)
        self.running[running.service].remove(running)
        self.gone.append(running.process)
        running.process.kill()
        self._unheard(running)

    def pause(self, running: Running) -> None:
        """Stop a process; servers end what it leaves idle."""
        self.world.note("pause", running.process.name)
        running.process.pause()
        self._unheard(running)
        self.world.later(5.0, self._idle, running)

    def cut_off(self, running: Running, server: str) -> None:
        """Let nothing pass between a process and a server."""
        self.world.note("cut", running.process.name, server)
        self.world.network.cut(running.process, server)
        self._unheard(running)
        self.world.later(5.0, self._idle, running)

    def lose(self, place: TopicPartition) -> None:
        """Let retention run past everything that a partition holds, read or not."""
        log = self.broker.logs[place]
        for service, topics in self.readers.items():
            if place.topic in topics:
                stored = self.databases[service].tables["consumer_offsets"].rows.get(tuple(place))
                unread = log.records[0 if stored is None else stored["next_offset"] :]
                self.witness.unread[service].update(filter(None, map(message_id_of, unread)))
        self.broker.truncate(place, log.end)

    def poison(self, place: TopicPartition) -> None:
        """Write a record that nobody can read; who reads its topic has a dead letter to keep."""
        message_id = self.world.new_id()
        headers = [
            ("ce_specversion", b"1.0"),
            ("ce_id", str(message_id).encode()),
            ("ce_type", b"order.Rubbish.v9"),
        ]
        self.witness.poison.add(message_id)
        for service, topics in self.readers.items():
            if place.topic in topics:
                self.witness.poisoned[service].add(message_id)
        self.broker.append(place, [(b"rubbish", b"{}", headers)], None)

    async def settle_alarms(self) -> None:
        """An operator: where records are gone that a service has not read, it goes on behind them."""
        while True:
            await asyncio.sleep(1.0)
            short = [(place, log.start) for place, log in self.broker.logs.items() if log.start]
            for service, topics in self.readers.items():
                for place, start in short:
                    if place.topic in topics:
                        self._settle(self.databases[service], place, start)

    def _settle(self, database: Database, place: TopicPartition, start: int) -> None:
        row = database.tables["consumer_offsets"].rows.get(tuple(place))
        if row is not None and row["next_offset"] < start and database.up:
            session = database.open(None, "operator")
            session.arrive(Request([(operations.ACCEPT, [start, *place])]))
            self.world.later(3.0, session.die)

    async def lookup(self, order_ids: Sequence[OrderId]) -> dict[str, str]:
        """What the gateway asks order_history: the statuses that the read model shows."""
        await asyncio.sleep(self.world.delay() * 2)
        history = self.databases["order_history"]
        able = [one for one in self.running["order_history"] if not one.process.paused]
        if not history.up or not able:
            await asyncio.sleep(SEND_SECONDS)
            raise Problem(503, "unavailable", "order_history does not answer.")
        rows = history.tables["orders"].rows
        return {str(one): str(rows[one]["status"]) for one in order_ids if one in rows}

    def _unheard(self, running: Running) -> None:
        """The broker notices, after a while, that a process does not answer."""
        for group in self.broker.groups.values():
            group.expire(running.process)

    def _idle(self, running: Running) -> None:
        """idle_in_transaction_session_timeout, and the relay's idle_session_timeout."""
        database = self.databases[running.service]
        for session in list(database.sessions):
            silent = running.process.paused or not self.world.network.between(running.process, database.name)
            if session.process is running.process and silent and (session.tx is not None or session.advisory):
                session.die()

    def _engine(self, service: str, process: Process) -> Running:
        database = Client(self.world, self.databases[service], process)

        def reader(listener: Consumption[Any], topics: Sequence[str]) -> Reader:
            return Reader(self.broker, process, service, topics, listener)

        ports: Ports[Any] = Ports(
            database=database.port(),
            reader=reader,
            producer=lambda: RecordProducer("", service, timeout_seconds=3.0, client=client(self.broker)),
            http=cast("httpx.AsyncClient", self),
            guard=cast("Guard", None),
            metrics=CollectorRegistry(),
            new_id=self.world.new_id,
            clock=process.clock,
        )
        engine = Engine(self._service(service), settings(service), ports, lambda *_: None)
        gate = self.gate(engine.runtime) if service == "gateway" else None
        return Running(service, process, engine, gate)

    def gate(self, runtime: Runtime) -> Gate:
        """The gateway's parts without those that serve HTTP: tokens, passwords, pages."""
        given = cast("GatewaySettings", runtime.settings)
        limits = Limits(
            given.group_size,
            given.group_wait_seconds,
            given.group_queue,
            given.commit_seconds,
            given.idempotency_seconds,
            given.shed_look_seconds,
        )
        chance = self.world.chance.random
        intake = Intake(runtime.database.transaction, runtime.outbox, limits, chance=chance)
        absent: Any = None
        return Gate(runtime, given, absent, absent, absent, intake, absent, b"")

    def _service(self, name: str) -> Service[Any]:
        match name:
            case "gateway":
                made: Service[Any] = Service(
                    name="gateway", workers=[gateway.api.intents.settle], settings=GatewaySettings
                )
            case "order_saga":
                made = compose_order_saga(book(), Census(2_000))
            case "order":
                made = order.app.service
            case "product":
                made = product.app.service
            case "inventory":
                made = inventory.app.service
            case "payment":
                made = payment.app.compose(CardDesk(self.cards.connect, chance=self.world.chance.random))
            case _:
                made = replace(order_history.app.compose(), workers=[])
        return witnessed(made, self.witness)

    async def _live(self, running: Running) -> None:
        """What libs.service.host does, without HTTP and signals."""
        engine = running.engine
        try:
            await engine.prepare(asyncio.Event())
            works = [*engine.background(), *(relay.run() for relay in engine.relays)]
            works += [one.run() for one in engine.consumptions]
            await asyncio.gather(*works)
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            if running.process.alive:
                self.witness.fault(f"{running.process.name} ended with {error!r}")
                raise


def simulated_gate(runtime: Runtime) -> Gate:
    """In the place of gateway.api.gate.open_gate."""
    return cast("Platform", runtime.http).gate(runtime)


async def looked_up(gate: Gate, order_ids: Sequence[OrderId]) -> dict[str, str]:
    """In the place of gateway.api.history.statuses: the network between the two is simulated too."""
    return await cast("Platform", gate.runtime.http).lookup(order_ids)
