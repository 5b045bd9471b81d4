"""Finds a contract class by its wire name."""

from collections.abc import Iterator
from types import MappingProxyType
from typing import Final

from libs.contracts import inventory, order, order_saga, payment, product
from libs.contracts.message import Contract


def _contracts() -> Iterator[type[Contract]]:
    for module in (order_saga, order, product, inventory, payment):
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, Contract) and "wire" in vars(value):
                yield value


CONTRACTS: Final = MappingProxyType({contract.wire: contract for contract in _contracts()})
"""Every message type of the platform, by its `ce_type`."""
