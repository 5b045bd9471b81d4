"""The topics: nine for commands and events, and one for the dead letters of each service."""

from typing import Final

ORDER_SAGA_COMMANDS: Final = "order-saga-commands"
ORDER_COMMANDS: Final = "order-commands"
ORDER_EVENTS: Final = "order-events"
PRODUCT_COMMANDS: Final = "product-commands"
PRODUCT_EVENTS: Final = "product-events"
INVENTORY_COMMANDS: Final = "inventory-commands"
INVENTORY_EVENTS: Final = "inventory-events"
PAYMENT_COMMANDS: Final = "payment-commands"
PAYMENT_EVENTS: Final = "payment-events"

COMMAND_TOPICS: Final = (
    ORDER_SAGA_COMMANDS,
    ORDER_COMMANDS,
    PRODUCT_COMMANDS,
    INVENTORY_COMMANDS,
    PAYMENT_COMMANDS,
)
EVENT_TOPICS: Final = (ORDER_EVENTS, PRODUCT_EVENTS, INVENTORY_EVENTS, PAYMENT_EVENTS)

CONSUMING_SERVICES: Final = (
    "order_saga",
    "order",
    "product",
    "inventory",
    "payment",
    "order_history",
)
"""The services that read topics, by the names of their consumer groups."""


def dead_letters(service: str) -> str:
    """The dead-letter topic of a service: `order_saga` has `order-saga-dead-letters`."""
    return f"{service.replace('_', '-')}-dead-letters"
