"""The platform's topics as an AsyncAPI 3 document, with what answers what.

`python -m libs.contracts.asyncapi > docs/asyncapi.json`
"""

import json
import sys
from collections.abc import Iterator
from typing import Any, Final

from libs.contracts.catalogue import CONTRACTS
from libs.contracts.message import Command, Contract, Event
from libs.contracts.order import OrderCompleted
from libs.contracts.order_saga import SagaCancelOrder, SagaCreateOrder
from libs.contracts.topics import COMMAND_TOPICS, CONSUMING_SERVICES, EVENT_TOPICS, dead_letters

Document = dict[str, Any]

VERSION: Final = "3.0.0"
WEEK_MS: Final = 7 * 86_400_000
PARTITIONS: Final = 3
DESCRIPTION: Final = """An order is driven by a saga: the orchestrator sends commands, services answer with events.

Every record's value is the payload alone; the envelope is CloudEvents 1.0 in binary mode (Kafka binding). The key is the
order's id, so everything about an order is in one partition of each topic, in order. Delivery is at least once:
readers drop what they know by `ce_id`."""

_UUID: Final = {"type": "string", "format": "uuid"}
_SENT_BY_GATEWAY: Final = (SagaCreateOrder, SagaCancelOrder)


def document() -> Document:
    """The document."""
    return {
        "asyncapi": VERSION,
        "info": {
            "title": "Order platform",
            "version": "1.0.0",
            "description": DESCRIPTION,
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "kafka": {
                "host": "{host}:{port}",
                "protocol": "kafka",
                "description": "KAFKA_BOOTSTRAP_SERVERS",
                "variables": {"host": {"default": "127.0.0.1"}, "port": {"default": "9092"}},
            }
        },
        "channels": {topic: _channel(topic) for topic in (*COMMAND_TOPICS, *EVENT_TOPICS)}
        | {dead_letters(service): _dead_letter_channel(service) for service in CONSUMING_SERVICES},
        "operations": dict(_operations()),
        "components": {
            "messages": {_name(contract): _message(contract) for contract in CONTRACTS.values()}
            | {"DeadLetter": _dead_letter()},
            "schemas": _schemas(),
            "messageTraits": {"envelope": _envelope()},
            "correlationIds": {
                "saga": {
                    "description": "one for all messages of a saga",
                    "location": "$message.header#/saga_id",
                }
            },
        },
    }


def _name(contract: type[Contract]) -> str:
    return contract.__name__


def _owner(contract: type[Contract]) -> str:
    """The service whose contract it is, by its wire name."""
    return contract.wire.partition(".")[0]


def _of(topic: str) -> Iterator[type[Contract]]:
    return (contract for contract in CONTRACTS.values() if contract.topic == topic)


def _channel(topic: str) -> Document:
    kept = {"retention.ms": WEEK_MS} if topic in COMMAND_TOPICS else {"retention.ms": -1}
    what = "Commands" if topic in COMMAND_TOPICS else "Events"
    return {
        "address": topic,
        "title": topic,
        "description": f"{what}, kept {'for 7 days' if topic in COMMAND_TOPICS else 'for ever'}.",
        "messages": {
            _name(contract): {"$ref": f"#/components/messages/{_name(contract)}"} for contract in _of(topic)
        },
        "bindings": {
            "kafka": {
                "topic": topic,
                "partitions": PARTITIONS,
                "topicConfiguration": {"cleanup.policy": ["delete"], **kept},
                "bindingVersion": "0.5.0",
            }
        },
    }


def _dead_letter_channel(service: str) -> Document:
    topic = dead_letters(service)
    return {
        "address": topic,
        "title": topic,
        "description": f"Records that {service} gave up, with their own headers and why.",
        "messages": {"DeadLetter": {"$ref": "#/components/messages/DeadLetter"}},
    }


def _message(contract: type[Contract]) -> Document:
    return {
        "name": contract.wire,
        "title": _name(contract),
        "summary": _summary(contract),
        "contentType": "application/json",
        "traits": [{"$ref": "#/components/messageTraits/envelope"}],
        "payload": {"$ref": f"#/components/schemas/{_name(contract)}"},
    }


def _summary(contract: type[Contract]) -> str:
    return " ".join((contract.__doc__ or "").split())


def _schemas() -> Document:
    found: Document = {}
    for contract in CONTRACTS.values():
        made = contract.model_json_schema(ref_template="#/components/schemas/{model}")
        found |= made.pop("$defs", {})
        found[_name(contract)] = made
    return dict(sorted(found.items()))


def _envelope() -> Document:
    properties = {
        "ce_specversion": {"const": "1.0"},
        "ce_id": {**_UUID, "description": "UUIDv7; readers handle each id once"},
        "ce_source": {"type": "string", "description": "the sender", "examples": ["/inventory"]},
        "ce_type": {"type": "string", "description": "the message's name and version"},
        "ce_time": {"type": "string", "format": "date-time"},
        "content-type": {"const": "application/json"},
        "saga_id": {**_UUID, "description": "echoed onto the answer"},
        "step": {"type": "string", "description": "the saga's step; echoed"},
        "attempt": {"type": "string", "pattern": "^[0-9]{1,9}$", "description": "echoed"},
        "causation_id": {**_UUID, "description": "the ce_id of the message that is answered"},
        "traceparent": {"type": "string", "description": "W3C Trace Context"},
        "tracestate": {"type": "string"},
    }
    required = ["ce_specversion", "ce_id", "ce_source", "ce_type", "ce_time", "content-type"]
    return {
        "headers": {"type": "object", "properties": properties, "required": required},
        "correlationId": {"$ref": "#/components/correlationIds/saga"},
        "bindings": {"kafka": {"key": {**_UUID, "description": "the order's id"}, "bindingVersion": "0.5.0"}},
    }


def _dead_letter() -> Document:
    return {
        "name": "dead-letter",
        "title": "DeadLetter",
        "summary": "A record as it came, with headers that say where it lay and why it was given up.",
        "headers": {
            "type": "object",
            "description": "the record's own headers, and dlq_*",
            "properties": {
                "dlq_reason": {"type": "string"},
                "dlq_error": {"type": "string"},
                "dlq_service": {"type": "string"},
                "dlq_topic": {"type": "string"},
                "dlq_partition": {"type": "string"},
                "dlq_offset": {"type": "string"},
                "dlq_attempts": {"type": "string"},
                "dlq_at": {"type": "string", "format": "date-time"},
            },
        },
    }


def _operations() -> Iterator[tuple[str, Document]]:
    for contract in CONTRACTS.values():
        if issubclass(contract, Command):
            sender = "gateway" if contract in _SENT_BY_GATEWAY else "order_saga"
            yield f"{sender}.send{_name(contract)}", _operation("send", contract, _reply(contract))
            yield (
                f"{_owner(contract)}.receive{_name(contract)}",
                _operation("receive", contract, _reply(contract)),
            )
        elif issubclass(contract, Event):
            yield f"{_owner(contract)}.send{_name(contract)}", _operation("send", contract)
    for topic in EVENT_TOPICS:
        for reader in ("order_saga", "order_history"):
            yield f"{reader}.receive.{topic}", _reading(topic, list(_of(topic)))
    yield "inventory.receiveOrderCompleted", _reading(OrderCompleted.topic, [OrderCompleted])


def _operation(action: str, contract: type[Contract], reply: Document | None = None) -> Document:
    made = {
        "action": action,
        "summary": _summary(contract),
        "channel": {"$ref": f"#/channels/{contract.topic}"},
        "messages": [_in_channel(contract)],
    }
    return made if reply is None else made | {"reply": reply}


def _reading(topic: str, contracts: list[type[Contract]]) -> Document:
    return {
        "action": "receive",
        "channel": {"$ref": f"#/channels/{topic}"},
        "messages": [_in_channel(contract) for contract in contracts],
    }


def _reply(contract: type[Command[Any, Any]]) -> Document | None:
    """Where a command's answers go; the two that start and stop sagas are answered by no message."""
    if contract in _SENT_BY_GATEWAY:
        return None
    answers = [contract.done, *([contract.refused] if contract.refused is not None else [])]
    return {
        "channel": {"$ref": f"#/channels/{contract.done.topic}"},
        "messages": [_in_channel(answer) for answer in answers],
    }


def _in_channel(contract: type[Contract]) -> Document:
    return {"$ref": f"#/channels/{contract.topic}/messages/{_name(contract)}"}


def text() -> str:
    """The document as its file holds it."""
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(text())
