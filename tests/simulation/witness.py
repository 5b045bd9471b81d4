"""Sees every commit, every record and every decision, and notes at once what must never happen."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple, cast
from uuid import UUID

from libs.contracts.values import MessageId, OrderId
from libs.messaging.message import Message, Origin, key_of
from libs.messaging.record import Record, TopicPartition
from libs.outbox.transaction import Transaction
from libs.service.service import Answer, Route, Service
from order_saga.domain import Due
from tests.simulation.clock import Process
from tests.simulation.server import Database, Session
from tests.simulation.store import Key, Row, Writes
from tests.simulation.world import World

LETTERS: Final = "-dead-letters"
"""Dead letters carry the id of the message that died, not the one of their outbox row."""


class Sent(NamedTuple):
    """An outbox row as it was committed."""

    number: int
    id: MessageId
    topic: str
    key: str


class Landed(NamedTuple):
    """Where a message was first written, and when."""

    place: TopicPartition
    offset: int
    at: float


class Witness:
    """What was seen in one world; `wrong` is what must not have happened."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.databases: dict[str, Database] = {}
        self.wrong: list[tuple[str, str]] = []
        self.decided: dict[str, dict[UUID, tuple[Origin, OrderId]]] = defaultdict(dict)
        """The messages from topics that each service decided on, in transactions that were committed."""
        self.sent: dict[str, list[Sent]] = defaultdict(list)
        self.first: dict[bytes, Landed] = {}
        """By the text of its id, as records carry it."""
        self.again: dict[bytes, list[float]] = defaultdict(list)
        """When a message was written once more."""
        self.replies: dict[bytes, list[tuple[float, bytes]]] = defaultdict(list)
        """By the text of a saga's id, when which answers came."""
        self.bugs: dict[tuple[str, OrderId], float] = {}
        """Until when which service cannot handle which order."""
        self.poison: set[UUID] = set()
        self.poisoned: dict[str, set[UUID]] = defaultdict(set)
        """The records that each service must have as dead letters."""
        self.unread: dict[str, set[UUID]] = defaultdict(set)
        """The records that each service need not have seen, because retention may have been faster."""
        self.transactions = 0
        self._in_hand: dict[int, list[Message[object]]] = defaultdict(list)

    def fault(self, finding: str, invariant: str = "I0") -> None:
        """Something is wrong."""
        self._world.note("WRONG", invariant, finding)
        self.wrong.append((invariant, finding))

    def loaded(self, state: object) -> None:
        """A service begins to decide on this state."""
        self._in_hand[id(state)] = []

    def decides(self, state: object, message: Message[object]) -> None:
        """A service has decided on a message; whether that counts shows at the commit."""
        self._in_hand[id(state)].append(message)
        if message.origin is None and isinstance(message.body, Due):
            self._on_time(message.body)

    def befall(self, service: str, message: Message[object]) -> None:
        """Raise where a service is made to have a bug that this order meets."""
        if (
            self.bugs
            and self.bugs.get((service, message.key), 0.0) > self._world.time
            and message.origin is not None
        ):
            self._world.faults["bug"] += 1
            raise ArithmeticError(f"a bug in {service}")

    def saved(self, tx: Transaction, state: object) -> None:
        """What was decided goes into this transaction."""
        connection = cast("Any", tx)._connection
        connection._session.notes += self._in_hand.pop(id(state), [])

    def committed(self, service: str, session: Session, writes: Writes) -> None:
        """A transaction is committed."""
        self.transactions += 1
        self._world.note("commit", session.name, *((name, len(rows)) for name, rows in writes.items()))
        if session.notes:
            self._count(service, session.notes)
            session.notes = []
        if (rows := writes.get("outbox")) is not None:
            self._outbox(service, rows)
        if (offsets := writes.get("consumer_offsets")) is not None:
            self._offsets(service, session.database, offsets)

    def appended(self, _sender: Process | None, record: Record) -> None:
        """A record is in its topic."""
        headers = dict(record.headers)
        if (name := headers.get("ce_id")) is None or record.topic.endswith(LETTERS):
            return
        at = self._world.time
        if name in self.first:
            self.again[name].append(at)
            return
        self.first[name] = Landed(record.place, record.offset, at)
        if record.topic.endswith("-events") and (saga := headers.get("saga_id")) is not None:
            self.replies[saga].append((at, name))

    def _count(self, service: str, messages: Sequence[Message[Any]]) -> None:
        known = self.decided[service]
        for message in messages:
            if (origin := message.origin) is None:
                continue
            seen = origin, message.key
            if known.setdefault(message.id, seen) is not seen:
                kind = type(message.body).__name__
                self.fault(f"{service} has decided twice on {kind} {message.id} of {message.key}", "I4")

    def _outbox(self, service: str, rows: dict[Key, Row | None]) -> None:
        known, sent = self.databases[service].tables["outbox"].rows, self.sent[service]
        for number, row in rows.items():
            if row is not None and not row["topic"].endswith(LETTERS):
                sent.append(Sent(number, row["message_id"], row["topic"], row["key"]))
            elif row is None and (gone := known.get(number)) is not None and not self._written(gone):
                self.fault(f"{service} has deleted outbox row {number}, which is in no topic", "I9")

    def _written(self, row: Row) -> bool:
        return key_of(row["message_id"]) in self.first or row["topic"].endswith(LETTERS)

    def _offsets(self, service: str, database: Database, rows: dict[Key, Row | None]) -> None:
        known = database.tables["consumer_offsets"].rows
        for place, row in rows.items():
            before = known.get(place)
            if row is None or before is None or (row.get("accepted") and not before.get("accepted")):
                continue
            if row["next_offset"] < before["next_offset"]:
                was, now = before["next_offset"], row["next_offset"]
                self.fault(f"{service}'s offset of {place} went back from {was} to {now}", "I13")

    def _on_time(self, due: Due) -> None:
        """A deadline never overtakes an answer that is already in Kafka."""
        deadline = due.timeout.deadline
        read = self.databases["order_saga"].tables["inbox"].rows
        reached = self._world.since(deadline)
        for at, name in self.replies.get(key_of(due.saga_id), ()):
            if at < reached and UUID(name.decode()).int not in read:
                self.fault(f"saga {due.saga_id} timed out with answer {name.decode()} in its topic", "I3")


def witnessed(service: Service[Any], witness: Witness) -> Service[Any]:
    """The service, with somebody who looks on."""
    load, save = service.load, service.save

    async def loading(tx: Transaction, messages: Sequence[Message[object]]) -> object:
        state = await load(tx, messages)
        witness.loaded(state)
        return state

    async def saving(tx: Transaction, state: object) -> None:
        await save(tx, state)
        witness.saved(tx, state)

    def looked_on(
        decide: Callable[[Any, Message[object]], Answer],
    ) -> Callable[[Any, Message[object]], Answer]:
        def deciding(state: object, message: Message[object]) -> Answer:
            witness.befall(service.name, message)
            answer = decide(state, message)
            witness.decides(state, message)
            return answer

        return deciding

    routes = [Route(route.body, looked_on(route.decide)) for route in service.routes]
    return replace(service, load=loading, save=saving, routes=routes)
