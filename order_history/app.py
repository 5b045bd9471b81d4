"""The read model's table of contents."""

from functools import partial
from typing import Final

from libs.contracts.inventory import InventoryReleased, InventoryReserved, InventoryReserveFailed
from libs.contracts.order import (
    OrderCancelled,
    OrderCancelling,
    OrderCancelRefused,
    OrderCompleted,
    OrderCreated,
    OrderCreateFailed,
)
from libs.contracts.payment import PaymentCompleted, PaymentFailed, PaymentRefunded
from libs.contracts.product import ProductsValidated, ProductsValidationFailed
from libs.contracts.topics import EVENT_TOPICS
from libs.service.service import Paced, Service, on_message
from order_history import api, store
from order_history.domain import events
from order_history.domain.history import Histories

PACE_SECONDS: Final = 0.04
"""No saga waits for the read model: an order's events that follow one another are folded together."""


def compose() -> Service[Histories]:
    """The service, with requests of its own to tell of what arrives."""
    arrivals = api.Arrivals()
    return Service(
        name="order_history",
        load=store.load,
        save=store.save,
        routes=[
            on_message(OrderCreated, events.created),
            on_message(OrderCreateFailed, events.create_failed),
            on_message(ProductsValidated, events.validated),
            on_message(ProductsValidationFailed, events.validation_failed),
            on_message(InventoryReserved, events.reserved),
            on_message(InventoryReserveFailed, events.reserve_failed),
            on_message(PaymentCompleted, events.paid),
            on_message(PaymentFailed, events.payment_failed),
            on_message(OrderCompleted, events.completed),
            on_message(OrderCancelling, events.cancelling),
            on_message(OrderCancelRefused, events.cancel_refused),
            on_message(InventoryReleased, events.released),
            on_message(PaymentRefunded, events.refunded),
            on_message(OrderCancelled, events.cancelled),
        ],
        paced=Paced(topics=EVENT_TOPICS, seconds=PACE_SECONDS),
        api=partial(api.router, arrivals=arrivals),
        workers=[arrivals.close_at_stop, arrivals.look_around],
        committed=lambda _runtime, histories: arrivals.tell(histories.changed, histories.has_ended),
    )


service = compose()
