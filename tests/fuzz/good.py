"""Good records of every type, about orders of nobody's from long ago: what they do is nobody's loss."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, Final
from uuid import UUID

from libs.contracts.catalogue import CONTRACTS
from libs.contracts.topics import COMMAND_TOPICS, EVENT_TOPICS

GOLDEN: Final = Path(__file__).parents[1] / "libs" / "contracts" / "golden"
TOPICS: Final = (*COMMAND_TOPICS, *EVENT_TOPICS)
LONG_AGO: Final = 1_577_836_800_000
"""2020 began then, in milliseconds: the auditor leaves orders with such ids alone."""

Headers = tuple[tuple[str, bytes], ...]
RFC_4122_V7: Final = (0x7 << 76) | (0x2 << 62)


@dataclass(frozen=True, slots=True)
class Draft:
    """A record before it is sent."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers

    def with_header(self, name: str, value: bytes | None) -> "Draft":
        """With one header set, or, for None, without it."""
        rest = tuple(header for header in self.headers if header[0] != name)
        return replace(self, headers=rest if value is None else (*rest, (name, value)))

    def with_body(self, **fields: object) -> "Draft":
        """With fields of the JSON replaced."""
        return replace(self, value=json.dumps(self.body | fields).encode())

    def without_field(self, name: str) -> "Draft":
        """With a field of the JSON left out."""
        return replace(self, value=json.dumps({k: v for k, v in self.body.items() if k != name}).encode())

    @property
    def body(self) -> dict[str, Any]:
        """The JSON object; empty where it is none. Raises ValueError where it is no JSON."""
        body = json.loads(self.value or b"")
        return body if isinstance(body, dict) else {}


def uuid7(random: Random, milliseconds: int) -> UUID:
    """A UUIDv7 (RFC 9562, section 5.7) of that time."""
    mask = ~((0xF << 76) | (0x3 << 62)) & ((1 << 80) - 1)
    return UUID(int=milliseconds << 80 | RFC_4122_V7 | (random.getrandbits(80) & mask))


@cache
def _golden(wire: str) -> Mapping[str, Any]:
    golden: dict[str, Any] = json.loads((GOLDEN / f"{wire}.json").read_text("utf-8"))
    return golden


def wires(topic: str) -> Sequence[str]:
    """The types that belong on a topic."""
    return sorted(wire for wire, contract in CONTRACTS.items() if contract.topic == topic)


def good(random: Random, wire: str) -> Draft:
    """A record of this type whose every id is new."""
    order = uuid7(random, LONG_AGO + random.getrandbits(32))
    body = {**_golden(wire), "order_id": str(order)}
    for name in ("user_id", "payment_method_id", "payment_id"):
        if name in body:
            body[name] = str(uuid7(random, LONG_AGO))
    headers = {
        "ce_specversion": "1.0",
        "ce_id": str(uuid7(random, int(time.time() * 1_000))),
        "ce_source": "/fuzz",
        "ce_type": wire,
        "ce_time": "2026-01-02T03:04:05.678901Z",
        "content-type": "application/json",
    }
    encoded = tuple((name, value.encode()) for name, value in headers.items())
    return Draft(CONTRACTS[wire].topic, str(order).encode(), json.dumps(body).encode(), encoded)


def any_good(random: Random, topic: str) -> Draft:
    """A record of any type that belongs on the topic."""
    return good(random, random.choice(wires(topic)))
