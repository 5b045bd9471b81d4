"""The simulated provider's contract, over its real HTTP server where a connection has to be held."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from devstack.card_provider import create_app
from devstack.charges import Charges, Request, Settings
from tests.support.waiting import eventually


class Clock:
    """Time that a test moves by hand."""

    def __init__(self) -> None:
        self.seconds = 1_000_000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def books(tmp_path: Path, clock: Clock) -> Iterator[Charges]:
    opened = Charges(tmp_path / "charges.sqlite", clock)
    yield opened
    opened.close()


@pytest.fixture
async def provider(books: Charges) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_app(books))
    async with httpx.AsyncClient(transport=transport, base_url="http://provider") as client:
        yield client


async def _charge(provider: httpx.AsyncClient, key: str, token: str, minor: int = 500) -> httpx.Response:
    amount = {"amount_minor": minor, "currency": "EUR"}
    return await provider.post("/charges", json={"idempotency_key": key, "amount": amount, "token": token})


async def _status(provider: httpx.AsyncClient, key: str) -> object:
    return (await provider.get(f"/charges/{key}")).json()["status"]


async def _status_becomes(provider: httpx.AsyncClient, status: str) -> None:
    async def is_it() -> bool:
        return await _status(provider, "k") == status

    await eventually(is_it, what=f"charge {status}")


async def _totals(provider: httpx.AsyncClient) -> tuple[int, int]:
    totals = (await provider.get("/admin/totals")).json()
    return totals["captured_minor"], totals["refunded_minor"]


async def test_an_approved_charge_is_captured_once_however_often_it_is_asked_for(
    provider: httpx.AsyncClient,
) -> None:
    first, second = await _charge(provider, "k", "tok_approve"), await _charge(provider, "k", "tok_approve")
    assert first.json()["status"] == "captured"
    assert first.json() == second.json()
    assert await _totals(provider) == (500, 0)


@pytest.mark.parametrize(("token", "reason"), [("tok_refuse", "card_declined"), ("tok_x", "unknown_token")])
async def test_a_refused_charge_says_why_and_stays_refused(
    provider: httpx.AsyncClient, token: str, reason: str
) -> None:
    for _ in range(2):
        answer = (await _charge(provider, "k", token)).json()
        assert (answer["status"], answer["reason"]) == ("refused", reason)
    assert await _status(provider, "k") == "refused"
    assert await _totals(provider) == (0, 0)


async def test_a_key_is_not_used_for_another_amount(provider: httpx.AsyncClient) -> None:
    await _charge(provider, "k", "tok_approve", 500)
    assert (await _charge(provider, "k", "tok_approve", 600)).status_code == 422
    assert await _totals(provider) == (500, 0)


async def test_voiding_an_unseen_key_burns_it(provider: httpx.AsyncClient) -> None:
    assert await _status(provider, "k") == "not_found"
    assert (await provider.post("/charges/k/void")).json()["status"] == "voided"
    for token in ("tok_approve", "tok_silent", "tok_captured_silent", "tok_late"):
        assert (await _charge(provider, "k", token)).json()["status"] == "voided"
    assert await _totals(provider) == (0, 0)


async def test_voiding_a_captured_charge_gives_the_money_back_once(provider: httpx.AsyncClient) -> None:
    await _charge(provider, "k", "tok_approve")
    for _ in range(2):
        assert (await provider.post("/charges/k/void")).json()["status"] == "voided"
    assert (await provider.post("/charges/k/refund")).json()["status"] == "refunded"
    assert await _totals(provider) == (500, 500)


async def test_refunding_gives_the_money_back_once(provider: httpx.AsyncClient) -> None:
    await _charge(provider, "k", "tok_approve")
    for _ in range(2):
        assert (await provider.post("/charges/k/refund")).json()["status"] == "refunded"
    assert (await provider.post("/charges/k/void")).json()["status"] == "refunded"
    assert await _status(provider, "k") == "refunded"
    assert (await _charge(provider, "k", "tok_approve")).json()["status"] == "voided"
    assert await _totals(provider) == (500, 500)


async def test_what_was_not_captured_is_not_refunded(provider: httpx.AsyncClient) -> None:
    await _charge(provider, "refused", "tok_refuse")
    for key in ("refused", "unseen"):
        answer = await provider.post(f"/charges/{key}/refund")
        assert (answer.status_code, answer.json()["reason"]) == (409, "nothing_captured")


async def test_told_so_it_refuses_to_give_money_back(provider: httpx.AsyncClient) -> None:
    await _charge(provider, "k", "tok_approve")
    await provider.put("/admin/settings", json={"refuse_refunds": True})
    for action in ("refund", "void"):
        answer = await provider.post(f"/charges/k/{action}")
        assert (answer.status_code, answer.json()) == (
            409,
            {"status": "refused", "reason": "refunds_refused"},
        )
    assert await _totals(provider) == (500, 0)
    await provider.put("/admin/settings", json={"refuse_refunds": False})
    assert (await provider.post("/charges/k/refund")).status_code == 200


async def test_a_late_charge_is_pending_until_its_time(
    provider: httpx.AsyncClient, books: Charges, clock: Clock
) -> None:
    await provider.put("/admin/settings", json={"late_seconds": 20})
    asked = asyncio.create_task(_charge(provider, "k", "tok_late"))
    await _status_becomes(provider, "pending")
    asked.cancel()
    clock.seconds += 20
    assert await _status(provider, "k") == "captured"
    assert (await _charge(provider, "k", "tok_late")).json()["status"] == "captured"


async def test_a_late_charge_that_was_voided_in_time_captures_nothing(
    provider: httpx.AsyncClient, clock: Clock
) -> None:
    await provider.put("/admin/settings", json={"late_seconds": 0.05})
    async with asyncio.TaskGroup() as group:
        asked = group.create_task(_charge(provider, "k", "tok_late"))
        await _status_becomes(provider, "pending")
        await provider.post("/charges/k/void")
    assert asked.result().json()["status"] == "voided"
    clock.seconds += 60
    assert await _status(provider, "k") == "voided"
    assert await _totals(provider) == (0, 0)


@pytest.mark.parametrize(
    ("token", "status"), [("tok_silent", "not_found"), ("tok_captured_silent", "captured")]
)
async def test_a_silent_charge_is_never_answered(books: Charges, token: str, status: str) -> None:
    sent: list[object] = []
    held, leave = asyncio.Event(), asyncio.Event()
    body = (
        b'{"idempotency_key": "k", "amount": {"amount_minor": 5, "currency": "EUR"}, "token": "%s"}'
        % token.encode()
    )
    first = True

    async def receive() -> dict[str, object]:
        nonlocal first
        if first:
            first = False
            return {"type": "http.request", "body": body, "more_body": False}
        held.set()
        await leave.wait()
        return {"type": "http.disconnect"}

    async def send(message: object) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "path": "/charges",
        "raw_path": b"/charges",
        "query_string": b"",
        "headers": [(b"content-type", b"application/json")],
    }
    app = create_app(books)
    waiting = asyncio.create_task(app(scope, receive, send))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://provider") as other:
        await asyncio.wait_for(held.wait(), 5)
        assert await _status(other, "k") == status
    assert not waiting.done()
    assert sent == []
    leave.set()
    await waiting


async def test_the_books_survive_a_restart(tmp_path: Path, clock: Clock) -> None:
    file = tmp_path / "charges.sqlite"
    before = Charges(file, clock)
    before.set(Settings(late_seconds=3, refuse_refunds=True))
    before.charge(Request("done", 500, "EUR", "tok_approve"))
    before.charge(Request("under way", 700, "EUR", "tok_late"))
    before.close()
    clock.seconds += 3

    after = Charges(file, clock)
    assert after.settings() == Settings(late_seconds=3, refuse_refunds=True)
    assert {key: (charge.status, charge.captured_minor) for key, charge in after.everything().items()} == {
        "done": ("captured", 500),
        "under way": ("captured", 700),
    }
    after.close()
