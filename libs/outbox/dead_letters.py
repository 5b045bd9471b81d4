"""A dead letter as it is published: the record as it came, with headers that say why it died."""

from typing import Final

from libs.contracts.topics import dead_letters
from libs.contracts.values import MessageId
from libs.messaging.codec import MAX_VALUE_BYTES, OutboxRow, readable_headers
from libs.messaging.partitioning import key_hash
from libs.outbox.mailbox import Death

MAX_AROUND_BYTES: Final = 100_000
"""Headers and key that are bigger than this together leave no room for the record within the broker's limit."""
MAX_KEY_BYTES: Final = 1_000


def letter(death: Death, message_id: MessageId, *, service: str, prefix: str, at: str) -> OutboxRow:
    """The outbox row of a dead letter: all original headers, then `dlq_*` ones.

    What would make the letter too big for the broker is left out and said so, the value first, then the headers
    and the key; the table has it all.
    """
    record = death.record
    value = record.value or b""
    around = len(record.key or b"") + sum(len(name) + len(text or b"") for name, text in record.headers)
    fits = len(value) + around <= MAX_VALUE_BYTES
    headers: list[list[str | dict[str, str]]] = [
        *(readable_headers(record) if around <= MAX_AROUND_BYTES else []),
        ["dlq_reason", death.reason],
        ["dlq_error", death.error.replace("\x00", "\\0")[:2_000]],
        ["dlq_service", service],
        ["dlq_topic", record.topic],
        ["dlq_partition", str(record.partition)],
        ["dlq_offset", str(record.offset)],
        ["dlq_attempts", str(death.attempts)],
        ["dlq_at", at],
    ]
    if not fits:
        headers.append(["dlq_value_omitted", str(len(value))])
    if around > MAX_AROUND_BYTES:
        headers.append(["dlq_headers_omitted", str(around)])
    key_bytes = (record.key or b"")[: None if around <= MAX_AROUND_BYTES else MAX_KEY_BYTES]
    key = key_bytes.decode("utf-8", "replace").replace("\x00", "\ufffd")
    return OutboxRow(
        message_id=message_id,
        topic=prefix + dead_letters(service),
        key=key,
        key_hash=key_hash(key),
        type="dead_letter",
        headers=headers,
        payload=value if fits else b"",
    )
