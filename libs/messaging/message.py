"""A message with its envelope, on the way in and on the way out."""

from dataclasses import dataclass
from datetime import datetime
from typing import Generic, NamedTuple, TypeVar
from uuid import UUID

from libs.contracts.message import Contract
from libs.contracts.values import MessageId, OrderId, SagaId

Body_co = TypeVar("Body_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Trace:
    """W3C Trace Context, passed on as it came."""

    parent: str
    state: str | None = None


class Correlation(NamedTuple):
    """What ties an answer to the saga step that asked: the host echoes it, handlers do not touch it.

    `causation_id` is the id of the message being answered; it is written for those who read topics,
    and not read from what comes in.
    """

    saga_id: SagaId | None = None
    step: str | None = None
    attempt: int | None = None
    causation_id: MessageId | None = None
    trace: Trace | None = None


UNCORRELATED = Correlation()


class Origin(NamedTuple):
    """Where a record lay in Kafka."""

    topic: str
    partition: int
    offset: int


class Message(NamedTuple, Generic[Body_co]):
    """A message as a decide function may see it.

    `body` is a contract for what came over a topic, and any value for what the service tells
    itself (a timeout, a provider's outcome); `origin` is then None. `correlation` is as it was
    received: saga, step and attempt are the sender's.
    """

    id: MessageId
    key: OrderId
    body: Body_co
    time: datetime
    correlation: Correlation = UNCORRELATED
    origin: Origin | None = None

    def answering(self) -> Correlation:
        """The correlation of an answer to this message."""
        asked = self.correlation
        return Correlation(asked.saga_id, asked.step, asked.attempt, self.id, asked.trace)


class Outgoing(NamedTuple):
    """A message to be put into the outbox; its topic and type are the contract's, its key the order id.

    The host fills in what is left open: a fresh id, and the correlation of the message in hand.
    """

    body: Contract
    correlation: Correlation | None = None
    id: MessageId | None = None


def key_of(value: UUID) -> bytes:
    """The record key of an order: its id in canonical text form."""
    return str(value).encode("ascii")
