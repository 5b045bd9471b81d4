"""What the adapter makes of the provider's answers, and of none."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import get_args

import httpx
import pytest

from libs.contracts.values import OrderId
from payment.card_http import CardOverHttp
from payment.provider import Ask, Outcome
from tests.support.builders import an_order_id, euros

Handler = Callable[[httpx.Request], Coroutine[None, None, httpx.Response]]


async def ask(ask: Ask, handler: Handler, order_id: OrderId | None = None) -> Outcome:
    """The outcome of one call that the handler answers."""
    order_id = order_id or an_order_id()
    async with httpx.AsyncClient(
        transport=httpx.MockTransport(handler), base_url="http://provider"
    ) as client:
        card = CardOverHttp(client, timeout_seconds=0.05)
        match ask:
            case "charge":
                return await card.charge(order_id, euros(5), "tok_approve")
            case "query":
                return await card.query(order_id)
            case "void":
                return await card.void(order_id)
            case "refund":
                return await card.refund(order_id)


def answering(status: int, body: object) -> Handler:
    async def handler(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(status, json=body)

    return handler


async def test_requests_are_as_the_contract_says() -> None:
    order_id = an_order_id()
    seen = []

    async def handler(request: httpx.Request) -> httpx.Response:
        seen.append((request.method, request.url.path, request.content.decode()))
        return httpx.Response(200, json={"status": "voided"})

    for one in get_args(Ask):
        await ask(one, handler, order_id)
    body = f'{{"idempotency_key":"{order_id}","amount":{{"amount_minor":5,"currency":"EUR"}},"token":"tok_approve"}}'
    assert seen == [
        ("POST", "/charges", body),
        ("GET", f"/charges/{order_id}", ""),
        ("POST", f"/charges/{order_id}/void", ""),
        ("POST", f"/charges/{order_id}/refund", ""),
    ]


@pytest.mark.parametrize(
    ("asked", "status", "verdict"),
    [
        ("charge", "captured", "captured"),
        ("charge", "refused", "refused"),
        ("charge", "voided", "voided"),
        ("charge", "not_found", "unknown"),
        ("query", "captured", "captured"),
        ("query", "refused", "refused"),
        ("query", "voided", "voided"),
        ("query", "refunded", "refunded"),
        ("query", "pending", "pending"),
        ("query", "not_found", "not_found"),
        ("query", "brand_new", "unknown"),
        ("void", "voided", "voided"),
        ("void", "refunded", "refunded"),
        ("void", "captured", "unknown"),
        ("refund", "refunded", "refunded"),
        ("refund", "refused", "unknown"),
    ],
)
async def test_an_answer_counts_where_it_fits_the_question(asked: Ask, status: str, verdict: str) -> None:
    outcome = await ask(asked, answering(200, {"status": status, "reference": "ch_1", "new": 1}))
    assert outcome.verdict == verdict
    assert outcome.reference == (None if verdict == "unknown" else "ch_1")


@pytest.mark.parametrize(
    ("asked", "verdict"), [("void", "denied"), ("refund", "denied"), ("charge", "unknown")]
)
async def test_a_conflict_is_a_denial_of_an_undo(asked: Ask, verdict: str) -> None:
    outcome = await ask(asked, answering(409, {"status": "refused", "reason": "refunds_refused"}))
    assert outcome.verdict == verdict
    assert outcome.reason is not None
    assert outcome.reason.endswith("refunds_refused")


@pytest.mark.parametrize("status", [201, 302, 400, 401, 404, 422, 429, 500, 503])
async def test_any_other_status_tells_nothing(status: int) -> None:
    outcome = await ask("charge", answering(status, {"status": "captured", "reference": "ch_1"}))
    assert outcome == Outcome("unknown", reason=f"HTTP {status}: captured")


@pytest.mark.parametrize(
    "content", [b"", b"captured", b"[]", b'{"status": 1}', b'{"reference": "ch_1"}', b"\xff"]
)
async def test_what_cannot_be_read_tells_nothing(content: bytes) -> None:
    async def handler(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=content)

    outcome = await ask("charge", handler)
    assert outcome == Outcome("unknown", reason="HTTP 200 without a readable answer")


async def test_words_are_kept_so_that_they_can_be_stored() -> None:
    body = {"status": "captured", "reference": "ch\u0000_1" + "x" * 300, "reason": "a\u202eb"}
    outcome = await ask("charge", answering(200, body))
    assert outcome == Outcome("captured", "ch_1" + "x" * 251, "ab")


async def test_a_provider_that_does_not_answer_in_time_tells_nothing() -> None:
    async def handler(_request: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError

    assert await ask("charge", handler) == Outcome("unknown", reason="no answer within 0.05 s")


async def test_a_provider_that_is_away_tells_nothing() -> None:
    async def handler(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    assert await ask("query", handler) == Outcome("unknown", reason="ConnectError: refused", reached=False)
