"""The inventory service: what it is asked, and who decides."""

from inventory import api, domain, store
from libs.contracts.inventory import ReleaseInventory, ReserveInventory
from libs.contracts.order import OrderCompleted
from libs.service.service import Service, on

service = Service(
    name="inventory",
    load=store.load,
    save=store.save,
    routes=[
        on(ReserveInventory, domain.reserve),
        on(ReleaseInventory, domain.release),
        on(OrderCompleted, domain.sell),
    ],
    api=api.router,
)
