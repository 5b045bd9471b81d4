"""Tries that whatever a saga asks for is answered by somebody, and that every answer is known."""

import importlib

import pytest

from libs.contracts.catalogue import CONTRACTS
from libs.saga.definition import AnyCommand
from libs.service.service import Service
from order_saga.app import book, service

COMMANDS = sorted(
    {step.command for saga in book.known.known.values() for step in saga.steps.values() if step.command},
    key=lambda command: command.wire,
)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.wire)
def test_a_command_has_a_handler_in_the_service_that_it_names(command: type[AnyCommand]) -> None:
    asked = importlib.import_module(f"{command.wire.partition('.')[0]}.app").service
    assert isinstance(asked, Service)
    assert command in {route.body for route in asked.routes}


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.wire)
def test_a_command_and_its_answers_are_in_the_catalogue(command: type[AnyCommand]) -> None:
    for contract in (command, command.done, command.refused):
        assert contract is None or CONTRACTS[contract.wire] is contract


def test_every_answer_has_a_route_to_its_saga() -> None:
    routed = {route.body for route in service.routes}
    assert routed >= set(book.known.replies)


def test_every_topic_that_answers_come_on_is_consumed() -> None:
    assert set(service.topics) == {*book.known.reply_topics, "order-saga-commands"}
