"""Orders as their owners see them: history and open intents as one list, page by page, each order once."""

import time
from typing import Any
from uuid import UUID

import pytest
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from gateway.api import intents
from gateway.api.gate import open_gate
from libs.contracts.values import OrderId, UserId
from tests.gateway.front import Front, Headers, Shops, an_order, front
from tests.order_history.rows import folded
from tests.order_history.stories import Story, told
from tests.support.builders import a_user_id

pytestmark = pytest.mark.integration


async def seen(gate: Front, user_id: UserId, order_id: str, *, completed: bool = False) -> None:
    """The read model learns of an order."""
    story = Story(user_id=user_id, order_id=OrderId(UUID(order_id)))
    await folded(gate.shops.of["order_history"], story.completes() if completed else told(story.created()))


async def pages(gate: Front, who: Headers, **query: Any) -> list[list[dict[str, Any]]]:
    """Every page of a list."""
    found, token = [], None
    while True:
        asked = {name.rstrip("_"): value for name, value in query.items()}
        answer = await gate.http.get(
            "/api/orders", params=asked if token is None else asked | {"page_token": token}, headers=who
        )
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert set(body) == {"items", "next_page_token"}
        found.append(body["items"])
        token = body["next_page_token"]
        assert (token is not None) == ("link" in answer.headers)
        if token is None:
            return found
        assert len(found) < 50, "a list has an end"


def ids(found: list[list[dict[str, Any]]]) -> list[str]:
    return [order["order_id"] for page in found for order in page]


async def test_told_and_intended_orders_are_one_list(gate: Front) -> None:
    user_id = a_user_id()
    mine = await gate.bearer(user_id=user_id)
    placed = [(await gate.order(mine)).json()["order_id"] for _ in range(7)]
    for order_id in placed[:4]:
        await seen(gate, user_id, order_id)
    newest_first = placed[::-1]
    for size in (1, 2, 3, 4, 7, 20):
        found = await pages(gate, mine, page_size=size)
        assert ids(found) == newest_first, f"pages of {size}"
        assert all(len(page) <= size for page in found)


async def test_an_order_that_moves_on_between_two_pages_is_listed_once(gate: Front) -> None:
    user_id = a_user_id()
    mine = await gate.bearer(user_id=user_id)
    placed = [(await gate.order(mine)).json()["order_id"] for _ in range(4)]
    first = (await gate.http.get("/api/orders?page_size=2", headers=mine)).json()
    for order_id in placed:
        await seen(gate, user_id, order_id)
    listed, token = ids([first["items"]]), first["next_page_token"]
    while token is not None:
        answer = await gate.http.get(
            "/api/orders", params={"page_size": 2, "page_token": token}, headers=mine
        )
        listed += ids([answer.json()["items"]])
        token = answer.json()["next_page_token"]
    assert listed == placed[::-1]


async def test_filters_fit_intents_too(gate: Front) -> None:
    user_id = a_user_id()
    mine = await gate.bearer(user_id=user_id)
    body = an_order(lines=2)
    order_id = (await gate.order(mine, body)).json()["order_id"]
    created = (await gate.http.get(f"/api/orders/{order_id}", headers=mine)).json()["created_at"]
    there: list[dict[str, Any]] = [
        {},
        {"status": "pending"},
        {"product_id": body["lines"][1]["product_id"]},
        {"from": created},
        {"sort": "created_at"},
        {"sort": "-total"},
    ]
    absent: list[dict[str, Any]] = [
        {"status": "completed"},
        {"status": "cancelling"},
        {"product_id": str(a_user_id())},
        {"to": created},
        {"min_total": 0},
        {"max_total": 10**9},
    ]
    for query in there:
        assert ids(await pages(gate, mine, **query)) == [order_id], query
    for query in absent:
        assert ids(await pages(gate, mine, **query)) == [], query


async def test_filters_reach_the_read_model(gate: Front) -> None:
    user_id = a_user_id()
    mine = await gate.bearer(user_id=user_id)
    done = Story(user_id=user_id, lines=1, cents=1_000)
    short = Story(user_id=user_id, lines=1, cents=2_000)
    await folded(gate.shops.of["order_history"], [*done.completes(), *short.runs_short()])
    for query, expected in (
        ({"status": "completed"}, [done]),
        ({"status": "cancelled"}, [short]),
        ({"min_total": 1_000}, [done, short]),
        ({"max_total": 1_500}, [done]),
        ({"sort": "total"}, [done, short]),
    ):
        assert set(ids(await pages(gate, mine, **query))) == {str(one.order_id) for one in expected}, query


async def test_the_alias_is_the_same_list(gate: Front) -> None:
    mine = await gate.bearer()
    placed = [(await gate.order(mine)).json()["order_id"] for _ in range(3)]
    answer = await gate.http.get("/api/my-orders?page_size=2", headers=mine)
    assert ids([answer.json()["items"]]) == placed[:0:-1]
    assert answer.headers["link"].startswith("</api/my-orders?")
    link = answer.headers["link"].partition("<")[2].partition(">")[0]
    assert ids([(await gate.http.get(link, headers=mine)).json()["items"]]) == placed[:1]


async def test_a_page_token_is_good_for_its_own_list_only(gate: Front) -> None:
    mine, theirs = await gate.bearer(), await gate.bearer()
    for who in (mine, theirs):
        for _ in range(2):
            await gate.order(who)
    token = (await gate.http.get("/api/orders?page_size=1", headers=mine)).json()["next_page_token"]
    good = await gate.http.get("/api/orders", params={"page_token": token, "page_size": 5}, headers=mine)
    assert good.status_code == 200, "the size of a page may change"
    for who, query in (
        (theirs, {}),
        (mine, {"status": "pending"}),
        (mine, {"sort": "total"}),
        (mine, {"page_token": token[:-1] + ("A" if token[-1] != "A" else "B")}),
        (mine, {"page_token": token + "A"}),
    ):
        answer = await gate.http.get("/api/orders", params={"page_token": token} | query, headers=who)
        assert (answer.status_code, answer.json()["errors"][0]["code"]) == (422, "page_token_invalid")
    answer = await gate.http.get("/api/wallet", params={"page_token": token}, headers=mine)
    assert answer.status_code == 422, "another list's token"


async def test_a_cancellation_shows_until_the_read_model_tells_of_it(gate: Front) -> None:
    user_id = a_user_id()
    mine = await gate.bearer(user_id=user_id)
    order_id = (await gate.order(mine)).json()["order_id"]
    await seen(gate, user_id, order_id, completed=True)
    view = (await gate.http.get(f"/api/orders/{order_id}", headers=mine)).json()
    assert view["status"] == "completed"
    assert [entry["event"] for entry in view["timeline"]][-1] == "completed"
    assert (await gate.http.post(f"/api/orders/{order_id}/cancel", headers=mine)).status_code == 202
    assert (await gate.http.get(f"/api/orders/{order_id}", headers=mine)).json()["status"] == "cancelling"
    assert (await gate.http.get("/api/orders", headers=mine)).json()["items"][0]["status"] == "cancelling"


async def test_a_cancelled_order_is_not_cancelled_again(gate: Front) -> None:
    user_id = a_user_id()
    mine = await gate.bearer(user_id=user_id)
    story = Story(user_id=user_id)
    await folded(gate.shops.of["order_history"], story.runs_short())
    answer = await gate.http.post(f"/api/orders/{story.order_id}/cancel", headers=mine)
    assert (answer.status_code, answer.json()["code"]) == (409, "order_not_cancellable")
    ((count,),) = await gate.database.rows(
        "SELECT count(*) FROM order_intents WHERE order_id = %s", story.order_id
    )
    assert count == 0


async def test_prefer_wait_answers_with_the_status_reached(gate: Front) -> None:
    mine = await gate.bearer()
    answer = await gate.order(mine, headers={"Prefer": "wait=1"})
    assert (answer.status_code, answer.json()["status"]) == (202, "pending")
    assert answer.headers["preference-applied"] == "wait=1"
    answer = await gate.order(mine, headers={"Prefer": "respond-async"})
    assert "preference-applied" not in answer.headers


async def test_prefer_wait_holds_the_answer_while_the_history_is_away(over: Shops) -> None:
    async with front(over, away=["order_history"]) as gate:
        mine = await gate.bearer()
        began = time.monotonic()
        answer = await gate.order(mine, headers={"Prefer": "wait=1"})
        assert time.monotonic() - began >= 1
        assert (answer.status_code, answer.json()["status"]) == (202, "pending")


async def test_prefer_wait_learns_of_an_end_once_the_history_is_back(over: Shops) -> None:
    asked: list[str] = []

    async def comes_back(scope: Scope, receive: Receive, send: Send) -> None:
        asked.append(scope["path"])
        there = len(asked) > 2
        answer = JSONResponse({"status": "completed"} if there else {}, 200 if there else 503)
        await answer(scope, receive, send)

    async with front(over, behind={"order_history": comes_back}) as gate:
        answer = await gate.order(await gate.bearer(), headers={"Prefer": "wait=20"})
        assert (answer.status_code, answer.json()["status"]) == (202, "completed")
        assert asked == [f"/orders/{answer.json()['order_id']}"] * 3


async def all_looked_at(gate: Front) -> None:
    parts = open_gate(gate.runtime)
    place = await intents.close_seen(parts)
    while place != intents.FIRST:
        place = await intents.close_seen(parts, place)


async def test_intents_close_when_their_effect_is_there_and_not_before(gate: Front) -> None:
    user_id = a_user_id()
    mine = await gate.bearer(user_id=user_id)
    known, unknown, cancelled = [(await gate.order(mine)).json()["order_id"] for _ in range(3)]
    await gate.http.post(f"/api/orders/{cancelled}/cancel", headers=mine)
    await gate.http.post(f"/api/orders/{known}/cancel", headers=mine)
    await seen(gate, user_id, known, completed=True)
    story = Story(user_id=user_id, order_id=OrderId(UUID(cancelled)))
    await folded(gate.shops.of["order_history"], story.runs_short())
    await gate.database.rows("UPDATE order_intents SET created_at = created_at - interval '5 seconds'")
    await all_looked_at(gate)
    left = await gate.database.rows(
        "SELECT order_id, kind FROM order_intents WHERE user_id = %s ORDER BY 1, 2", user_id
    )
    assert {(str(order_id), kind) for order_id, kind in left} == {(unknown, "create"), (known, "cancel")}
    for order_id, status in ((known, "cancelling"), (unknown, "pending"), (cancelled, "cancelled")):
        view = (await gate.http.get(f"/api/orders/{order_id}", headers=mine)).json()
        assert view["status"] == status


async def test_orders_that_stand_still_are_looked_at_some_at_a_time(
    gate: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    user_id = a_user_id()
    mine = await gate.bearer(user_id=user_id)
    *unknown, last = [(await gate.order(mine)).json()["order_id"] for _ in range(7)]
    await seen(gate, user_id, last)
    await gate.database.rows("UPDATE order_intents SET created_at = created_at - interval '5 seconds'")
    monkeypatch.setattr(intents, "ASK_FOR", 2)
    monkeypatch.setattr(intents, "LOOKS_IN_VAIN", 2)
    parts = open_gate(gate.runtime)
    before = OrderId(UUID(int=UUID(unknown[0]).int - 1)), ""
    behind = await intents.close_seen(parts, before)
    assert behind[0] == UUID(unknown[3]), "two lookups of two orders each, and no effect"
    assert await intents.close_seen(parts, behind) == intents.FIRST
    left = await gate.database.rows(
        "SELECT order_id FROM order_intents WHERE user_id = %s ORDER BY 1", user_id
    )
    assert [str(order_id) for (order_id,) in left] == unknown


async def test_what_has_had_its_effect_is_closed_and_not_sent_again(gate: Front) -> None:
    user_id = a_user_id()
    mine = await gate.bearer(user_id=user_id)
    known, unknown = [(await gate.order(mine)).json()["order_id"] for _ in range(2)]
    await seen(gate, user_id, known)
    await gate.database.rows("DELETE FROM outbox WHERE key = ANY(%s)", [known, unknown])
    await gate.database.rows(
        "UPDATE order_intents SET sent_at = sent_at - interval '1 hour' WHERE user_id = %s", user_id
    )
    await intents.send_due(open_gate(gate.runtime))
    waiting = await gate.database.rows("SELECT key FROM outbox WHERE key = ANY(%s)", [known, unknown])
    assert waiting == [(unknown,)]
    left = await gate.database.rows("SELECT order_id FROM order_intents WHERE user_id = %s", user_id)
    assert [str(order_id) for (order_id,) in left] == [unknown]


async def test_a_cancellation_that_was_refused_is_not_asked_for_for_ever(gate: Front) -> None:
    user_id = a_user_id()
    mine = await gate.bearer(user_id=user_id)
    order_id = (await gate.order(mine)).json()["order_id"]
    await seen(gate, user_id, order_id, completed=True)
    await gate.http.post(f"/api/orders/{order_id}/cancel", headers=mine)

    async def after(days: float) -> list[str]:
        await gate.database.rows(
            "UPDATE order_intents SET created_at = clock_timestamp() - make_interval(secs => %s) WHERE user_id = %s",
            days * 86_400,
            user_id,
        )
        await all_looked_at(gate)
        left = await gate.database.rows("SELECT kind FROM order_intents WHERE user_id = %s", user_id)
        return [kind for (kind,) in left]

    assert await after(6.9) == ["cancel"]
    assert await after(7.1) == []
    assert (await gate.http.get(f"/api/orders/{order_id}", headers=mine)).json()["status"] == "completed"


async def test_an_intent_without_effect_is_sent_again_with_the_same_id_less_and_less_often(
    gate: Front,
) -> None:
    user_id = a_user_id()
    mine = await gate.bearer(user_id=user_id)
    order_id = (await gate.order(mine)).json()["order_id"]
    parts = open_gate(gate.runtime)
    ((message_id,),) = await gate.database.rows("SELECT message_id FROM outbox WHERE key = %s", order_id)

    async def pass_by(seconds: float) -> list[UUID]:
        """Time passes, and what is due is sent; the messages that then wait in the outbox."""
        await gate.database.rows(
            "UPDATE order_intents SET sent_at = sent_at - make_interval(secs => %s) WHERE user_id = %s",
            seconds,
            user_id,
        )
        await intents.send_due(parts)
        return [
            one
            for (one,) in await gate.database.rows("SELECT message_id FROM outbox WHERE key = %s", order_id)
        ]

    async def relayed() -> None:
        await gate.database.rows("DELETE FROM outbox WHERE key = %s", order_id)

    assert await pass_by(600) == [message_id], "it still waits in the outbox, so it is not sent again"
    await relayed()
    assert await pass_by(0) == [message_id]
    await relayed()
    assert await pass_by(61) == [], "the second time is after two minutes"
    assert await pass_by(60) == [message_id]
    await relayed()
    assert await pass_by(239) == []
    assert await pass_by(2) == [message_id]
    await gate.database.rows("UPDATE order_intents SET sends = 30 WHERE user_id = %s", user_id)
    await relayed()
    assert await pass_by(899) == []
    assert await pass_by(2) == [message_id], "but at least every quarter of an hour"
    body = await gate.database.row("SELECT payload FROM outbox WHERE key = %s", order_id)
    assert order_id.encode() in bytes(body[0])
