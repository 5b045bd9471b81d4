"""What every request passes through: rates, time, headers, addresses behind proxies, load shedding."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import pytest
from starlette.types import Receive, Scope, Send

from gateway.api.limits import TokenBuckets
from tests.gateway.front import Front, Shops, front

SECURE: Final = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
}


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_holds_its_burst_and_fills_by_its_rate() -> None:
    clock = Clock()
    buckets = TokenBuckets(rate=2, burst=3, clock=clock)
    assert [buckets.take("a").granted for _ in range(4)] == [True, True, True, False]
    assert buckets.take("b").granted, "each has a bucket of its own"
    clock.now = 0.5
    assert [buckets.take("a").granted for _ in range(2)] == [True, False]
    clock.now = 100
    assert [buckets.take("a").granted for _ in range(4)] == [True, True, True, False]


def test_a_bucket_says_how_it_stands() -> None:
    clock = Clock()
    buckets = TokenBuckets(rate=2, burst=4, clock=clock)
    assert buckets.policy == "q=4;w=2"
    first = buckets.take("a")
    assert (first.left, first.full_in) == (3, 1)
    *_, last = (buckets.take("a") for _ in range(3))
    assert (last.left, last.full_in) == (0, 2)
    refused = buckets.take("a")
    assert (refused.granted, refused.next_in) == (False, 1)


@pytest.mark.integration
async def test_a_user_has_so_many_requests(over: Shops) -> None:
    async with front(over, rate_limits=True, user_requests_per_second=0.5, user_burst=3) as gate:
        mine = await gate.bearer()
        answers = [await gate.http.get("/api/orders", headers=mine) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert answers[0].headers["ratelimit-policy"] == '"user";q=3;w=6'
        assert answers[0].headers["ratelimit"] == '"user";r=2;t=2'
        assert answers[3].json()["code"] == "too_many_requests"
        assert int(answers[3].headers["retry-after"]) in {1, 2}
        assert answers[3].headers["ratelimit"].startswith('"user";r=0;')
        assert (await gate.http.get("/api/orders", headers=await gate.bearer())).status_code == 200
        assert (await gate.http.get("/livez")).status_code == 200


@pytest.mark.integration
async def test_an_address_has_so_many_requests_whoever_asks(over: Shops) -> None:
    async with front(over, rate_limits=True, address_requests_per_second=0.1, address_burst=3) as gate:
        asked: list[Mapping[str, str]] = [{}, await gate.bearer(), {"Authorization": "Bearer nonsense"}, {}]
        answers = [await gate.http.get("/api/categories", headers=who) for who in asked]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert answers[3].headers["ratelimit-policy"] == '"address";q=3;w=30'


@pytest.mark.integration
async def test_an_address_behind_a_proxy_is_told_by_our_proxy_alone(over: Shops) -> None:
    limits: dict[str, Any] = {"rate_limits": True, "address_requests_per_second": 0.1, "address_burst": 1}

    async def statuses(gate: Front, *forwarded: str) -> list[int]:
        return [
            (await gate.http.get("/api/categories", headers={"X-Forwarded-For": one})).status_code
            for one in forwarded
        ]

    async with front(over, **limits) as gate:
        assert await statuses(gate, "1.1.1.1", "2.2.2.2") == [200, 429], "no proxy of ours is known"
    async with front(over, trusted_proxies=["127.0.0.1", "10.0.0.1"], **limits) as gate:
        assert await statuses(gate, "1.1.1.1", "2.2.2.2", "9.9.9.9, 1.1.1.1", "1.1.1.1, 10.0.0.1") == [
            200,
            200,
            429,
            429,
        ]


@pytest.mark.integration
async def test_in_the_dev_profile_nobody_is_limited(gate: Front) -> None:
    mine = await gate.bearer()
    answers = [await gate.http.get("/api/wallet", headers=mine) for _ in range(20)]
    assert {answer.status_code for answer in answers} == {200}
    assert "ratelimit" not in answers[0].headers


@pytest.mark.integration
async def test_every_answer_carries_the_headers_of_a_careful_server(gate: Front) -> None:
    mine = await gate.bearer()
    for answer in (
        await gate.http.get("/api/categories"),
        await gate.http.get("/api/orders"),
        await gate.order(mine),
        await gate.http.get("/nowhere"),
        await gate.http.post("/auth/login", content=b"{", headers={"Content-Type": "application/json"}),
    ):
        assert SECURE.items() <= dict(answer.headers).items()
        assert "server" not in answer.headers
        assert "access-control-allow-origin" not in answer.headers


@pytest.mark.integration
@pytest.mark.parametrize(
    "path",
    ["/auth/profile", "/api/wallet", "/api/payment-methods", "/api/orders", "/api/my-orders", "/nowhere"],
)
async def test_no_cache_keeps_what_is_somebodys_own(gate: Front, path: str) -> None:
    answer = await gate.http.get(path, headers=await gate.bearer())
    assert answer.headers.get_list("cache-control") == ["no-store"]


@pytest.mark.integration
async def test_keys_may_be_kept_for_a_while(gate: Front) -> None:
    answer = await gate.http.get("/.well-known/jwks.json")
    assert answer.headers.get_list("cache-control") == ["public, max-age=60"]


@pytest.mark.integration
async def test_the_page_for_people_is_as_careful_and_may_have_a_style(gate: Front) -> None:
    answer = await gate.http.get("/docs")
    policy = answer.headers.get_list("content-security-policy")
    assert len(policy) == 1
    assert "style-src 'unsafe-inline'" in policy[0]
    assert "script-src" not in policy[0]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"


@pytest.mark.integration
async def test_in_production_transport_is_secured_and_docs_are_off(over: Shops) -> None:
    async with front(
        over, profile="prod", docs=None, signing_key_secret="b25seSBmb3IgdGhlIHByb2ZpbGUgY2FsbGVkIGRldiE="
    ) as gate:
        answer = await gate.http.get("/api/categories")
        assert answer.headers["strict-transport-security"].startswith("max-age=")
        for path in ("/docs", "/openapi.json", "/redoc"):
            assert (await gate.http.get(path)).status_code == 404


@pytest.mark.integration
async def test_browsers_are_let_in_by_name(over: Shops) -> None:
    async with front(over, cors_origins=["https://shop.example"]) as gate:
        preflight = {
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization, idempotency-key",
        }
        good = await gate.http.options("/api/orders", headers={"Origin": "https://shop.example", **preflight})
        assert (good.status_code, good.headers["access-control-allow-origin"]) == (
            200,
            "https://shop.example",
        )
        bad = await gate.http.options("/api/orders", headers={"Origin": "https://evil.example", **preflight})
        assert "access-control-allow-origin" not in bad.headers
        answer = await gate.http.get("/api/categories", headers={"Origin": "https://shop.example"})
        assert answer.headers["access-control-allow-origin"] == "https://shop.example"
        exposed = answer.headers["access-control-expose-headers"]
        assert {"Idempotency-Replayed", "RateLimit", "Link"} <= set(exposed.split(", "))


async def silent(scope: Scope, receive: Receive, send: Send) -> None:
    """A service that never answers."""
    await asyncio.Event().wait()


async def broken(scope: Scope, receive: Receive, send: Send) -> None:
    """A service whose every answer is an error of its own."""
    await send({"type": "http.response.start", "status": 500, "headers": []})
    await send({"type": "http.response.body", "body": b"<html>oops"})


async def confused(scope: Scope, receive: Receive, send: Send) -> None:
    """A service that answers with something else than JSON."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"<html>oops"})


@pytest.mark.integration
@pytest.mark.parametrize("service", [broken, confused])
async def test_a_service_that_fails_is_unavailable(over: Shops, service: Any) -> None:
    async with front(over, behind={"product": service}) as gate:
        answer = await gate.http.get("/api/products")
        assert (answer.status_code, answer.json()["code"]) == (503, "upstream_unavailable")
        assert "product" in answer.json()["detail"]
        assert "oops" not in answer.text
        assert answer.headers["retry-after"] == "1"


@pytest.mark.integration
async def test_an_answer_that_takes_too_long_is_given_up(over: Shops) -> None:
    async with front(over, behind={"product": silent}, request_seconds=0.2) as gate:
        answer = await gate.http.get("/api/products")
        assert (answer.status_code, answer.json()["code"]) == (503, "timeout")


@pytest.mark.integration
async def test_a_body_that_never_ends_is_given_up(over: Shops) -> None:
    async with front(over, request_seconds=0.2) as gate:
        mine = await gate.bearer()

        async def drip() -> Any:
            yield b'{"payment_method_id":'
            await asyncio.Event().wait()

        headers = {**mine, "Content-Type": "application/json", "Idempotency-Key": "slow"}
        answer = await gate.http.post("/api/orders", content=drip(), headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (503, "timeout")


@pytest.mark.integration
async def test_orders_are_shed_only_far_behind_and_taken_again_after(over: Shops) -> None:
    async with front(over, shed_outbox_age_seconds=60, shed_look_seconds=0.000001) as gate:
        mine = await gate.bearer()
        await over.of["gateway"].rows("DELETE FROM outbox")
        first = await gate.order(mine)
        assert first.status_code == 202
        await over.of["gateway"].rows("UPDATE outbox SET created_at = created_at - interval '2 minutes'")
        assert (await gate.order(mine)).status_code == 202, "which looks, and sees how far behind it is"
        answer = await gate.order(mine)
        assert (answer.status_code, answer.json()["code"]) == (503, "overloaded")
        assert int(answer.headers["retry-after"]) > 1
        assert (await gate.http.get(first.headers["location"], headers=mine)).status_code == 200
        await over.of["gateway"].rows("DELETE FROM outbox")
        assert (await gate.order(mine)).status_code == 202


@pytest.mark.integration
async def test_metrics_tell_how_orders_were_answered(over: Shops) -> None:
    async with front(over) as gate:
        mine = await gate.bearer()
        await gate.order(mine, key="once")
        await gate.order(mine, key="once")
        text = (await gate.http.get("/metrics")).text
        assert 'gateway_orders_total{answer="Accepted"} 1.0' in text
        assert 'gateway_orders_total{answer="Reused"} 1.0' in text
        assert "gateway_groups_total 2.0" in text
