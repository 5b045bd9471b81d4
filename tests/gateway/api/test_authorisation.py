"""Who may do what: every route by everybody who could come along, forgers included; a route without a row fails."""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from inspect import isawaitable
from typing import Any, Final
from uuid import uuid4

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.types import ASGIApp, Message

from gateway.__main__ import openapi
from gateway.api.openapi import BY_OPERATORS, FOR_EVERYBODY
from gateway.store.keys import SigningKeys
from libs.contracts.values import UserId
from tests.gateway.front import Front, Headers, an_order
from tests.support.builders import a_user_id
from tests.support.forgeries import Smith, forgeries

pytestmark = pytest.mark.integration

PASSWORD: Final = "a long way to the market"


@dataclass(frozen=True, slots=True)
class Scene:
    """What a request may be about: things that belong to one customer, and things of the shop."""

    gate: Front
    owner: UserId
    owners: Headers
    order_id: str
    method_id: str
    product_id: str
    email: str


@dataclass(frozen=True, slots=True)
class Row:
    """One route: the request, and the status that each visitor gets."""

    path: str
    owner: int
    other: int
    operator: int
    anonymous: int = 401
    body: Callable[[Scene], Any] | None = None
    headers: Callable[[], Headers] = field(default=dict)


def key() -> Headers:
    return {"Idempotency-Key": uuid4().hex}


def own(path: str, status: int, other: int | None = None, **more: Any) -> Row:
    """A route for whoever is signed in; `other` is what somebody else gets for the owner's thing."""
    theirs = status if other is None else other
    return Row(path, status, theirs, theirs, **more)


def operators(path: str, status: int, **more: Any) -> Row:
    """A route for operators."""
    return Row(path, 403, 403, status, **more)


def everybodys(path: str, status: int, **more: Any) -> Row:
    """A route that needs no token."""
    return Row(path, status, status, status, status, **more)


def registration(_scene: Scene) -> dict[str, str]:
    return {"name": "New", "email": f"new-{uuid4().hex}@example.com", "password": PASSWORD}


async def fresh_token(scene: Scene) -> dict[str, str]:
    login = {"email": scene.email, "password": PASSWORD}
    return {"refresh_token": (await scene.gate.http.post("/auth/login", json=login)).json()["refresh_token"]}


def price(_scene: Scene) -> dict[str, Any]:
    return {"amount_minor": 500, "currency": "EUR"}


ROWS: Final[Mapping[str, Row]] = {
    "register": everybodys("/auth/register", 201, body=registration),
    "login": everybodys("/auth/login", 200, body=lambda s: {"email": s.email, "password": PASSWORD}),
    "refresh": everybodys("/auth/refresh", 200, body=fresh_token),
    "getKeys": everybodys("/.well-known/jwks.json", 200),
    "listCategories": everybodys("/api/categories", 200),
    "listProducts": everybodys("/api/products", 200),
    "getProduct": everybodys("/api/products/{product_id}", 200),
    "logout": own("/auth/logout", 204),
    "getProfile": own("/auth/profile", 200, 404),
    "changeProfile": own("/auth/profile", 200, 404, body=lambda _: {"locale": "en"}),
    "createOrder": own("/api/orders", 202, body=lambda _: an_order(), headers=key),
    "listOrders": own("/api/orders", 200),
    "listMyOrders": own("/api/my-orders", 200),
    "getOrder": own("/api/orders/{order_id}", 200, 404),
    "cancelOrder": own("/api/orders/{order_id}/cancel", 202, 404),
    "streamOrderEvents": own("/api/orders/{order_id}/events", 200, 404),
    "listPaymentMethods": own("/api/payment-methods", 200),
    "addPaymentMethod": own(
        "/api/payment-methods", 201, body=lambda _: {"kind": "card", "token": "tok_approve"}
    ),
    "removePaymentMethod": own("/api/payment-methods/{method_id}", 204, 404),
    "getWallet": own("/api/wallet", 200),
    "depositMoney": own("/api/wallet/deposits", 201, body=lambda s: {"amount": price(s)}, headers=key),
    "addCategory": operators("/api/categories", 201, body=lambda _: {"name": uuid4().hex}),
    "addProduct": operators(
        "/api/products",
        422,  # the category is unknown, which only an operator is told
        body=lambda s: {"name": "New", "category_id": str(uuid4()), "price": price(s)},
    ),
    "changeProduct": operators("/api/products/{product_id}", 200, body=lambda _: {"active": True}),
    "setPrice": operators("/api/products/{product_id}/price", 200, body=price),
    "setStock": operators("/api/inventory/{product_id}", 200, body=lambda _: {"on_hand": 10}),
    "getStock": operators("/api/inventory/{product_id}", 200),
}
OUTSIDE_THE_DOCUMENT: Final = frozenset(
    {"/livez", "/readyz", "/metrics", "/openapi.json", "/docs", "/problems/{code}"}
)
"""Open to everybody; a token is not looked at."""
STREAMED: Final = "streamOrderEvents"
DOCUMENT: Final = json.loads(openapi())
OPERATIONS: Final[Mapping[str, tuple[str, str]]] = {
    operation["operationId"]: (method.upper(), path)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
}


@pytest.fixture(scope="module")
async def scene(gate: Front) -> Scene:
    account = {"name": "Owner", "email": f"owner-{uuid4().hex}@example.com", "password": PASSWORD}
    owner = UserId((await gate.http.post("/auth/register", json=account)).json()["user_id"])
    tokens = (
        await gate.http.post("/auth/login", json={"email": account["email"], "password": PASSWORD})
    ).json()
    owners = {"Authorization": f"Bearer {tokens['access_token']}"}
    order = await gate.order(owners)
    card = await gate.http.post(
        "/api/payment-methods", json={"kind": "card", "token": "tok_approve"}, headers=owners
    )
    product_id = await gate.product()
    operator = await gate.bearer("operator")
    await gate.http.put(f"/api/inventory/{product_id}", json={"on_hand": 10}, headers=operator)
    return Scene(
        gate=gate,
        owner=owner,
        owners=owners,
        order_id=order.json()["order_id"],
        method_id=card.json()["id"],
        product_id=product_id,
        email=account["email"],
    )


async def ask(scene: Scene, operation: str, who: Headers) -> tuple[int, str]:
    """The status and the problem's code that a visitor gets."""
    method, path = OPERATIONS[operation]
    row = ROWS[operation]
    assert path == row.path, "the row is about another route"
    url = path.format(order_id=scene.order_id, method_id=scene.method_id, product_id=scene.product_id)
    body = None if row.body is None else row.body(scene)
    if isawaitable(body):
        body = await body
    if operation == STREAMED:
        answer = await stream_begun(scene.gate.app, url, who)
    else:
        answer = await scene.gate.http.request(method, url, json=body, headers={**who, **row.headers()})
    if answer.is_success:
        return answer.status_code, ""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return answer.status_code, answer.json()["code"]


async def stream_begun(app: ASGIApp, path: str, who: Headers) -> httpx.Response:
    """The answer up to its first chunk, from a client that then goes away; a stream that is granted has no end."""
    messages: list[Message] = []
    first = asyncio.Event()

    async def receive() -> Message:
        await first.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        messages.append(message)
        if message["type"] == "http.response.body":
            first.set()

    headers = [(name.lower().encode(), value.encode()) for name, value in who.items()]
    scope: dict[str, Any] = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "root_path": "",
    }
    scope |= {"path": path, "raw_path": path.encode(), "query_string": b"", "headers": headers}
    scope |= {"client": ("127.0.0.1", 1), "server": ("gateway", 80), "state": {}}
    async with asyncio.timeout(20):
        await app(scope, receive, send)
    start, *body = messages
    return httpx.Response(
        start["status"],
        headers=[(name.decode(), value.decode()) for name, value in start["headers"]],
        content=b"".join(part.get("body", b"") for part in body),
    )


def framework(app: object) -> FastAPI:
    """The application below its layers."""
    while not isinstance(app, FastAPI):
        app = app._app  # type: ignore[attr-defined]
    return app


def test_every_route_has_a_row() -> None:
    assert set(OPERATIONS) == set(ROWS)


def test_every_path_is_in_the_document_or_open_to_all(gate: Front) -> None:
    served = {context.path for context in iter_route_contexts(framework(gate.app).routes)}
    assert served == set(DOCUMENT["paths"]) | OUTSIDE_THE_DOCUMENT


@pytest.mark.parametrize("path", sorted(OUTSIDE_THE_DOCUMENT))
async def test_what_is_outside_the_document_looks_at_no_token(gate: Front, path: str) -> None:
    url = path.format(code="not_found")
    tokens = ["no token at all", await gate.token(), await gate.token("operator")]
    answers = [
        await gate.http.get(url, headers={"Authorization": f"Bearer {token}"} if token else {})
        for token in ("", *tokens)
    ]
    assert {answer.status_code for answer in answers} == {200}


def test_the_document_says_who_needs_a_token() -> None:
    for operation, (method, path) in OPERATIONS.items():
        described = DOCUMENT["paths"][path][method.lower()]
        row = ROWS[operation]
        assert bool(described["security"]) == (row.anonymous == 401) == (operation not in FOR_EVERYBODY)
        assert ("401" in described["responses"]) >= (row.anonymous == 401)
        assert ("403" in described["responses"]) == (row.owner == 403) == (operation in BY_OPERATORS)
        statuses = {status for status in (row.owner, row.other, row.operator, row.anonymous) if status}
        assert {str(status) for status in statuses} <= set(described["responses"]), operation


@pytest.mark.parametrize("operation", sorted(ROWS))
async def test_the_owner(scene: Scene, operation: str) -> None:
    status, _ = await ask(scene, operation, scene.owners)
    assert status == ROWS[operation].owner


@pytest.mark.parametrize("role", ["customer", "operator", "admin"])
async def test_a_stream_is_granted_to_the_owner_whatever_the_role(gate: Front, role: str) -> None:
    who = await gate.bearer(role)
    order = (await gate.order(who)).json()
    answer = await stream_begun(gate.app, order["links"]["events"], who)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text.startswith("retry: ")


@pytest.mark.parametrize("operation", sorted(ROWS))
async def test_anonymous(scene: Scene, operation: str) -> None:
    status, code = await ask(scene, operation, {})
    assert status == ROWS[operation].anonymous
    assert code == ("token_missing" if status == 401 else "")


@pytest.mark.parametrize("operation", sorted(ROWS))
async def test_another_customer(scene: Scene, operation: str) -> None:
    status, _ = await ask(scene, operation, await scene.gate.bearer())
    assert status == ROWS[operation].other


@pytest.mark.parametrize("role", ["operator", "admin"])
@pytest.mark.parametrize("operation", sorted(ROWS))
async def test_operators_and_admins(scene: Scene, operation: str, role: str) -> None:
    status, _ = await ask(scene, operation, await scene.gate.bearer(role))
    assert status == ROWS[operation].operator


@pytest.mark.parametrize("operation", sorted(BY_OPERATORS))
@pytest.mark.parametrize("role", ["service", "Operator", "superuser", ""])
async def test_other_roles_are_no_operators(scene: Scene, operation: str, role: str) -> None:
    assert await ask(scene, operation, await scene.gate.bearer(role)) == (403, "role_required")


async def smith(gate: Front, user_id: UserId) -> Smith:
    """Forges with the gateway's own key."""
    signing = await SigningKeys(gate.runtime.database, gate.settings.secret).current()
    return Smith(signing.key, str(user_id))


@pytest.mark.parametrize("operation", sorted(ROWS))
async def test_an_expired_token_and_every_forgery(scene: Scene, operation: str) -> None:
    forger = await smith(scene.gate, scene.owner)
    long_ago = int(datetime.now(UTC).timestamp()) - 3_600
    tokens = forgeries(forger) | {"expired": forger.signed({}, {"iat": long_ago, "exp": long_ago + 600})}
    assert len(tokens) >= 61
    open_to_all = ROWS[operation].anonymous != 401
    for what, token in sorted(tokens.items()) if not open_to_all else [("expired", tokens["expired"])]:
        status, code = await ask(scene, operation, {"Authorization": f"Bearer {token}"})
        if open_to_all:
            assert status == ROWS[operation].anonymous, "a token is not looked at where none is needed"
        else:
            assert (status, code) == (401, "token_invalid"), what


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "Basic YTpi",
        "Token {token}",
        "{token}",
        "Bearer  {token}",
        "Bearer {token} x",
        "bearer{token}",
    ],
)
async def test_only_a_bearer_token_counts(scene: Scene, header: str) -> None:
    token = scene.owners["Authorization"].removeprefix("Bearer ")
    status, _ = await ask(scene, "listOrders", {"Authorization": header.format(token=token)})
    assert status == 401


async def test_the_scheme_may_be_written_in_any_case(scene: Scene) -> None:
    token = scene.owners["Authorization"].removeprefix("Bearer ")
    for scheme in ("bearer", "BEARER", "BeArEr"):
        assert (await ask(scene, "listOrders", {"Authorization": f"{scheme} {token}"}))[0] == 200


async def test_two_tokens_are_none(scene: Scene) -> None:
    theirs = await scene.gate.bearer()
    both = [("Authorization", scene.owners["Authorization"]), ("Authorization", theirs["Authorization"])]
    assert (await scene.gate.http.get("/api/orders", headers=both)).status_code == 401


async def test_a_refused_request_says_how_to_sign_in(scene: Scene) -> None:
    answer = await scene.gate.http.get("/api/orders")
    assert answer.headers["www-authenticate"].startswith("Bearer ")
    answer = await scene.gate.http.get("/api/orders", headers={"Authorization": "Bearer nonsense"})
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    answer = await scene.gate.http.get(f"/api/inventory/{uuid4()}", headers=scene.owners)
    assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]


async def test_a_list_shows_ones_own_and_nobody_elses(scene: Scene) -> None:
    other = a_user_id()
    theirs = await scene.gate.bearer(user_id=other)
    their_order = (await scene.gate.order(theirs)).json()["order_id"]
    for who, mine, not_mine in (
        (scene.owners, scene.order_id, their_order),
        (theirs, their_order, scene.order_id),
    ):
        listed = (await scene.gate.http.get("/api/orders", headers=who)).json()["items"]
        ids = {one["order_id"] for one in listed}
        assert mine in ids
        assert not_mine not in ids
