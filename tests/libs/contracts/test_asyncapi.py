"""The AsyncAPI document: up to date, valid by the official schema, complete, and every answer where it belongs."""

import json
from pathlib import Path
from typing import Any, Final

from jsonschema import Draft7Validator

from libs.contracts.asyncapi import document, text
from libs.contracts.catalogue import CONTRACTS
from libs.contracts.message import Command
from libs.contracts.topics import COMMAND_TOPICS, CONSUMING_SERVICES, EVENT_TOPICS, dead_letters

ROOT: Final = Path(__file__).parents[3]
OFFICIAL: Final = json.loads((Path(__file__).parent / "asyncapi" / "3.0.0.json").read_text("utf-8"))
DOCUMENT: Final[dict[str, Any]] = json.loads(text())


def test_the_committed_document_is_the_one_that_is_made_now() -> None:
    committed = (ROOT / "docs" / "asyncapi.json").read_text("utf-8")
    assert committed == text(), "run `python -m libs.contracts.asyncapi > docs/asyncapi.json`"


def test_it_is_valid() -> None:
    assert [error.message for error in Draft7Validator(OFFICIAL).iter_errors(DOCUMENT)] == []


def test_the_official_schema_finds_faults() -> None:
    for place in ("info", "channels", "operations"):
        broken = {**document(), place: "nonsense"}
        assert list(Draft7Validator(OFFICIAL).iter_errors(broken)), place


def test_every_reference_leads_somewhere() -> None:
    def references(node: Any) -> list[str]:
        if isinstance(node, list):
            return [found for one in node for found in references(one)]
        if isinstance(node, dict):
            own = [node["$ref"]] if "$ref" in node else []
            return own + [found for one in node.values() for found in references(one)]
        return []

    found = references(DOCUMENT)
    assert len(found) > 150
    for reference in found:
        place: Any = DOCUMENT
        for part in reference.removeprefix("#/").split("/"):
            place = place[part]


def test_the_nine_topics_and_the_dead_letters_are_there() -> None:
    topics = {*COMMAND_TOPICS, *EVENT_TOPICS}
    assert len(topics) == 9
    assert set(DOCUMENT["channels"]) == topics | {dead_letters(service) for service in CONSUMING_SERVICES}
    for topic in topics:
        carried = {contract.__name__ for contract in CONTRACTS.values() if contract.topic == topic}
        assert set(DOCUMENT["channels"][topic]["messages"]) == carried


def test_every_message_is_described_by_its_wire_name() -> None:
    messages = {message["name"] for message in DOCUMENT["components"]["messages"].values()}
    assert messages == {*CONTRACTS, "dead-letter"}


def test_every_command_is_sent_and_received_with_its_answers() -> None:
    asked = 0
    for contract in CONTRACTS.values():
        if not issubclass(contract, Command):
            continue
        owner, name = contract.wire.split(".")[0], contract.__name__
        sender = "gateway" if owner == "order_saga" else "order_saga"
        for operation in (f"{sender}.send{name}", f"{owner}.receive{name}"):
            reply = DOCUMENT["operations"][operation].get("reply")
            if owner == "order_saga":
                assert reply is None, "answered by no message"
                continue
            answers = [contract.done] + ([contract.refused] if contract.refused else [])
            assert reply == {
                "channel": {"$ref": f"#/channels/{contract.done.topic}"},
                "messages": [
                    {"$ref": f"#/channels/{answer.topic}/messages/{answer.__name__}"} for answer in answers
                ],
            }
            asked += 1
    assert asked == 2 * 9
