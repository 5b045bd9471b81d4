"""Gathers the customers and the goods of a run, over HTTP, once."""

import httpx

from devstack.preparation import OPERATOR_EMAIL
from tests.faults.harness.load import Buyer, Crowd, Person
from tests.faults.harness.stage import Stage
from tests.support.shop import PASSWORD, Shop

STOCK = 1_000_000
CENTS = 10_000_000


async def gathered(stage: Stage) -> Crowd:
    """Customers of every kind, twelve products with plenty of stock and one with none."""
    async with httpx.AsyncClient(base_url=stage.gateway_url, timeout=30) as http:
        shop = Shop(http)
        operator = await shop.operator(OPERATOR_EMAIL, stage.operator_password())
        solvent = [await shop.customer(cents=CENTS) for _ in range(6)]
        poor = await shop.customer(cents=0)
        rich = [(Person(one.email, one.token), one) for one in solvent]
        broke = Person(poor.email, poor.token)
        products = [await operator.product(cents=100 + 7 * n, stock=STOCK) for n in range(12)]
        return Crowd(
            wallets=[Buyer(person, await one.wallet()) for person, one in rich],
            cards=[Buyer(person, await one.card()) for person, one in rich[:3]],
            broke=[Buyer(broke, await poor.wallet())],
            declined=[Buyer(broke, await poor.card("tok_refuse"))],
            silent=[Buyer(broke, await poor.card("tok_silent"))],
            captured_silent=[Buyer(broke, await poor.card("tok_captured_silent"))],
            products=products,
            scarce=await operator.product(cents=500, stock=0),
            secrets=frozenset({PASSWORD, stage.operator_password(), *(one.token for one in solvent)}),
        )
