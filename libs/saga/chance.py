"""Message ids and jitter that follow from what is decided, so that deciding stays pure."""

from datetime import datetime
from hashlib import blake2b
from uuid import UUID

from libs.contracts.values import MessageId, SagaId

_VERSION_7 = 0x7 << 76
_VARIANT = 0b10 << 62


def message_id(saga: SagaId, revision: int, step: str, attempt: int, now: datetime) -> MessageId:
    """A UUIDv7 (RFC 9562): the time is `now`, the rest a digest of who sends what.

    Revision, step and attempt name a sending uniquely, and 74 bits of the digest keep sagas apart.
    """
    named = saga.bytes + f"{revision}:{attempt}:{step}".encode()
    digest = int.from_bytes(blake2b(named, digest_size=10).digest(), "big")
    millis = int(now.timestamp() * 1000)
    return MessageId(
        UUID(
            int=(millis & ((1 << 48) - 1)) << 80
            | _VERSION_7
            | ((digest >> 62) & 0xFFF) << 64
            | _VARIANT
            | digest & ((1 << 62) - 1)
        )
    )


def jitter(sent: MessageId) -> float:
    """A number in [0.75, 1.0) that differs from message to message: retries do not come in step."""
    return 0.75 + (sent.int & 0xFFFF) / 0x40000
