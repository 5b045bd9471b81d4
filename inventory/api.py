"""HTTP of the inventory: operators look at a product's stock and enter what was counted or delivered."""

from typing import Annotated, Final, Self
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field, model_validator

from inventory import store
from inventory.domain import Stock
from libs.contracts.values import ProductId
from libs.service.problems import Problem
from libs.service.runtime import Runtime

MAX_ON_HAND: Final = 1_000_000_000


class StockView(BaseModel):
    """A product's stock as operators see it; available = on_hand - reserved."""

    product_id: UUID
    on_hand: int
    reserved: int
    available: int
    sold: int

    @classmethod
    def of(cls, stock: Stock) -> Self:
        return cls(
            product_id=stock.product_id,
            on_hand=stock.on_hand,
            reserved=stock.reserved,
            available=stock.available,
            sold=stock.sold,
        )


class StockChange(BaseModel):
    """Either what is on hand now, or by how much it changed."""

    model_config = ConfigDict(strict=True, extra="forbid")

    on_hand: Annotated[int, Field(ge=0, le=MAX_ON_HAND)] | None = None
    adjust: Annotated[int, Field(ge=-MAX_ON_HAND, le=MAX_ON_HAND)] | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        given = [self.on_hand, self.adjust]
        if len(self.model_fields_set) != 1 or given.count(None) != 1:
            raise ValueError("give exactly one of on_hand and adjust")
        return self

    def applied_to(self, stock: Stock) -> int:
        """What is on hand after the change, possibly less than nothing."""
        return stock.on_hand + self.adjust if self.adjust is not None else self.on_hand or 0


def router(runtime: Runtime) -> APIRouter:
    """GET and PUT /stock/{product_id}, both for operators."""
    routes = APIRouter(dependencies=[Depends(runtime.operator)])

    @routes.get("/stock/{product_id}")
    async def get_stock(product_id: UUID) -> StockView:
        stock = await store.stock_of(runtime.database, ProductId(product_id))
        if stock is None:
            raise Problem(404, "not_found", f"No stock was ever entered for the product {product_id}.")
        return StockView.of(stock)

    @routes.put("/stock/{product_id}")
    async def put_stock(product_id: UUID, change: StockChange) -> StockView:
        async with runtime.database.transaction() as tx:
            stock = await store.lock_stock(tx, ProductId(product_id))
            counted = _counted(stock, change.applied_to(stock))
            await store.save_count(tx, counted)
        return StockView.of(counted)

    return routes


def _counted(stock: Stock, on_hand: int) -> Stock:
    if on_hand > MAX_ON_HAND:
        raise Problem(
            409, "too_many_in_stock", f"There would be {on_hand} on hand; at most {MAX_ON_HAND} can be."
        )
    counted = stock.counted(on_hand)
    if counted is None:
        raise Problem(
            409,
            "below_reserved",
            f"There would be {on_hand} on hand, but {stock.reserved} are reserved for orders.",
        )
    return counted
