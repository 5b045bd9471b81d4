"""Turns records into messages and messages into outbox rows (CloudEvents 1.0, Kafka binding, binary mode)."""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, NamedTuple
from uuid import RFC_4122, UUID

from pydantic import ValidationError

from libs.contracts.catalogue import CONTRACTS
from libs.contracts.message import Contract
from libs.contracts.values import MessageId, OrderId, SagaId
from libs.messaging.errors import Undecodable
from libs.messaging.message import Correlation, Message, Origin, Outgoing, Trace
from libs.messaging.partitioning import key_hash
from libs.messaging.record import Record

MAX_VALUE_BYTES: Final = 900_000
MAX_AHEAD_SECONDS: Final = 2 * 86_400
"""A message id from further in the future has no inbox partition and is refused."""
UUID_V7: Final = 7
MAX_STEP: Final = 200
TRACE_PARENT: Final = re.compile("[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
TRACE_STATE: Final = re.compile("[ -~]{1,512}")
"""W3C Trace Context, sections 3.2 and 3.3: what does not look like this is no trace."""
_ESCAPED_NUL: Final = b"\\u0000"


class OutboxRow(NamedTuple):
    """A message as the outbox stores it: serialised, ready to be sent.

    `headers` are by name, or pairs as `readable_headers` gives them where a name may come twice.
    """

    message_id: MessageId
    topic: str
    key: str
    key_hash: int
    type: str
    headers: dict[str, str] | list[list[str | dict[str, str]]]
    payload: bytes

    def kafka_headers(self) -> list[tuple[str, bytes]]:
        """The headers as a record carries them."""
        return kafka_headers(self.headers)


class Codec:
    """Reads and writes messages for one service.

    `prefix` is put before every topic's name, so that several systems can share a broker.
    """

    def __init__(self, service: str, prefix: str = "") -> None:
        self._source = f"/{service}"
        self._prefix = prefix

    def decode(
        self, record: Record, now: datetime, handled: Mapping[str, type[object]]
    ) -> Message[Contract] | None:
        """The message in a record, or None where its type is known and not in `handled`.

        Raises Undecodable. `handled` maps wire names to the contracts that the service has routes for.
        """
        headers = _header_map(record)
        wire = headers.get("ce_type")
        if wire is None:
            raise Undecodable("bad_header", "ce_type is missing")
        if wire not in CONTRACTS:
            raise Undecodable("unknown_type", f"{wire[:200]!r} is no type of this platform")
        if wire not in handled:
            return None
        contract = CONTRACTS[wire]
        if record.topic != self._prefix + contract.topic:
            raise Undecodable("wrong_topic", f"{wire} does not belong on {record.topic}")
        body = _payload(contract, record)
        message_id, sent_at, correlation = _envelope(headers, now, body.order_id)
        return Message(
            id=message_id,
            key=body.order_id,
            body=body,
            time=sent_at,
            correlation=correlation,
            origin=Origin(record.topic, record.partition, record.offset),
        )

    def encode(
        self, outgoing: Outgoing, message_id: MessageId, correlation: Correlation, now: str
    ) -> OutboxRow:
        """The outbox row of a message; `now` is RFC 3339."""
        body = outgoing.body
        headers = {
            "ce_specversion": "1.0",
            "ce_id": str(message_id),
            "ce_source": self._source,
            "ce_type": body.wire,
            "ce_time": now,
            "content-type": "application/json",
        }
        if correlation.saga_id is not None:
            headers["saga_id"] = text_of(correlation.saga_id)
        if correlation.step is not None:
            headers["step"] = correlation.step
        if correlation.attempt is not None:
            headers["attempt"] = str(correlation.attempt)
        if correlation.causation_id is not None:
            headers["causation_id"] = str(correlation.causation_id)
        if correlation.trace is not None:
            headers["traceparent"] = correlation.trace.parent
            if correlation.trace.state is not None:
                headers["tracestate"] = correlation.trace.state
        key = text_of(body.order_id)
        return OutboxRow(
            message_id=message_id,
            topic=self._prefix + body.topic,
            key=key,
            key_hash=key_hash(key),
            type=body.wire,
            headers=headers,
            payload=body.__pydantic_serializer__.to_json(body),
        )


@lru_cache(maxsize=2_048)
def text_of(order_or_saga_id: UUID) -> str:
    """An id in canonical text form; remembered, because all the messages of an order under way have the same."""
    return str(order_or_saga_id)


def rfc3339(moment: datetime) -> str:
    """A moment in UTC as RFC 3339 with microseconds and Z."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def message_id_of(record: Record) -> MessageId | None:
    """The `ce_id` of a record, where it has one that can be read."""
    for name, value in record.headers:
        if name == "ce_id":
            try:
                return MessageId(UUID(value.decode("ascii")))
            except ValueError:
                return None
    return None


def readable_headers(record: Record) -> list[list[str | dict[str, str]]]:
    """All headers in their order as JSON: pairs of name and text, or of name and {"hex": …} where it is no text."""
    return [[_text(name.encode("utf-8", "surrogatepass")), _text(value)] for name, value in record.headers]


def kafka_headers(stored: dict[str, str] | list[list[str | dict[str, str]]]) -> list[tuple[str, bytes]]:
    """The headers of an outbox row as a record carries them."""
    if isinstance(stored, dict):
        return [(name, value.encode()) for name, value in stored.items()]
    return raw_headers(stored)


def raw_headers(stored: list[list[str | dict[str, str]]]) -> list[tuple[str, bytes]]:
    """The headers that `readable_headers` made readable."""
    return [(_bytes(name).decode("utf-8", "replace"), _bytes(value)) for name, value in stored]


def _text(value: bytes | None) -> Any:
    try:
        text = (value or b"").decode("utf-8")
    except UnicodeDecodeError:
        return {"hex": (value or b"").hex()}
    return {"hex": (value or b"").hex()} if "\x00" in text else text


def _bytes(value: str | dict[str, str]) -> bytes:
    return bytes.fromhex(value["hex"]) if isinstance(value, dict) else value.encode("utf-8")


def _header_map(record: Record) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in record.headers:
        if name in headers:
            raise Undecodable("bad_header", f"{name[:100]!r} is there twice")
        try:
            headers[name] = value.decode("utf-8")
        except (UnicodeDecodeError, AttributeError):
            raise Undecodable("bad_header", f"{name[:100]!r} is not UTF-8") from None
    return headers


def _envelope(
    headers: Mapping[str, str], now: datetime, order_id: OrderId
) -> tuple[MessageId, datetime, Correlation]:
    if headers.get("ce_specversion") != "1.0":
        raise Undecodable("bad_header", "ce_specversion is not 1.0")
    message_id = _uuid(headers, "ce_id")
    if message_id is None or message_id.variant != RFC_4122 or message_id.version != UUID_V7:
        raise Undecodable("bad_header", "ce_id is not a UUIDv7")
    if (message_id.int >> 80) / 1000 > now.timestamp() + MAX_AHEAD_SECONDS:
        raise Undecodable("bad_header", "ce_id lies more than two days ahead")
    sent_at = _time(headers)
    saga_id = order_id if headers.get("saga_id") == text_of(order_id) else _uuid(headers, "saga_id")
    step = headers.get("step")
    if step is not None and (len(step) > MAX_STEP or "\x00" in step):
        raise Undecodable("bad_header", "step is no name of a step")
    correlation = Correlation(
        saga_id=None if saga_id is None else SagaId(saga_id),
        step=step,
        attempt=_attempt(headers),
        trace=_trace(headers),
    )
    return MessageId(message_id), sent_at, correlation


def _time(headers: Mapping[str, str]) -> datetime:
    """`ce_time` in UTC, where it must lie within the years that a datetime can hold too."""
    try:
        sent_at = datetime.fromisoformat(headers["ce_time"])
        if sent_at.tzinfo is UTC:
            return sent_at
        if sent_at.tzinfo is not None:
            return sent_at.astimezone(UTC)
    except (KeyError, ValueError, OverflowError):
        raise Undecodable("bad_header", "ce_time is not an RFC 3339 time") from None
    raise Undecodable("bad_header", "ce_time has no zone")


def _trace(headers: Mapping[str, str]) -> Trace | None:
    """The trace that the message belongs to; it is passed on, so what is not well formed is left out."""
    parent = headers.get("traceparent")
    if parent is None or not TRACE_PARENT.fullmatch(parent):
        return None
    state = headers.get("tracestate")
    return Trace(parent, state if state is not None and TRACE_STATE.fullmatch(state) else None)


def _uuid(headers: Mapping[str, str], name: str) -> UUID | None:
    text = headers.get(name)
    if text is None:
        return None
    try:
        return UUID(text)
    except ValueError:
        raise Undecodable("bad_header", f"{name} is not a UUID") from None


def _attempt(headers: Mapping[str, str]) -> int | None:
    text = headers.get("attempt")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 9):  # noqa: PLR2004 - fits an int4
        raise Undecodable("bad_header", "attempt is not a number")
    return int(text)


def _payload(contract: type[Contract], record: Record) -> Contract:
    if record.value is None:
        raise Undecodable("not_json", "the record has no value")
    if len(record.value) > MAX_VALUE_BYTES:
        raise Undecodable("too_big", f"{len(record.value)} bytes")
    try:
        body = contract.model_validate_json(record.value)
    except ValidationError as error:
        kind = error.errors(include_url=False, include_context=False, include_input=False)
        reason = "not_json" if kind[0]["type"] == "json_invalid" else "invalid_payload"
        raise Undecodable(reason, json.dumps(kind[:5], default=str)) from None
    if record.key != text_of(body.order_id).encode("ascii"):
        raise Undecodable("wrong_key", f"the key is not the order {body.order_id}")
    if _ESCAPED_NUL in record.value and _has_nul(body):
        raise Undecodable("invalid_payload", "a text holds U+0000")
    return body


def _has_nul(body: Contract) -> bool:
    """Whether a text really holds U+0000, which PostgreSQL cannot store, and not just an escaped backslash."""
    return any("\x00" in text for text in _texts(body.model_dump()))


def _texts(value: object) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            for one in value.values():
                yield from _texts(one)
        case list() | tuple():
            for one in value:
                yield from _texts(one)
