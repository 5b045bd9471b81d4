"""What the saga that creates an order might be one day: it takes the money before it reserves."""

from typing import Final

from libs.saga.definition import Saga, compensable, retriable
from order_saga.create_order import (
    OrderSheet,
    begin_cancellation,
    cancel_order,
    complete_order,
    keep_payment,
    keep_prices,
    open_order,
    process_payment,
    refund_payment,
    release_inventory,
    reserve_inventory,
    validate_products,
)

create_order_2: Final = Saga[OrderSheet](
    "create_order",
    version=2,
    steps=[
        compensable(open_order, undo=cancel_order),
        compensable(validate_products, undo=None, keep=keep_prices),
        compensable(process_payment, undo=refund_payment, keep=keep_payment),
        compensable(reserve_inventory, undo=release_inventory),
        retriable(complete_order),
    ],
    on_compensation=begin_cancellation,
)
