"""A dead letter as it is published: the record as it came, with headers that say why it died."""

from libs.contracts.topics import dead_letters
from libs.contracts.values import MessageId
from libs.messaging.codec import MAX_VALUE_BYTES, OutboxRow, readable_headers
from libs.messaging.partitioning import key_hash
from libs.outbox.mailbox import Death


def letter(death: Death, message_id: MessageId, *, service: str, prefix: str, at: str) -> OutboxRow:
    """The outbox row of a dead letter: all original headers, then `dlq_*` ones.

    A value that is too big for the outbox is left out and said so; the table has it.
    """
    record = death.record
    value = record.value or b""
    fits = len(value) <= MAX_VALUE_BYTES
    headers: list[list[str | dict[str, str]]] = [
        *readable_headers(record),
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
    key = (record.key or b"").decode("utf-8", "replace").replace("\x00", "\ufffd")
    return OutboxRow(
        message_id=message_id,
        topic=prefix + dead_letters(service),
        key=key,
        key_hash=key_hash(key),
        type="dead_letter",
        headers=headers,
        payload=value if fits else b"",
    )
