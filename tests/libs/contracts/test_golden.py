"""Every message type against its golden JSON: what was once sent must be read, and sent the same, for ever."""

import json
from pathlib import Path
from typing import Never, get_args
from uuid import UUID

import pytest

from libs.contracts.catalogue import CONTRACTS
from libs.contracts.message import Command, Contract, Event, Refusal
from libs.contracts.topics import COMMAND_TOPICS, EVENT_TOPICS

GOLDEN = Path(__file__).parent / "golden"


def golden(wire: str) -> bytes:
    return (GOLDEN / f"{wire}.json").read_bytes()


def test_every_type_has_a_golden_file_and_every_file_a_type() -> None:
    assert {path.stem for path in GOLDEN.glob("*.json")} == set(CONTRACTS)


@pytest.mark.parametrize("wire", sorted(CONTRACTS))
def test_the_golden_json_is_read_and_written_unchanged(wire: str) -> None:
    body = CONTRACTS[wire].model_validate_json(golden(wire))
    assert json.loads(body.model_dump_json()) == json.loads(golden(wire))


@pytest.mark.parametrize("wire", sorted(CONTRACTS))
def test_a_field_of_a_newer_sender_is_ignored(wire: str) -> None:
    newer = json.loads(golden(wire)) | {"added_later": {"deep": [1]}}
    contract = CONTRACTS[wire]
    assert contract.model_validate_json(json.dumps(newer)) == contract.model_validate_json(golden(wire))


@pytest.mark.parametrize("wire", sorted(CONTRACTS))
def test_no_field_may_be_missing_or_of_another_type(wire: str) -> None:
    contract = CONTRACTS[wire]
    whole = json.loads(golden(wire))
    for name in whole:
        if contract.model_fields[name].is_required():
            with pytest.raises(ValueError, match=name):
                contract.model_validate_json(json.dumps({k: v for k, v in whole.items() if k != name}))
        with pytest.raises(ValueError, match=name):
            contract.model_validate_json(json.dumps(whole | {name: {"no": "such thing"}}))


@pytest.mark.parametrize("contract", CONTRACTS.values(), ids=lambda contract: contract.wire)
def test_a_wire_name_says_service_name_and_version_and_lies_on_the_services_topic(
    contract: type[Contract],
) -> None:
    service, name, version = contract.wire.split(".")
    assert name == contract.__name__
    assert version == "v1"
    kind = "commands" if issubclass(contract, Command) else "events"
    assert contract.topic == f"{service.replace('_', '-')}-{kind}"
    assert contract.topic in (COMMAND_TOPICS if kind == "commands" else EVENT_TOPICS)


@pytest.mark.parametrize(
    "command",
    [c for c in CONTRACTS.values() if issubclass(c, Command) and c.topic != "order-saga-commands"],
    ids=lambda command: command.wire,
)
def test_a_command_names_its_answers(command: type[Command[Event, Refusal]]) -> None:
    assert command.done.wire in CONTRACTS
    if command.refused is not None:
        assert issubclass(command.refused, Refusal)
        assert command.refused.topic == command.done.topic


def test_an_undo_cannot_be_refused() -> None:
    undo = {"ReleaseInventory", "RefundPayment", "CancelOrder", "CompleteOrder"}
    named = [c for c in CONTRACTS.values() if c.__name__ in undo and issubclass(c, Command)]
    assert [c.refused for c in named] == [None] * len(undo)
    assert get_args(Command[Event, Never]) == ()


def test_an_order_id_is_a_uuid_in_canonical_form() -> None:
    body = CONTRACTS["inventory.ReleaseInventory.v1"].model_validate_json(
        golden("inventory.ReleaseInventory.v1")
    )
    assert isinstance(body.order_id, UUID)
    assert str(body.order_id) == json.loads(golden("inventory.ReleaseInventory.v1"))["order_id"]
