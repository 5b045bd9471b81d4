"""The inventory service: what it is asked, and who decides."""

from typing import Final

from inventory import api, domain, store
from libs.contracts.inventory import ReleaseInventory, ReserveInventory
from libs.contracts.order import OrderCompleted
from libs.contracts.topics import ORDER_EVENTS
from libs.service.service import Paced, Service, on

SALES_PACE_SECONDS: Final = 0.1
"""What was held for a completed order is sold at leisure: it was nobody else's since it was held."""

service = Service(
    name="inventory",
    load=store.load,
    save=store.save,
    routes=[
        on(ReserveInventory, domain.reserve),
        on(ReleaseInventory, domain.release),
        on(OrderCompleted, domain.sell),
    ],
    paced=Paced(topics=(ORDER_EVENTS,), seconds=SALES_PACE_SECONDS),
    api=api.router,
)
