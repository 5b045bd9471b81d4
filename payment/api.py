"""What customers may ask over HTTP: their payment methods and their wallet, always their own."""

import re
import unicodedata
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime
from typing import Annotated, Final, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Query, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from libs.contracts.values import Money, PaymentMethodId
from libs.service.auth import Principal
from libs.service.problems import Problem
from libs.service.runtime import Runtime
from payment import store
from payment.domain.books import MethodKind, wallet_method_id

MAX_DEPOSIT_MINOR: Final = 10_000_000
NEWEST: Final = 2**63 - 1

_BIDI: Final = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_CARD_NUMBER: Final = re.compile(r"(?:\d[\s._-]?){12}")
_KEY: Final = re.compile(r'"([!#-~]{1,255})"|([!#-~][!-~]{0,254})')


def _readable(text: str) -> str:
    text = unicodedata.normalize("NFC", text).strip()
    if any(unicodedata.category(letter) in {"Cc", "Cs", "Co", "Cn"} or letter in _BIDI for letter in text):
        raise ValueError("control characters are not allowed")
    return text


def _no_card_number(text: str) -> str:
    if _CARD_NUMBER.search(text):
        raise ValueError("this looks like a card number; only the provider's token belongs here")
    return text


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class NewCard(_Body):
    """A card as the provider's token; never a card number."""

    kind: Literal["card"]
    token: Annotated[str, Field(pattern="^tok_[A-Za-z0-9_]{1,64}$"), AfterValidator(_no_card_number)]
    label: Annotated[
        str, AfterValidator(_readable), AfterValidator(_no_card_number), Field(min_length=1, max_length=60)
    ] = "Card"


class DepositAmount(_Body):
    """An amount in euro cents."""

    amount_minor: Annotated[int, Field(ge=1, le=MAX_DEPOSIT_MINOR)]
    currency: Literal["EUR"]


class NewDeposit(_Body):
    """Money for the wallet."""

    amount: DepositAmount


class MethodView(BaseModel):
    """A payment method."""

    id: UUID
    kind: MethodKind
    label: str


class MethodPage(BaseModel):
    """Payment methods, the wallet first; `next` goes into `after`."""

    items: list[MethodView]
    next: str | None


class Change(BaseModel):
    """What an entry did to the balance; negative when money left the wallet."""

    amount_minor: int
    currency: str


class EntryView(BaseModel):
    """A line of the wallet's statement."""

    id: UUID
    kind: Literal["deposit", "capture", "refund"]
    amount: Change
    order_id: UUID | None
    at: datetime


class WalletView(BaseModel):
    """The balance, and the wallet's entries, newest first."""

    balance: Money
    items: list[EntryView]
    next: str | None


class DepositView(BaseModel):
    """A deposit, and the balance right after it."""

    deposit_id: UUID
    amount: Money
    balance: Money
    at: datetime


Limit = Annotated[int, Query(ge=1, le=100)]
After = Annotated[str | None, Query(max_length=200)]


def router(runtime: Runtime) -> APIRouter:
    """The routes of one running service."""
    routes = APIRouter()
    _method_routes(routes, runtime)
    _wallet_routes(routes, runtime)
    return routes


def _method_routes(routes: APIRouter, runtime: Runtime) -> None:
    @routes.get("/payment-methods")
    async def list_payment_methods(
        principal: Annotated[Principal, Depends(runtime.signed_in)], limit: Limit = 20, after: After = None
    ) -> MethodPage:
        last = None if after is None else _method_of(after)
        async with runtime.database.transaction() as tx:
            found = await store.methods(tx, principal.user_id, limit + 1, last)
        page = found[:limit]
        items = [MethodView(id=one.id, kind=one.kind, label=one.label) for one in page]
        return MethodPage(items=items, next=_cursor_to(page[-1]) if len(found) > limit else None)

    @routes.post("/payment-methods", status_code=201)
    async def add_payment_method(
        body: NewCard, principal: Annotated[Principal, Depends(runtime.signed_in)]
    ) -> MethodView:
        new_id = PaymentMethodId(runtime.new_id())
        async with runtime.database.transaction() as tx:
            added = await store.add_card(tx, principal.user_id, new_id, body.token, body.label)
        if added is None:
            raise Problem(409, "too_many_payment_methods", "Remove a card before you add another one.")
        return MethodView(id=added.id, kind=added.kind, label=added.label)

    @routes.delete("/payment-methods/{method_id}", status_code=204)
    async def remove_payment_method(
        method_id: UUID, principal: Annotated[Principal, Depends(runtime.signed_in)]
    ) -> None:
        if method_id == wallet_method_id(principal.user_id):
            raise Problem(
                409, "wallet_not_removable", "The wallet is always there; only cards can be removed."
            )
        async with runtime.database.transaction() as tx:
            removed = await store.remove_method(tx, principal.user_id, PaymentMethodId(method_id))
        if not removed:
            raise Problem(404, "not_found", "You have no such payment method.")


def _wallet_routes(routes: APIRouter, runtime: Runtime) -> None:
    @routes.get("/wallet")
    async def read_wallet(
        principal: Annotated[Principal, Depends(runtime.signed_in)], limit: Limit = 20, after: After = None
    ) -> WalletView:
        before = NEWEST if after is None else _number_of(after)
        async with runtime.database.transaction() as tx:
            wallet = await store.wallet(tx, principal.user_id)
            found = await store.entries(tx, principal.user_id, limit + 1, before)
        page = found[:limit]
        return WalletView(
            balance=wallet.balance,
            items=[_entry(one) for one in page],
            next=_cursor(f"entry:{page[-1].number}") if len(found) > limit else None,
        )

    @routes.post("/wallet/deposits", status_code=201)
    async def deposit(
        body: NewDeposit,
        response: Response,
        principal: Annotated[Principal, Depends(runtime.signed_in)],
        idempotency_key: Annotated[str | None, Header()] = None,
    ) -> DepositView:
        key = _key(idempotency_key)
        amount = Money(amount_minor=body.amount.amount_minor, currency=body.amount.currency)
        async with runtime.database.transaction() as tx:
            made = await store.deposit(tx, principal.user_id, key, amount, runtime.new_id())
        if made.amount != amount:
            raise Problem(422, "idempotency_key_reused", "This Idempotency-Key was used for another deposit.")
        if made.before:
            response.headers["Idempotency-Replayed"] = "true"
        return DepositView(deposit_id=made.id, amount=made.amount, balance=made.balance, at=made.at)


def _entry(entry: store.Entry) -> EntryView:
    return EntryView(
        id=entry.id,
        kind=entry.kind,
        amount=Change(amount_minor=entry.amount_minor, currency=entry.currency),
        order_id=entry.order_id,
        at=entry.at,
    )


def _key(header: str | None) -> str:
    """The key as it was meant: bare, or quoted (RFC 8941, section 3.3.3)."""
    if header is None:
        raise Problem(
            400, "idempotency_key_missing", "Send an Idempotency-Key, so that a repeat deposits nothing."
        )
    match = _KEY.fullmatch(header)
    if match is None:
        raise Problem(
            400, "idempotency_key_invalid", "An Idempotency-Key has 1 to 255 visible ASCII characters."
        )
    return match[1] or match[2]


def _cursor(text: str) -> str:
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _text(cursor: str) -> str:
    try:
        return urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4)).decode()
    except ValueError as error:
        raise _bad_cursor() from error


def _cursor_to(method: store.Method) -> str:
    return _cursor(f"{method.kind}:{method.id}")


def _method_of(cursor: str) -> store.Method:
    match _text(cursor).split(":"):
        case ["wallet" | "card" as kind, text]:
            try:
                return store.Method(PaymentMethodId(UUID(text)), kind, "")
            except ValueError as error:
                raise _bad_cursor() from error
        case _:
            raise _bad_cursor()


def _number_of(cursor: str) -> int:
    match _text(cursor).split(":"):
        case ["entry", number] if number.isascii() and number.isdigit() and int(number) <= NEWEST:
            return int(number)
        case _:
            raise _bad_cursor()


def _bad_cursor() -> Problem:
    return Problem(422, "cursor_invalid", "`after` is not what a page's `next` gave.")
