"""Why an order did not go through: the codes that customers and operators read."""

from typing import Final

PRODUCTS_UNKNOWN: Final = "products_unknown"
PRODUCTS_UNAVAILABLE: Final = "products_unavailable"
OUT_OF_STOCK: Final = "out_of_stock"
PAYMENT_REFUSED: Final = "payment_refused"
PAYMENT_TIMEOUT: Final = "payment_timeout"
INVENTORY_TIMEOUT: Final = "inventory_timeout"
CANCELLED_BY_CUSTOMER: Final = "cancelled_by_customer"
ORDER_TIMEOUT: Final = "order_timeout"
PRODUCT_TIMEOUT: Final = "product_timeout"
ALREADY_UNDONE: Final = "already_undone"
"""The answer to a command that arrives after its undo (tombstone); no customer reads it as a reason."""
ORDER_NOT_CANCELLABLE: Final = "order_not_cancellable"
CANCELLED_BY_OPERATOR: Final = "cancelled_by_operator"
