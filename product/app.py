"""The product service: what it is asked, and who decides."""

from libs.contracts.product import ValidateProducts
from libs.service.service import Service, on
from product import api, domain, store

service = Service(
    name="product",
    load=store.load,
    save=store.save,
    routes=[on(ValidateProducts, domain.validate)],
    api=api.router,
)
