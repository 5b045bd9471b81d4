"""Tries the operator's routes on the real database."""

from collections.abc import AsyncIterator, Awaitable, Callable
from uuid import uuid4

import httpx
import pytest

from libs.service.auth import CUSTOMER
from order_saga import store
from order_saga.app import service
from tests.order_saga.answers import good_answers
from tests.order_saga.desks import Office
from tests.support.api import as_operator, asked, bearer
from tests.support.databases import Database
from tests.support.store import a_transaction

pytestmark = pytest.mark.integration

SENT = "SELECT headers ->> 'step', headers ->> 'attempt' FROM outbox ORDER BY id"


class Console:
    """An operator and the orchestrator's database."""

    def __init__(self, client: httpx.AsyncClient, database: Database) -> None:
        self.client = client
        self.database = database

    async def has(self, *offices: Office) -> None:
        for office in offices:
            async with a_transaction(self.database.runtime_dsn) as tx:
                await store.save(tx, office.desk)

    async def get(self, path: str, **query: object) -> dict[str, object]:
        answer = await self.client.get(
            path, params={k: str(v) for k, v in query.items()}, headers=as_operator()
        )
        assert answer.status_code == 200, answer.text
        found: dict[str, object] = answer.json()
        return found

    async def listed(self, **query: object) -> list[str]:
        items = (await self.get("/sagas", **query))["items"]
        assert isinstance(items, list)
        return [item["saga_id"] for item in items]

    async def act(self, office: Office, action: str, **body: object) -> httpx.Response:
        asked_for = {"revision": office.creating.revision, "reason": "seen on the phone"} | body
        path = f"/sagas/{office.order.order_id}/{action}"
        return await self.client.post(path, json=asked_for, headers=as_operator())


@pytest.fixture
async def console(database: Callable[[str], Awaitable[Database]]) -> AsyncIterator[Console]:
    held = await database("order_saga")
    async with asked(service, held) as client:
        yield Console(client, held)


def parked() -> Office:
    """An order whose completion nobody answers."""
    office = Office().goes_on_to("complete_order")
    while office.creating.parked_at is None:
        office.times_out()
    return office


def kinds(answer: httpx.Response | dict[str, object]) -> list[str]:
    journal = (answer.json() if isinstance(answer, httpx.Response) else answer)["journal"]
    assert isinstance(journal, list)
    return [line["kind"] for line in journal]


async def test_sagas_are_listed_by_what_is_asked_for(console: Console) -> None:
    running, stuck, done = Office().starts(), parked(), Office().completed()
    await console.has(running, stuck, done)
    ids = {
        name: str(o.order.order_id) for name, o in [("running", running), ("stuck", stuck), ("done", done)]
    }
    assert await console.listed() == sorted(ids.values(), reverse=True)
    assert set(await console.listed(status="running")) == {ids["running"], ids["stuck"]}
    assert await console.listed(status="parked") == [ids["stuck"]]
    assert await console.listed(status="completed", type="create_order") == [ids["done"]]
    assert await console.listed(step="open_order") == [ids["running"]]
    assert await console.listed(type="cancel_completed_order") == []
    assert await console.listed(older_than=10**9) == []


async def test_pages_follow_each_other_without_a_gap(console: Console) -> None:
    offices = [Office().starts() for _ in range(5)]
    await console.has(*offices)
    found, after = [], None
    while True:
        page = await console.get("/sagas", limit=2, **({"after": after} if after else {}))
        assert isinstance(page["items"], list)
        found += [item["saga_id"] for item in page["items"]]
        if (after := page["next"]) is None:
            break
    assert found == sorted((str(o.order.order_id) for o in offices), reverse=True)


async def test_a_saga_is_shown_with_what_it_knows_and_its_journal(console: Console) -> None:
    office = parked()
    await console.has(office)
    saga = await console.get(f"/sagas/{office.order.order_id}")
    assert (saga["step"], saga["status"], saga["revision"]) == (
        "complete_order",
        "running",
        office.creating.revision,
    )
    assert saga["parked_at"]
    assert kinds(saga)[-1] == "parked"
    assert isinstance(saga["journal"], list)
    assert "not answered within" in saga["journal"][-1]["detail"]["why"]


async def test_resume_sends_the_command_again_and_says_who_did_it(console: Console) -> None:
    office = parked()
    await console.has(office)
    answer = await console.act(office, "resume")
    assert answer.status_code == 200, answer.text
    assert answer.json()["parked_at"] is None
    assert kinds(answer)[-2:] == ["operator", "resent"]
    [(step, attempt)] = await console.database.rows(SENT)
    assert (step, int(attempt)) == ("complete_order", answer.json()["attempt"])


async def test_an_action_that_names_an_old_revision_is_turned_down(console: Console) -> None:
    office = parked()
    await console.has(office)
    answer = await console.act(office, "resume", revision=office.creating.revision - 1)
    assert (answer.status_code, answer.json()["code"]) == (409, "revision_changed")
    assert await console.database.rows(SENT) == []
    assert (await console.act(office, "resume")).status_code == 200
    again = await console.act(office, "resume")
    assert (again.status_code, again.json()["code"]) == (409, "revision_changed")


async def test_compensate_undoes_and_past_the_point_of_no_return_it_is_turned_down(console: Console) -> None:
    early, late = Office().goes_on_to("process_payment"), parked()
    await console.has(early, late)
    answer = await console.act(early, "compensate")
    assert answer.json()["status"] == "compensating"
    assert [step for step, _ in await console.database.rows(SENT)] == ["begin_cancellation", "refund_payment"]
    refused = await console.act(late, "compensate")
    assert (refused.status_code, refused.json()["code"]) == (409, "point_of_no_return")


async def test_retry_sends_once_more(console: Console) -> None:
    office = Office().goes_on_to("reserve_inventory")
    await console.has(office)
    assert (await console.act(office, "retry")).status_code == 200
    assert await console.database.rows(SENT) == [("reserve_inventory", "2")]


async def test_an_outcome_is_declared_with_the_event_that_proves_it(console: Console) -> None:
    office = Office().goes_on_to("process_payment")
    await console.has(office)
    event = good_answers(office.order)["process_payment"].model_dump(mode="json")
    declared = {"step": "process_payment", "outcome": "succeeded"}
    assert (await console.act(office, "outcome", **declared)).json()["code"] == "event_needed"
    wrong = await console.act(office, "outcome", **declared, event={"order_id": "no"})
    assert (wrong.status_code, wrong.json()["errors"][0]["pointer"]) == (422, "#/event/order_id")
    answer = await console.act(office, "outcome", **declared, event=event)
    assert answer.status_code == 200, answer.text
    assert answer.json()["step"] == "complete_order"
    assert answer.json()["data"]["data"]["payment_id"] == event["payment_id"]


async def test_a_forced_refusal_is_undone(console: Console) -> None:
    office = Office().goes_on_to("reserve_inventory")
    await console.has(office)
    answer = await console.act(office, "outcome", step="reserve_inventory", outcome="refused")
    assert (answer.json()["status"], answer.json()["step"]) == ("compensating", "release_inventory")
    assert answer.json()["reason_code"] == "cancelled_by_operator"


@pytest.mark.parametrize("action", ["resume", "retry", "compensate", "outcome"])
async def test_only_an_operator_acts_and_only_on_what_there_is(console: Console, action: str) -> None:
    body: dict[str, object] = {"revision": 1, "reason": "x"}
    if action == "outcome":
        body |= {"step": "open_order", "outcome": "refused"}
    path = f"/sagas/{uuid4()}/{action}"
    answers = [
        await console.client.post(path, json=body),
        await console.client.post(path, json=body, headers=bearer(CUSTOMER)),
        await console.client.post(path, json=body, headers=as_operator()),
        await console.client.post(path, json=body | {"force": True}, headers=as_operator()),
        await console.client.post(path, json=body | {"reason": ""}, headers=as_operator()),
    ]
    assert [answer.status_code for answer in answers] == [401, 403, 404, 422, 422]


async def test_only_an_operator_looks(console: Console) -> None:
    for path in ("/sagas", f"/sagas/{uuid4()}"):
        assert (await console.client.get(path)).status_code == 401
        assert (await console.client.get(path, headers=bearer(CUSTOMER))).status_code == 403
    missing = await console.client.get(f"/sagas/{uuid4()}", headers=as_operator())
    assert missing.status_code == 404
    wrong = await console.client.get("/sagas", params={"limit": "0"}, headers=as_operator())
    assert wrong.status_code == 422
