"""What must become of a record: who has to bury it, and of what."""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Final

from libs.contracts.message import Contract
from libs.contracts.topics import CONSUMING_SERVICES
from libs.messaging.codec import Codec
from libs.messaging.errors import Undecodable
from libs.messaging.record import Record
from libs.service.command import load
from tests.fuzz.good import Draft

UNKNOWN_SAGA: Final = "unknown_saga"


@cache
def _handled(service: str) -> Mapping[str, type[object]]:
    bodies = [route.body for route in load(service).routes]
    return {body.wire: body for body in bodies if issubclass(body, Contract)}


@cache
def readers(topic: str) -> tuple[str, ...]:
    """The services that read a topic."""
    return tuple(service for service in CONSUMING_SERVICES if topic in load(service).topics)


def deaths(draft: Draft, prefix: str = "") -> dict[str, str]:
    """The services that must bury the record, and the reason of each; the others handle it or pass it over."""
    found: dict[str, str] = {}
    for service in readers(draft.topic):
        record = Record(prefix + draft.topic, 0, 0, draft.key, draft.value, draft.headers)
        try:
            message = Codec(service, prefix).decode(record, datetime.now(UTC), _handled(service))
        except Undecodable as error:
            found[service] = error.reason
            continue
        strays = draft.topic.endswith("-events") and service == "order_saga"
        if message is not None and strays and message.correlation.saga_id is not None:
            found[service] = UNKNOWN_SAGA  # nobody's answer: its saga is not there
    return found


def harms(draft: Draft) -> bool:
    """Whether it is a command that sells something, or one that is answered to a saga that there is not.

    No accident makes one of these, and what follows from them is not what is tried here.
    """
    headers = dict(draft.headers)
    wire = headers.get("ce_type", b"")
    if not draft.topic.endswith("-commands") or deaths(draft):
        return False
    return wire == b"order.CompleteOrder.v1" or "saga_id" in headers
