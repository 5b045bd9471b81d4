"""HTTP of the catalogue: everybody may look, operators may change it."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime
from typing import Annotated, Final, Self
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from libs.contracts.values import MAX_MINOR, CategoryId, Money, ProductId
from libs.service.problems import Fault, Problem, unprocessable
from libs.service.runtime import Runtime
from product import store
from product.domain import MAX_NAME_LENGTH, Category, Listed, Product, clean
from product.store import Place, Search, Sort

Name = Annotated[str, AfterValidator(clean), Field(min_length=1, max_length=MAX_NAME_LENGTH)]
Id = Annotated[UUID, Field(strict=False)]
Limit = Annotated[int, Query(ge=1, le=100)]
After = Annotated[str | None, Query(max_length=4_000, description="the `next` of the page before")]
SearchText = Annotated[str, AfterValidator(clean), Query(max_length=MAX_NAME_LENGTH)]

_PLACE: Final = TypeAdapter(
    tuple[
        str,
        Annotated[str, Field(pattern=r"^[^\x00]*$")] | Annotated[int, Field(ge=0, le=MAX_MINOR)],
        UUID,
    ]
)
_BY_CATEGORY_NAME: Final = "category"


class Request(BaseModel):
    """What operators send: exactly these fields, of exactly these types."""

    model_config = ConfigDict(strict=True, extra="forbid")


class Price(Money):
    """A unit price."""

    model_config = ConfigDict(extra="forbid")


class NewProduct(Request):
    name: Name
    category_id: Id
    price: Price
    active: bool = True


class ProductChange(Request):
    """The fields that are there change, the others stay."""

    name: Name | None = None
    category_id: Id | None = None
    active: bool | None = None

    @model_validator(mode="after")
    def _no_nulls(self) -> Self:
        if nulls := [name for name in sorted(self.model_fields_set) if getattr(self, name) is None]:
            raise ValueError(f"{nulls[0]} cannot be null; leave it out to keep it")
        return self


class NewCategory(Request):
    name: Name


class ProductView(BaseModel):
    id: UUID
    name: str
    category_id: UUID
    price: Money
    active: bool

    @classmethod
    def of(cls, listed: Listed) -> Self:
        product = listed.product
        return cls(
            id=product.id,
            name=product.name,
            category_id=listed.category_id,
            price=product.price,
            active=product.active,
        )


class CategoryView(BaseModel):
    id: UUID
    name: str


class ProductPage(BaseModel):
    items: list[ProductView]
    next: str | None


class CategoryPage(BaseModel):
    items: list[CategoryView]
    next: str | None


def router(runtime: Runtime) -> APIRouter:
    """The catalogue for everybody, and its changes for operators."""
    routes = APIRouter()
    routes.include_router(_reading(runtime))
    routes.include_router(_changing(runtime))
    return routes


def _reading(runtime: Runtime) -> APIRouter:
    routes = APIRouter()

    @routes.get("/categories")
    async def list_categories(limit: Limit = 100, after: After = None) -> CategoryPage:
        place = _place(after, _BY_CATEGORY_NAME)
        async with runtime.database.transaction() as tx:
            found, rest = await store.categories(tx, limit, place)
        views = [CategoryView(id=category.id, name=category.name) for category in found]
        return CategoryPage(items=views, next=_cursor(rest, _BY_CATEGORY_NAME))

    @routes.get("/products")
    async def list_products(
        category_id: UUID | None = None,
        q: SearchText = "",
        sort: Sort = "name",
        limit: Limit = 20,
        after: After = None,
    ) -> ProductPage:
        place = _place(after, sort)
        search = Search(None if category_id is None else CategoryId(category_id), q, sort)
        async with runtime.database.transaction() as tx:
            found, rest = await store.page(tx, search, limit, place)
        return ProductPage(items=[ProductView.of(one) for one in found], next=_cursor(rest, sort))

    @routes.get("/products/{product_id}")
    async def get_product(product_id: UUID) -> ProductView:
        return _found(await store.product(runtime.database, ProductId(product_id)), product_id)

    return routes


def _changing(runtime: Runtime) -> APIRouter:
    routes = APIRouter(dependencies=[Depends(runtime.operator)])

    @routes.post("/categories", status_code=201)
    async def add_category(asked: NewCategory) -> CategoryView:
        category = Category(CategoryId(runtime.new_id()), asked.name)
        async with runtime.database.transaction() as tx:
            added = await store.add_category(tx, category)
        if not added:
            detail = f"There is a category named {asked.name!r} already."
            raise Problem(409, "category_name_taken", detail)
        return CategoryView(id=category.id, name=category.name)

    @routes.post("/products", status_code=201)
    async def add_product(asked: NewProduct, response: Response) -> ProductView:
        product = Product(ProductId(runtime.new_id()), asked.name, asked.price, asked.active)
        listed = Listed(product, CategoryId(asked.category_id))
        async with runtime.database.transaction() as tx:
            if await store.category(tx, listed.category_id) is None:
                raise _no_category(asked.category_id)
            await store.add_product(tx, listed)
        response.headers["Location"] = f"/products/{product.id}"
        return ProductView.of(listed)

    @routes.patch("/products/{product_id}")
    async def change_product(product_id: UUID, change: ProductChange) -> ProductView:
        category_id = None if change.category_id is None else CategoryId(change.category_id)
        async with runtime.database.transaction() as tx:
            if category_id is not None and await store.category(tx, category_id) is None:
                raise _no_category(category_id)
            changed = await store.change_product(
                tx,
                ProductId(product_id),
                name=change.name,
                category_id=category_id,
                active=change.active,
            )
        return _found(changed, product_id)

    @routes.put("/products/{product_id}/price")
    async def price_product(product_id: UUID, price: Price) -> ProductView:
        async with runtime.database.transaction() as tx:
            priced = await store.price_product(tx, ProductId(product_id), price)
        return _found(priced, product_id)

    return routes


def _found(listed: Listed | None, product_id: UUID) -> ProductView:
    if listed is None:
        raise Problem(404, "not_found", f"There is no product {product_id}.")
    return ProductView.of(listed)


def _no_category(category_id: UUID) -> Problem:
    detail = f"There is no category {category_id}."
    return unprocessable([Fault("#/category_id", detail, "category_unknown")])


def _cursor(place: Place | None, sort: str) -> str | None:
    if place is None:
        return None
    value = place.value.isoformat() if isinstance(place.value, datetime) else place.value
    return urlsafe_b64encode(json.dumps([sort, value, str(place.id)]).encode()).decode().rstrip("=")


def _place(after: str | None, sort: str) -> Place | None:
    """The place that a cursor names; 422 where it is none of this sort."""
    if after is None:
        return None
    try:
        cursor = urlsafe_b64decode(after + "=" * (-len(after) % 4))
        made_for, value, key = _PLACE.validate_json(cursor)
        place = Place(datetime.fromisoformat(str(value)) if sort == "newest" else value, key)
    except (ValueError, ValidationError):
        made_for, place = "", None
    if made_for != sort or place is None or isinstance(place.value, int) != sort.endswith("price"):
        raise unprocessable([Fault("#/after", "this is no cursor of this list", "cursor_invalid", "query")])
    return place
