"""The inventory service: what it is asked for and what it tells."""

from typing import ClassVar, Never

from libs.contracts.message import Command, Event, Refusal
from libs.contracts.topics import INVENTORY_COMMANDS, INVENTORY_EVENTS
from libs.contracts.values import Lines, Shortage


class InventoryReserved(Event):
    """Every line of the order is held."""

    wire: ClassVar[str] = "inventory.InventoryReserved.v1"
    topic: ClassVar[str] = INVENTORY_EVENTS


class InventoryReserveFailed(Refusal):
    """No line is held; `shortages` names each line that was short, in the order's line order."""

    wire: ClassVar[str] = "inventory.InventoryReserveFailed.v1"
    topic: ClassVar[str] = INVENTORY_EVENTS

    shortages: tuple[Shortage, ...]


class InventoryReleased(Event):
    """Nothing is held for the order any more."""

    wire: ClassVar[str] = "inventory.InventoryReleased.v1"
    topic: ClassVar[str] = INVENTORY_EVENTS


class ReserveInventory(Command[InventoryReserved, InventoryReserveFailed]):
    """Hold every line of the order, or none."""

    wire: ClassVar[str] = "inventory.ReserveInventory.v1"
    topic: ClassVar[str] = INVENTORY_COMMANDS

    lines: Lines


class ReleaseInventory(Command[InventoryReleased, Never]):
    """Give back what is held or was sold for the order; before its reservation: a tombstone."""

    wire: ClassVar[str] = "inventory.ReleaseInventory.v1"
    topic: ClassVar[str] = INVENTORY_COMMANDS
