"""The gateway and the services behind it in this process: their real HTTP routes on real databases, without Kafka."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID, uuid4

import httpx
import uuid_utils.compat
from starlette.types import ASGIApp

from gateway.api.gate import TokenIssuer
from gateway.app import service as gateway_service
from gateway.settings import GatewaySettings
from gateway.store.accounts import Account
from gateway.store.keys import PublicKeys
from inventory.app import service as inventory_service
from libs.contracts.values import UserId
from libs.service.host import Host
from libs.service.http import build
from libs.service.runtime import Runtime
from libs.service.service import Service
from order_history.app import service as history_service
from payment.app import service as payment_service
from product.app import service as product_service
from tests.support.builders import a_user_id
from tests.support.databases import Database, Databases

Headers = Mapping[str, str]

BEHIND: Final[Sequence[Service[Any]]] = (
    product_service,
    inventory_service,
    payment_service,
    history_service,
)
NO_HEADERS: Final[Headers] = MappingProxyType({})
PRODUCT: Final = {"price": {"amount_minor": 1_000, "currency": "EUR"}}


@dataclass(frozen=True, slots=True)
class Shops:
    """A database for each service, which several gateways may share."""

    of: Mapping[str, Database]

    async def counts(self) -> dict[str, int]:
        """How many rows there are in each table of each service."""
        found: dict[str, int] = {}
        for name, database in self.of.items():
            tables = await database.rows(
                "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
            )
            for (table,) in tables:
                ((count,),) = await database.rows(f'SELECT count(*) FROM "{table}"')  # noqa: S608
                found[f"{name}.{table}"] = count
        return found


@asynccontextmanager
async def shops(databases: Databases) -> AsyncIterator[Shops]:
    """Fresh databases of the services that have HTTP."""
    names = ["gateway", *(service.name for service in BEHIND)]
    made = {name: await databases.fresh(name) for name in names}
    try:
        yield Shops(made)
    finally:
        await asyncio.gather(*(databases.drop(database) for database in made.values()))


@dataclass(frozen=True, slots=True)
class Front:
    """One running gateway, without relay and workers."""

    http: httpx.AsyncClient
    runtime: Runtime
    settings: GatewaySettings
    shops: Shops
    app: ASGIApp

    @property
    def database(self) -> Database:
        """The gateway's database."""
        return self.shops.of["gateway"]

    async def token(self, role: str = "customer", user_id: UserId | None = None) -> str:
        """An access token signed with the gateway's own key, for somebody who needs no account."""
        account = Account(
            user_id or a_user_id(), "nobody@example.com", "Nobody", None, None, role, datetime.now(UTC)
        )
        return await TokenIssuer(self.runtime.database, self.settings).access_token(account, uuid4())

    async def bearer(self, role: str = "customer", user_id: UserId | None = None) -> Headers:
        """The header of a request by somebody with this role."""
        return {"Authorization": f"Bearer {await self.token(role, user_id)}"}

    async def product(self) -> str:
        """A product on sale."""
        operator = await self.bearer("operator")
        category = await self.http.post("/api/categories", json={"name": uuid4().hex}, headers=operator)
        body = {**PRODUCT, "name": f"Product {uuid4().hex[:6]}", "category_id": category.json()["id"]}
        made = await self.http.post("/api/products", json=body, headers=operator)
        assert made.status_code == httpx.codes.CREATED, made.text
        return str(made.json()["id"])

    async def order(
        self, who: Headers, body: object = None, *, key: str | None = None, headers: Headers = NO_HEADERS
    ) -> httpx.Response:
        """POST /api/orders; without a body, of one product."""
        sent = {**who, "Idempotency-Key": key or uuid4().hex, **headers}
        return await self.http.post("/api/orders", json=body or an_order(), headers=sent)


def an_order(*, lines: int = 1, quantity: int = 1, method: UUID | None = None) -> dict[str, Any]:
    """The body of an order, of products that nobody knows."""
    return {
        "payment_method_id": str(method or uuid4()),
        "lines": [{"product_id": str(uuid_utils.compat.uuid7()), "quantity": quantity} for _ in range(lines)],
    }


@asynccontextmanager
async def front(
    over: Shops, *, away: Sequence[str] = (), behind: Mapping[str, ASGIApp] | None = None, **settings: Any
) -> AsyncIterator[Front]:
    """A gateway on these databases; the services in `away` do not answer."""
    async with AsyncExitStack() as stack:
        given = {"profile": "dev", "docs": True, **settings}
        known = GatewaySettings(database_url=over.of["gateway"].runtime_dsn, **given)
        runtime = Host(gateway_service, known).runtime
        await stack.enter_async_context(_opened(runtime))
        mounts: dict[str, httpx.AsyncBaseTransport] = {}
        for service in BEHIND:
            app = (behind or {}).get(service.name)
            if app is None:
                app = await stack.enter_async_context(_serving(service, over, runtime))
            url = getattr(known, f"{service.name}_url")
            mounts[url] = _Away() if service.name in away else httpx.ASGITransport(app)
        upstream = await stack.enter_async_context(httpx.AsyncClient(mounts=mounts))
        runtime = replace(runtime, http=upstream)
        app = build(gateway_service, runtime, list)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        client = await stack.enter_async_context(
            httpx.AsyncClient(transport=transport, base_url="http://gateway", timeout=30)
        )
        yield Front(client, runtime, known, over, app)


class _Away(httpx.AsyncBaseTransport):
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("nobody there", request=request)


@asynccontextmanager
async def _serving(service: Service[Any], over: Shops, gateway: Runtime) -> AsyncIterator[ASGIApp]:
    verifying = replace(service, keys=lambda _database: PublicKeys(gateway.database))
    settings = service.settings(profile="dev", database_url=over.of[service.name].runtime_dsn)
    runtime = Host(verifying, settings).runtime
    async with _opened(runtime):
        yield build(verifying, runtime, list)


@asynccontextmanager
async def _opened(runtime: Runtime) -> AsyncIterator[None]:
    await runtime.database.open()
    try:
        yield
    finally:
        await runtime.http.aclose()
        await runtime.database.close()
