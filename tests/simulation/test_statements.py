"""Every statement that a simulated service can issue has a handler."""

import re
from types import ModuleType
from typing import Final

import pytest

import gateway.store.intents
import inventory.store
import libs.outbox.mailbox
import libs.outbox.relay
import libs.outbox.upcoming
import libs.outbox.writers
import order.store
import order_history.store.fold
import order_saga.store
import payment.store.attempts
import payment.store.books
import product.store
from tests.simulation.platform import HANDLERS

MODULES: Final = (
    gateway.store.intents,
    inventory.store,
    libs.outbox.mailbox,
    libs.outbox.relay,
    libs.outbox.upcoming,
    libs.outbox.writers,
    order.store,
    order_history.store.fold,
    order_saga.store,
    payment.store.attempts,
    payment.store.books,
    product.store,
)
FOR_HTTP: Final = {
    inventory.store: {"STOCK_OF", "ADD_STOCK", "LOCK_ONE", "COUNT_ONE"},
    product.store: {"PRODUCT", "ADD_PRODUCT", "CHANGE_PRODUCT", "PRICE_PRODUCT", "CATEGORY", "ADD_CATEGORY"},
    gateway.store.intents: {"OF_ORDER", "OF_USER"},
    order_saga.store: {"ORDER_OF", "_SHOWN", "_LINE", "SAGA", "JOURNAL_OF"},
}
"""Statements of requests over HTTP that no order takes its way through."""


def statements(module: ModuleType) -> dict[str, str]:
    """The SQL among a module's constants, by name."""
    return {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, str) and re.match(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\s", value)
    }


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_every_statement_has_a_handler(module: ModuleType) -> None:
    found = statements(module)
    assert found
    missing = {name for name, text in found.items() if text not in HANDLERS} - FOR_HTTP.get(module, set())
    assert not missing


def test_no_handler_is_for_a_statement_that_is_gone() -> None:
    issued = {text for module in MODULES for text in statements(module).values()}
    left = {
        text for text in HANDLERS if text not in issued and "consumer_offsets SET next_offset" not in text
    }
    assert {text for text in left if text.strip().startswith(("INSERT", "UPDATE", "DELETE", "WITH"))} == set()
