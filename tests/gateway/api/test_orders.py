"""POST /api/orders and cancellations: once for each key, durable when answered, refused before anything is stored."""

import asyncio
from collections import Counter
from uuid import UUID, uuid4

import pytest

from tests.gateway.front import Front, Shops, an_order, front
from tests.support.builders import a_trace_parent, a_user_id
from tests.support.waiting import eventually

pytestmark = pytest.mark.integration


async def test_an_accepted_order_is_one_key_one_intent_and_one_message(gate: Front) -> None:
    user_id = a_user_id()
    parent = a_trace_parent()
    answer = await gate.order(await gate.bearer(user_id=user_id), headers={"traceparent": parent})
    assert answer.status_code == 202
    order_id = answer.json()["order_id"]
    here = f"/api/orders/{order_id}"
    assert answer.json() == {
        "order_id": order_id,
        "status": "pending",
        "links": {"self": here, "events": f"{here}/events", "cancel": f"{here}/cancel"},
    }
    assert answer.headers["location"] == here
    assert answer.headers["retry-after"] == "1"
    assert "idempotency-replayed" not in answer.headers
    assert UUID(order_id).version == 7
    keys = await gate.database.rows("SELECT order_id FROM idempotency_keys WHERE user_id = %s", user_id)
    intents = await gate.database.rows(
        "SELECT order_id, kind, message_id FROM order_intents WHERE user_id = %s", user_id
    )
    assert [str(one) for (one,) in keys] == [order_id]
    assert [(str(one), kind) for one, kind, _ in intents] == [(order_id, "create")]
    ((message_id, topic, kind, headers),) = await gate.database.rows(
        "SELECT message_id, topic, type, headers FROM outbox WHERE key = %s", order_id
    )
    assert message_id == intents[0][2]
    assert (topic, kind) == ("order-saga-commands", "order_saga.SagaCreateOrder.v1")
    assert headers["saga_id"] == order_id, "the saga that creates an order has the order's id"
    assert headers["traceparent"] == parent


async def test_the_same_request_again_gets_the_stored_answer(gate: Front) -> None:
    mine, body, key = await gate.bearer(), an_order(lines=2), uuid4().hex
    first = await gate.http.post("/api/orders", json=body, headers={**mine, "Idempotency-Key": key})
    for same in (key, f'"{key}"'):
        again = await gate.http.post("/api/orders", json=body, headers={**mine, "Idempotency-Key": same})
        assert again.status_code == 202
        assert again.json() == first.json()
        assert again.headers["idempotency-replayed"] == "true"
        assert again.headers["location"] == first.headers["location"]


async def test_a_key_with_another_body_is_refused(gate: Front) -> None:
    mine, body, key = await gate.bearer(), an_order(lines=2), uuid4().hex
    headers = {**mine, "Idempotency-Key": key}
    await gate.http.post("/api/orders", json=body, headers=headers)
    others = [
        an_order(lines=2),
        {**body, "payment_method_id": str(uuid4())},
        {**body, "lines": body["lines"][::-1]},
        {**body, "lines": [{**body["lines"][0], "quantity": 2}, body["lines"][1]]},
    ]
    for other in others:
        answer = await gate.http.post("/api/orders", json=other, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")


async def test_a_key_is_its_users_own(gate: Front) -> None:
    key, body = uuid4().hex, an_order()
    ids = set()
    for _ in range(2):
        headers = {**await gate.bearer(), "Idempotency-Key": key}
        answer = await gate.http.post("/api/orders", json=body, headers=headers)
        assert answer.status_code == 202
        ids.add(answer.json()["order_id"])
    assert len(ids) == 2


async def test_a_key_is_free_again_after_a_day(gate: Front) -> None:
    user_id, key = a_user_id(), uuid4().hex
    mine = await gate.bearer(user_id=user_id)
    body = an_order()
    first = await gate.order(mine, body, key=key)
    await gate.database.rows(
        "UPDATE idempotency_keys SET created_at = created_at - interval '24 hours 1 second' WHERE user_id = %s",
        user_id,
    )
    second = await gate.order(mine, body, key=key)
    assert second.status_code == 202
    assert second.json()["order_id"] != first.json()["order_id"]
    assert "idempotency-replayed" not in second.headers


async def test_a_refused_request_does_not_use_its_key_up(gate: Front) -> None:
    mine, key = await gate.bearer(), uuid4().hex
    assert (await gate.order(mine, an_order(quantity=0), key=key)).status_code == 422
    assert (await gate.order(mine, an_order(quantity=1), key=key)).status_code == 202


async def test_500_keys_sent_ten_times_at_once_make_500_orders(gate: Front) -> None:
    user_id = a_user_id()
    mine = await gate.bearer(user_id=user_id)
    bodies = {uuid4().hex: an_order() for _ in range(500)}

    async def send(key: str) -> tuple[str, int, str | None]:
        answer = await gate.http.post(
            "/api/orders", json=bodies[key], headers={**mine, "Idempotency-Key": key}
        )
        return key, answer.status_code, answer.json().get("order_id")

    answers = await asyncio.gather(*(send(key) for key in list(bodies) * 10))
    assert {status for _, status, _ in answers} <= {202, 409}
    made: dict[str, set[str]] = {}
    for key, status, order_id in answers:
        if status == 202:
            made.setdefault(key, set()).add(str(order_id))
    assert len(made) == 500
    assert {len(ids) for ids in made.values()} == {1}
    for table in ("idempotency_keys", "order_intents"):
        ((count,),) = await gate.database.rows(f"SELECT count(*) FROM {table} WHERE user_id = %s", user_id)  # noqa: S608
        assert count == 500
    keys = [ids.pop() for ids in made.values()]
    ((sent,),) = await gate.database.rows("SELECT count(*) FROM outbox WHERE key = ANY(%s)", keys)
    assert sent == 500


async def test_two_gateways_on_one_database_make_one_order_for_a_key(over: Shops, gate: Front) -> None:
    async with front(over) as other:
        user_id = a_user_id()
        mine = await gate.bearer(user_id=user_id)
        bodies = {uuid4().hex: an_order() for _ in range(100)}

        async def send(to: Front, key: str) -> tuple[str, str]:
            async def ask() -> str | None:
                answer = await to.order(mine, bodies[key], key=key)
                assert answer.status_code in {202, 409}, answer.text
                found = answer.json().get("order_id")
                return None if found is None else str(found)

            return key, await eventually(ask, within=30, every=0.1)

        pairs = await asyncio.gather(
            *(send(to, key) for key in bodies for to in (gate, other)),
            *(send(to, key) for key in reversed(bodies) for to in (other, gate)),
        )
    assert len(set(pairs)) == 100
    ((count,),) = await gate.database.rows("SELECT count(*) FROM order_intents WHERE user_id = %s", user_id)
    assert count == 100


async def test_lines_of_one_product_are_merged(gate: Front) -> None:
    body = an_order()
    product_id = body["lines"][0]["product_id"]
    body["lines"] = [{"product_id": product_id, "quantity": n} for n in (400, 599, 1)]
    mine = await gate.bearer()
    headers = {**mine, "Idempotency-Key": uuid4().hex}
    answer = await gate.http.post("/api/orders", json=body, headers=headers)
    assert answer.status_code == 202
    view = (await gate.http.get(answer.headers["location"], headers=mine)).json()
    assert [(line["product_id"], line["quantity"]) for line in view["lines"]] == [(product_id, 1_000)]


async def test_an_order_is_found_at_once_by_its_owner_only(gate: Front) -> None:
    mine = await gate.bearer()
    order_id = (await gate.order(mine, an_order(lines=3))).json()["order_id"]
    found = await gate.http.get(f"/api/orders/{order_id}", headers=mine)
    assert found.status_code == 200
    view = found.json()
    assert (view["order_id"], view["status"], len(view["lines"])) == (order_id, "pending", 3)
    assert "stale" not in view
    listed = (await gate.http.get("/api/orders", headers=mine)).json()["items"]
    assert [one["order_id"] for one in listed] == [order_id]
    theirs = await gate.bearer()
    answer = await gate.http.get(f"/api/orders/{order_id}", headers=theirs)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert (await gate.http.get("/api/orders", headers=theirs)).json()["items"] == []


async def test_cancelling_is_one_message_however_often_it_is_asked(gate: Front) -> None:
    mine = await gate.bearer()
    order_id = (await gate.order(mine)).json()["order_id"]
    answers = await asyncio.gather(
        *(gate.http.post(f"/api/orders/{order_id}/cancel", headers=mine) for _ in range(5)),
        gate.http.post(f"/api/orders/{order_id}/cancel", json={"reason": "Twice"}, headers=mine),
    )
    assert Counter(answer.status_code for answer in answers) == {202: 6}
    assert {answer.json()["status"] for answer in answers} == {"cancelling"}
    sent = await gate.database.rows("SELECT type FROM outbox WHERE key = %s ORDER BY id", order_id)
    assert [kind for (kind,) in sent] == [
        "order_saga.SagaCreateOrder.v1",
        "order_saga.SagaCancelOrder.v1",
    ]
    view = (await gate.http.get(f"/api/orders/{order_id}", headers=mine)).json()
    assert view["status"] == "cancelling"


async def test_nobody_cancels_what_is_not_theirs(gate: Front) -> None:
    order_id = (await gate.order(await gate.bearer())).json()["order_id"]
    for other in (order_id, str(uuid4())):
        answer = await gate.http.post(f"/api/orders/{other}/cancel", headers=await gate.bearer())
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    ((count,),) = await gate.database.rows(
        "SELECT count(*) FROM order_intents WHERE order_id = %s AND kind = 'cancel'", order_id
    )
    assert count == 0


async def test_while_the_history_is_away_orders_are_accepted_and_shown_as_stale(over: Shops) -> None:
    async with front(over, away=["order_history"]) as gate:
        mine = await gate.bearer()
        answer = await gate.order(mine, headers={"Prefer": "wait=1"})
        assert (answer.status_code, answer.json()["status"]) == (202, "pending")
        view = (await gate.http.get(answer.headers["location"], headers=mine)).json()
        assert (view["status"], view["stale"]) == ("pending", True)
        cancelled = await gate.http.post(view["links"]["cancel"], headers=mine)
        assert cancelled.status_code == 202
        unknown = await gate.http.get(f"/api/orders/{uuid4()}", headers=mine)
        assert (unknown.status_code, unknown.json()["code"]) == (503, "upstream_unavailable")
        assert unknown.headers["retry-after"] == "1"
