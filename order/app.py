"""The order service: what it is asked, and who decides."""

from libs.contracts.order import BeginCancellation, CancelOrder, CompleteOrder, CreateOrder
from libs.service.service import Service, on
from order import domain, store

service = Service(
    name="order",
    load=store.load,
    save=store.save,
    routes=[
        on(CreateOrder, domain.create),
        on(CompleteOrder, domain.complete),
        on(BeginCancellation, domain.begin_cancellation),
        on(CancelOrder, domain.cancel),
    ],
)
