"""Errors as problem details: whatever goes wrong has one shape, and says nothing it should not."""

from collections.abc import Mapping
from typing import Annotated, Any

import httpx
import psycopg
import pytest
from fastapi import FastAPI, Path, Query
from psycopg_pool import PoolTimeout
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from libs.service import problems
from libs.service.problems import Fault, Problem, unprocessable

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
ERRORS: Mapping[str, Exception] = {
    "problem": Problem(409, "email_taken", "There is an account.", headers={"Retry-After": "1"}),
    "titled": Problem(409, "email_taken", "There is an account.", "Somebody was first"),
    "faulty": unprocessable([Fault("#/a~1b", "wrong", "some_code")]),
    "teapot": HTTPException(418, "short and stout"),
    "database": psycopg.OperationalError("connection to 10.0.0.7 as gateway failed"),
    "pool": PoolTimeout("no connection to postgresql://gateway:secret@db"),
    "bug": ZeroDivisionError("secret in a message"),
}


class Line(BaseModel):
    """A line of a body."""

    model_config = ConfigDict(extra="forbid", strict=True)

    quantity: int = Field(ge=1)


class Order(BaseModel):
    """A body."""

    model_config = ConfigDict(extra="forbid", strict=True)

    lines: list[Line]


@pytest.fixture
def client() -> httpx.AsyncClient:
    app = FastAPI()
    problems.install(app)

    @app.get("/raise/{kind}")
    async def fail(kind: str) -> None:
        raise ERRORS[kind]

    @app.post("/orders/{n}")
    async def post(body: Order, n: Annotated[int, Path()], size: Annotated[int, Query(le=100)] = 1) -> None:
        """Take an order."""

    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://test")


async def told(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    body: dict[str, Any] = answer.json()
    assert answer.status_code == body["status"] == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert (body["code"], body["type"]) == (code, f"/problems/{code}")
    assert len(body["trace_id"]) == 32
    assert set(body) - {"errors"} == {"type", "title", "status", "detail", "code", "trace_id"}
    return body


@pytest.mark.parametrize(
    ("kind", "status", "code", "title"),
    [
        ("problem", 409, "email_taken", "Email taken"),
        ("titled", 409, "email_taken", "Somebody was first"),
        ("faulty", 422, "validation_failed", "Validation failed"),
        ("teapot", 418, "im_a_teapot", "Im a teapot"),
        ("database", 503, "unavailable", "Unavailable"),
        ("pool", 503, "unavailable", "Unavailable"),
        ("bug", 500, "internal_error", "Internal error"),
    ],
)
async def test_every_error_has_one_shape(
    client: httpx.AsyncClient, kind: str, status: int, code: str, title: str
) -> None:
    answer = await client.get(f"/raise/{kind}")
    assert (await told(answer, status, code))["title"] == title
    assert "secret" not in answer.text
    assert "10.0.0.7" not in answer.text


async def test_headers_come_along(client: httpx.AsyncClient) -> None:
    assert (await client.get("/raise/problem")).headers["retry-after"] == "1"
    assert (await client.get("/raise/database")).headers["retry-after"] == "1"


async def test_the_frameworks_own_errors_are_problems_too(client: httpx.AsyncClient) -> None:
    await told(await client.get("/nowhere"), 404, "not_found")
    answer = await client.delete("/orders/1")
    await told(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "POST"


async def test_each_fault_has_a_pointer_and_its_place(client: httpx.AsyncClient) -> None:
    body = {"lines": [{"quantity": 1}, {"quantity": 0}, {"quantity": "1"}, {}], "price/~": 1}
    answer = await client.post("/orders/x?size=101", json=body)
    faults = (await told(answer, 422, "validation_failed"))["errors"]
    assert {(one["in"], one["pointer"], one["code"]) for one in faults} == {
        ("path", "#/n", "int_parsing"),
        ("query", "#/size", "less_than_equal"),
        ("body", "#/lines/1/quantity", "greater_than_equal"),
        ("body", "#/lines/2/quantity", "int_type"),
        ("body", "#/lines/3/quantity", "missing"),
        ("body", "#/price~1~0", "extra_forbidden"),
    }
    assert "6 faults" in answer.json()["detail"]


async def test_a_body_that_is_no_json_is_400(client: httpx.AsyncClient) -> None:
    answer = await client.post("/orders/1", content=b"{", headers={"content-type": "application/json"})
    assert "errors" not in await told(answer, 400, "malformed_json")


@pytest.mark.parametrize(
    ("parent", "kept"),
    [
        (f"00-{TRACE}-00f067aa0ba902b7-01", True),
        (f"00-{'0' * 32}-00f067aa0ba902b7-01", False),
        (f"00-{TRACE.upper()}-00f067aa0ba902b7-01", False),
        ("nonsense", False),
        ("", False),
    ],
)
async def test_the_trace_is_the_callers_where_there_is_one(
    client: httpx.AsyncClient, parent: str, kept: bool
) -> None:
    body = (await client.get("/raise/problem", headers={"traceparent": parent})).json()
    assert (body["trace_id"] == TRACE) is kept
