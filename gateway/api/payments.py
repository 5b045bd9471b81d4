"""One's own ways to pay, and the wallet."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from gateway.api.bodies.payments import CardIn, Deposit, DepositIn, PaymentMethod, PaymentMethodPage, Wallet
from gateway.api.gate import Caller, Gate
from gateway.api.lists import page
from gateway.api.orders import idempotency_key
from gateway.api.queries import Page
from gateway.api.strict import Id, Json, StrictRoute
from gateway.api.upstream import Call

MethodPath = Annotated[Id, Path(description="the payment method's id")]


def router(gate: Gate) -> APIRouter:
    """/api/payment-methods and /api/wallet."""
    routes = APIRouter(route_class=StrictRoute, tags=["payments"])
    user = Depends(gate.user)

    @routes.get("/api/payment-methods", operation_id="listPaymentMethods", response_model=PaymentMethodPage)
    async def list_methods(
        request: Request, asked: Annotated[Page, Query()], caller: Annotated[Caller, user]
    ) -> Response:
        """The wallet, which is always there, and one's cards."""
        call = Call("payment", "GET", "/payment-methods", token=caller.token)
        return await page(gate, request, call, asked, {}, owner=str(caller.user_id))

    @routes.post(
        "/api/payment-methods", status_code=201, operation_id="addPaymentMethod", response_model=PaymentMethod
    )
    async def add_method(body: CardIn, request: Request, caller: Annotated[Caller, user]) -> Response:
        """Add a card by its provider's token."""
        call = Call(
            "payment", "POST", "/payment-methods", token=caller.token, body=body.model_dump(mode="json")
        )
        reply = await gate.ask(request, call)
        return Json(reply.body, reply.status)

    @routes.delete("/api/payment-methods/{method_id}", status_code=204, operation_id="removePaymentMethod")
    async def remove_method(method_id: MethodPath, request: Request, caller: Annotated[Caller, user]) -> None:
        """Remove a card."""
        await gate.ask(
            request, Call("payment", "DELETE", f"/payment-methods/{method_id}", token=caller.token)
        )

    @routes.get("/api/wallet", operation_id="getWallet", response_model=Wallet)
    async def get_wallet(
        request: Request, asked: Annotated[Page, Query()], caller: Annotated[Caller, user]
    ) -> Response:
        """The balance, and what moved it."""
        call = Call("payment", "GET", "/wallet", token=caller.token)
        return await page(gate, request, call, asked, {}, owner=str(caller.user_id))

    @routes.post("/api/wallet/deposits", status_code=201, operation_id="depositMoney", response_model=Deposit)
    async def deposit(
        body: DepositIn,
        request: Request,
        caller: Annotated[Caller, user],
    ) -> Response:
        """Put money into the wallet, once for each Idempotency-Key."""
        call = Call(
            "payment",
            "POST",
            "/wallet/deposits",
            token=caller.token,
            body=body.model_dump(mode="json"),
            headers={"Idempotency-Key": idempotency_key(request)},
        )
        reply = await gate.ask(request, call)
        replayed = reply.headers.get("idempotency-replayed")
        return Json(reply.body, reply.status, {} if replayed is None else {"Idempotency-Replayed": replayed})

    return routes
