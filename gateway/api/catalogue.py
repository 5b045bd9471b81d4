"""Products and categories: everybody looks, operators change. A token is not looked at where none is needed."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from gateway.api.bodies.catalogue import (
    Category,
    CategoryIn,
    CategoryPage,
    Price,
    Product,
    ProductChange,
    ProductIn,
    ProductPage,
    Stock,
    StockChange,
)
from gateway.api.bodies.fields import MAX_NAME
from gateway.api.gate import Caller, Gate
from gateway.api.lists import page
from gateway.api.queries import Nothing, Page
from gateway.api.strict import AS_TEXT, Id, Json, StrictRoute, trimmed
from gateway.api.upstream import Call, Reply

ProductPath = Annotated[Id, Path(description="the product's id")]
Empty = Annotated[Nothing, Query()]


class Browsing(Page):
    """Which products."""

    category_id: Id | None = None
    q: (
        Annotated[str, Field(max_length=MAX_NAME, description="part of a name"), trimmed(MAX_NAME), AS_TEXT]
        | None
    ) = None
    sort: Literal["name", "-name", "price", "-price", "newest"] = "name"


def browsing(gate: Gate) -> APIRouter:
    """GET /api/categories, /api/products and /api/products/{product_id}, for everybody."""
    routes = APIRouter(route_class=StrictRoute, tags=["catalogue"])

    @routes.get("/api/categories", operation_id="listCategories", response_model=CategoryPage)
    async def list_categories(request: Request, asked: Annotated[Page, Query()]) -> Response:
        """Categories by name."""
        call = Call("product", "GET", "/categories")
        return await page(gate, request, call, asked, {})

    @routes.get("/api/products", operation_id="listProducts", response_model=ProductPage)
    async def list_products(request: Request, asked: Annotated[Browsing, Query()]) -> Response:
        """Products on sale, by name unless asked otherwise; a withdrawn one is still found by its id."""
        filters = {
            "category_id": None if asked.category_id is None else str(asked.category_id),
            "q": asked.q,
            "sort": asked.sort,
        }
        return await page(gate, request, Call("product", "GET", "/products"), asked, filters)

    @routes.get("/api/products/{product_id}", operation_id="getProduct", response_model=Product)
    async def get_product(product_id: ProductPath, request: Request, _query: Empty) -> Response:
        """One product."""
        return _answer(await gate.ask(request, Call("product", "GET", f"/products/{product_id}")))

    return routes


def changing(gate: Gate) -> APIRouter:
    """What operators do to the catalogue."""
    routes = APIRouter(route_class=StrictRoute, tags=["catalogue"])
    operator = Depends(gate.operator)

    @routes.post("/api/categories", status_code=201, operation_id="addCategory", response_model=Category)
    async def add_category(
        body: CategoryIn, request: Request, caller: Annotated[Caller, operator]
    ) -> Response:
        """Add a category."""
        return _answer(await gate.ask(request, _change("POST", "/categories", caller, body)))

    @routes.post("/api/products", status_code=201, operation_id="addProduct", response_model=Product)
    async def add_product(body: ProductIn, request: Request, caller: Annotated[Caller, operator]) -> Response:
        """Add a product."""
        reply = await gate.ask(request, _change("POST", "/products", caller, body))
        return _answer(reply, {"Location": f"/api/products/{reply.body['id']}"})

    @routes.patch("/api/products/{product_id}", operation_id="changeProduct", response_model=Product)
    async def change_product(
        product_id: ProductPath, body: ProductChange, request: Request, caller: Annotated[Caller, operator]
    ) -> Response:
        """Change what is given and leave the rest; `active: false` takes a product off sale."""
        return _answer(await gate.ask(request, _change("PATCH", f"/products/{product_id}", caller, body)))

    @routes.put("/api/products/{product_id}/price", operation_id="setPrice", response_model=Product)
    async def set_price(
        product_id: ProductPath, body: Price, request: Request, caller: Annotated[Caller, operator]
    ) -> Response:
        """Set a product's price; orders that were validated before keep theirs."""
        return _answer(await gate.ask(request, _change("PUT", f"/products/{product_id}/price", caller, body)))

    return routes


def stock(gate: Gate) -> APIRouter:
    """GET and PUT /api/inventory/{product_id}, for operators."""
    routes = APIRouter(route_class=StrictRoute, tags=["inventory"])
    operator = Depends(gate.operator)

    @routes.get("/api/inventory/{product_id}", operation_id="getStock", response_model=Stock)
    async def get_stock(
        product_id: ProductPath, request: Request, _query: Empty, caller: Annotated[Caller, operator]
    ) -> Response:
        """What there is of a product."""
        call = Call("inventory", "GET", f"/stock/{product_id}", token=caller.token)
        return _answer(await gate.ask(request, call))

    @routes.put("/api/inventory/{product_id}", operation_id="setStock", response_model=Stock)
    async def set_stock(
        product_id: ProductPath, body: StockChange, request: Request, caller: Annotated[Caller, operator]
    ) -> Response:
        """Enter what was counted, or by how much it changed; 409 when less would be left than is reserved."""
        call = Call("inventory", "PUT", f"/stock/{product_id}", token=caller.token, body=_given(body))
        return _answer(await gate.ask(request, call))

    return routes


def _change(
    method: str, path: str, caller: Caller, body: CategoryIn | ProductIn | ProductChange | Price
) -> Call:
    return Call("product", method, path, token=caller.token, body=_given(body))


def _given(body: CategoryIn | ProductIn | ProductChange | Price | StockChange) -> dict[str, Any]:
    return body.model_dump(mode="json", exclude_unset=True)


def _answer(reply: Reply, headers: dict[str, str] | None = None) -> Json:
    return Json(reply.body, reply.status, headers)
