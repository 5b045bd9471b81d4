"""A simulated card provider, its own process: `python -m devstack.card_provider`.

Its HTTP contract:

POST /charges {"idempotency_key", "amount": {"amount_minor", "currency"}, "token"}
    200 {"status": "captured" | "refused" | "voided", "reference", "reason": null or a code}.
    A repeat under the key answers as before; "voided" also when the charge was refunded since.
    422 when the key is known with another amount or token.
    tok_approve          captured
    tok_refuse           refused, reason card_declined
    tok_late             captures and answers after `late_seconds`; pending until then
    tok_silent           never answers and captures nothing: the key stays unknown
    tok_captured_silent  captures at once and never answers
    anything else        refused, reason unknown_token
GET /charges/{idempotency_key}
    200 {"status": "captured" | "refused" | "voided" | "refunded" | "pending" | "not_found", "reference", "reason"}.
    It always answers.
POST /charges/{idempotency_key}/void
    200 {"status": "voided" | "refunded"}: nothing is captured under this key any more, unseen keys included;
    what was captured is given back. 409 {"status": "refused", "reason"} when giving back is switched off.
POST /charges/{idempotency_key}/refund
    200 {"status": "refunded"}, also for a captured charge that a void gave back.
    409 {"status": "refused", "reason": "refunds_refused" | "nothing_captured"}.
GET, PUT /admin/settings {"refuse_refunds": bool, "late_seconds": number}; PUT takes any part of it.
GET /admin/totals {"captured_minor", "refunded_minor",
    "charges": {key: {"status", "token", "amount_minor", "currency", "captured_minor", "refunded_minor"}}}
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import uvicorn
from fastapi import APIRouter, FastAPI
from fastapi import Path as PathParameter
from fastapi import Request as HttpRequest
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from devstack.charges import Charge, Charges, KeyReusedError, RefundRefusedError, Request

Key = Annotated[str, PathParameter(min_length=1, max_length=255)]
_ANSWERS_NEVER = frozenset({"tok_silent", "tok_captured_silent"})


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Amount(_Body):
    """Money in minor units."""

    amount_minor: Annotated[int, Field(gt=0, strict=True)]
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")]


class ChargeBody(_Body):
    """A request to charge a card."""

    idempotency_key: Annotated[str, Field(min_length=1, max_length=255)]
    amount: Amount
    token: str


class SettingsBody(_Body):
    """A part of the settings; what is left out stays."""

    refuse_refunds: bool | None = None
    late_seconds: Annotated[float, Field(ge=0)] | None = None


class Answer(BaseModel):
    """What the provider says about a charge."""

    status: str
    reference: str | None = None
    reason: str | None = None


def create_app(books: Charges) -> FastAPI:
    """Serve the contract above from the given books, and close them at the end."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        books.close()

    app = FastAPI(title="Simulated card provider", lifespan=lifespan, docs_url=None, redoc_url=None)

    app.include_router(_merchant_routes(books))
    app.include_router(_admin_routes(books))

    @app.exception_handler(RefundRefusedError)
    async def refused(_http: HttpRequest, error: Exception) -> JSONResponse:
        return JSONResponse({"status": "refused", "reason": str(error)}, status_code=409)

    @app.exception_handler(KeyReusedError)
    async def key_reused(_http: HttpRequest, _error: Exception) -> JSONResponse:
        return JSONResponse({"status": "refused", "reason": "idempotency_key_reused"}, status_code=422)

    return app


def _merchant_routes(books: Charges) -> APIRouter:
    routes = APIRouter()

    @routes.post("/charges")
    async def charge(body: ChargeBody, http: HttpRequest) -> Answer:
        request = Request(body.idempotency_key, body.amount.amount_minor, body.amount.currency, body.token)
        charge = books.charge(request)
        if (charge is None or charge.status != "voided") and body.token in _ANSWERS_NEVER:
            await _client_left(http)
        while charge is not None and charge.status == "pending":
            await asyncio.sleep(max(0.0, (charge.captures_at or 0) - time.time()))
            charge = books.find(request.key)
        if charge is None:
            return Answer(status="not_found")
        if charge.status == "refunded":
            return Answer(status="voided", reference=charge.reference, reason="refunded")
        return _answer(charge)

    @routes.get("/charges/{key}")
    async def status(key: Key) -> Answer:
        charge = books.find(key)
        return Answer(status="not_found") if charge is None else _answer(charge)

    @routes.post("/charges/{key}/void")
    async def void(key: Key) -> Answer:
        return _answer(books.void(key))

    @routes.post("/charges/{key}/refund")
    async def refund(key: Key) -> Answer:
        charge = books.refund(key)
        return Answer(status="refunded", reference=charge.reference)

    return routes


def _admin_routes(books: Charges) -> APIRouter:
    routes = APIRouter()

    @routes.get("/admin/settings")
    async def settings() -> dict[str, object]:
        return asdict(books.settings())

    @routes.put("/admin/settings")
    async def change_settings(body: SettingsBody) -> dict[str, object]:
        books.set(replace(books.settings(), **body.model_dump(exclude_none=True)))
        return asdict(books.settings())

    @routes.get("/admin/totals")
    async def totals() -> dict[str, object]:
        return _totals(books.everything())

    @routes.get("/readyz")
    async def ready() -> dict[str, str]:
        return {"status": "ready"}

    return routes


def _answer(charge: Charge) -> Answer:
    return Answer(status=charge.status, reference=charge.reference, reason=charge.reason)


def _totals(charges: Mapping[str, Charge]) -> dict[str, object]:
    kept = ("status", "token", "amount_minor", "currency", "captured_minor", "refunded_minor")
    return {
        "captured_minor": sum(charge.captured_minor for charge in charges.values()),
        "refunded_minor": sum(charge.refunded_minor for charge in charges.values()),
        "charges": {key: {name: getattr(charge, name) for name in kept} for key, charge in charges.items()},
    }


async def _client_left(http: HttpRequest) -> None:
    """Hold the connection until the other side closes it; the body is read, so only its end can arrive."""
    while (await http.receive())["type"] != "http.disconnect":
        continue


def main(environ: Mapping[str, str] = os.environ) -> None:
    """Serve until SIGTERM; CARD_PROVIDER_FILE holds the books."""
    books = Charges(Path(environ.get("CARD_PROVIDER_FILE", ".stack/card_provider.sqlite")), time.time)
    uvicorn.run(
        create_app(books),
        host=environ.get("HTTP_HOST", "127.0.0.1"),
        port=int(environ.get("HTTP_PORT", "8088")),
        log_level="info",
        access_log=False,
        timeout_graceful_shutdown=1,  # those who wait for an answer that never comes do not hold the stop
    )


if __name__ == "__main__":
    main()
