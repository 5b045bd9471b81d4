"""The records of a batch, looked at: which hold a message for this service, and which hold none that can be read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from libs.contracts.message import Contract
from libs.contracts.values import MessageId
from libs.messaging.codec import Codec, message_id_of
from libs.messaging.errors import Undecodable
from libs.messaging.message import Message
from libs.messaging.record import Record
from libs.outbox.mailbox import Death


@dataclass(frozen=True, slots=True)
class Letters:
    """Each message once, the record that it came in, and the poison; of the rest, how many."""

    messages: list[Message[Contract]]
    records: Mapping[MessageId, Record]
    poison: list[Death]
    repeats: int
    skipped: int


def opened(
    records: Sequence[Record], codec: Codec, handled: Mapping[str, type[Contract]], now: datetime
) -> Letters:
    """Look at records; those of a type that is not `handled` are skipped. `now` judges which ids lie too far ahead."""
    messages: list[Message[Contract]] = []
    by_id: dict[MessageId, Record] = {}
    poison: list[Death] = []
    repeats = skipped = 0
    for record in records:
        try:
            message = codec.decode(record, now, handled)
        except Undecodable as error:
            poison.append(Death(record, message_id_of(record), error.reason, error.detail, 1))
            continue
        if message is None:
            skipped += 1
        elif message.id in by_id:
            repeats += 1
        else:
            messages.append(message)
            by_id[message.id] = record
    return Letters(messages, by_id, poison, repeats, skipped)
