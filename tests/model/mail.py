"""The model of topics: one queue for each consumer, topic and order; what is read leaves it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from libs.contracts.message import Contract
from libs.contracts.topics import ORDER_EVENTS, ORDER_SAGA_COMMANDS
from libs.contracts.values import MessageId, SagaId
from libs.messaging.message import Correlation, Message, Origin, Outgoing
from tests.model.interning import Interned
from tests.model.scenario import NOW
from tests.model.substitution import digest


@dataclass(frozen=True, slots=True)
class Letter:
    """A message on its way; `again` marks a copy of one that its consumer has decided already."""

    body: Contract
    saga_id: SagaId | None = None
    step: str | None = None
    attempt: int | None = None
    again: bool = False

    @property
    def id(self) -> MessageId:
        """The same for every copy."""
        return MessageId(digest(self.body.wire, self.body.order_id, self.saga_id, self.step, self.attempt))

    def message(self) -> Message[object]:
        """As its consumer's decide function sees it."""
        asked = Correlation(self.saga_id, self.step, self.attempt)
        origin = Origin(self.body.topic, 0, 0)
        return Message(self.id, self.body.order_id, self.body, NOW, asked, origin)


def letter_of(outgoing: Outgoing, answered: Message[object]) -> Letter:
    """What the host makes of what a decide function sends."""
    asked = outgoing.correlation or answered.answering()
    return Letter(outgoing.body, asked.saga_id, asked.step, asked.attempt)


class Channel(NamedTuple):
    """A topic as one of its consumers reads it."""

    consumer: str
    topic: str


class Delivery(NamedTuple):
    """A letter that may be read next, and the queues without it."""

    channel: int
    letter: int
    rest: int


Queues = tuple[tuple[int, ...], ...]


class Mail:
    """All queues of one order as one number.

    `wanted` says what each consumer has routes for; what it has none for is skipped by it, and not even queued.
    """

    def __init__(self, wanted: Mapping[str, Iterable[type[object]]], *, reordering: bool = False) -> None:
        self._wanted = {
            consumer: frozenset(body for body in bodies if issubclass(body, Contract))
            for consumer, bodies in wanted.items()
        }
        self.channels: Final = [
            Channel(consumer, topic)
            for consumer, bodies in self._wanted.items()
            for topic in sorted({body.topic for body in bodies})
        ]
        self.letters: Final = Interned[Letter]()
        self._reordering = reordering
        self._queues = Interned[Queues]()
        self.empty: Final = self._queues.number(((),) * len(self.channels))
        self._put: dict[tuple[int, tuple[int, ...]], int] = {}
        self._deliveries: dict[int, tuple[Delivery, ...]] = {}
        self._caught_up: dict[int, bool] = {}
        self._back: dict[tuple[int, int, int, bool], int] = {}
        self.replies: Final = frozenset(
            number
            for number, channel in enumerate(self.channels)
            if channel.consumer == "order_saga" and channel.topic != ORDER_SAGA_COMMANDS
        )
        """The channels on which sagas are answered."""
        self.losable: Final = frozenset(
            number
            for number, channel in enumerate(self.channels)
            if channel != Channel("inventory", ORDER_EVENTS)
        )
        """Sales are told by an event that no one asks for again: its topic is kept for ever."""
        self.starts: Final = self.channels.index(Channel("order_saga", ORDER_SAGA_COMMANDS))

    def put(self, queues: int, letters: tuple[int, ...]) -> int:
        """The queues with these letters at the end of each that wants them."""
        if not letters:
            return queues
        known = self._put.get((queues, letters))
        if known is None:
            held = [list(queue) for queue in self._queues[queues]]
            for letter in letters:
                body = self.letters[letter].body
                for number, channel in enumerate(self.channels):
                    if channel.topic == body.topic and type(body) in self._wanted[channel.consumer]:
                        held[number].append(letter)
            known = self._put[queues, letters] = self._number(held)
        return known

    def back(self, queues: int, channel: int, letter: int, *, first: bool) -> int:
        """The queues with a copy of a letter that was read, at the front or at the end."""
        known = self._back.get((queues, channel, letter, first))
        if known is None:
            copy = self.letters.number(replace(self.letters[letter], again=True))
            held = [list(queue) for queue in self._queues[queues]]
            held[channel].insert(0 if first else len(held[channel]), copy)
            known = self._back[queues, channel, letter, first] = self._number(held)
        return known

    def deliveries(self, queues: int) -> tuple[Delivery, ...]:
        """What may be read next: the first letter of each queue, or any where they may overtake."""
        known = self._deliveries.get(queues)
        if known is None:
            found: list[Delivery] = []
            for channel, queue in enumerate(self._queues[queues]):
                readable = sorted(set(queue)) if self._reordering else queue[:1]
                for letter in readable:
                    held = [list(other) for other in self._queues[queues]]
                    held[channel].remove(letter)
                    found.append(Delivery(channel, letter, self._number(held)))
            known = self._deliveries[queues] = tuple(found)
        return known

    def unread(self, queues: int) -> list[Letter]:
        """The answers that no saga has read yet."""
        return [self.letters[letter] for number in self.replies for letter in self._queues[queues][number]]

    def caught_up(self, queues: int) -> bool:
        """Whether every answer has been read."""
        known = self._caught_up.get(queues)
        if known is None:
            held = self._queues[queues]
            known = self._caught_up[queues] = not any(held[number] for number in self.replies)
        return known

    def readers(self, letter: Letter) -> list[str]:
        """Who wants a letter."""
        topic, body = letter.body.topic, type(letter.body)
        return [name for name, read in self.channels if read == topic and body in self._wanted[name]]

    def number_of(self, body: Contract) -> int:
        """A letter that belongs to no saga yet."""
        return self.letters.number(Letter(body))

    def _number(self, held: list[list[int]]) -> int:
        if self._reordering:
            for queue in held:
                queue.sort()
        return self._queues.number(tuple(map(tuple, held)))
