"""Bad input, case by case: the exact status and code of each, and nothing is changed in any database."""

from collections.abc import AsyncIterator, Mapping
from typing import Final
from uuid import uuid4

import httpx
import pytest

from tests.gateway.api.bad_input import addresses, bodies, orders, people, shop
from tests.gateway.api.bad_input.case import Case
from tests.gateway.front import Front

pytestmark = pytest.mark.integration

JSON: Final = "application/json"

CASES: Final = [
    case
    for group in (
        orders.quantities,
        orders.ids,
        orders.lines,
        orders.strangers,
        bodies.documents,
        bodies.framing,
        bodies.keys,
        people.accounts,
        people.money,
        shop.shop,
        addresses.addresses,
    )
    for case in group()
]


@pytest.fixture(scope="module")
async def unchanged(gate: Front, tokens: Mapping[str, object]) -> AsyncIterator[None]:
    """Nothing that these requests ask for is stored anywhere."""
    before = await gate.shops.counts()
    yield
    assert await gate.shops.counts() == before


@pytest.fixture(scope="module")
async def tokens(gate: Front) -> Mapping[str, Mapping[str, str]]:
    return {role: await gate.bearer(role) for role in ("customer", "operator")}


async def send(gate: Front, case: Case, token: Mapping[str, str]) -> httpx.Response:
    given = {
        "Content-Type": JSON,
        "Idempotency-Key": f"bad-input-{uuid4().hex}",
        **token,
        **(case.headers or {}),
    }
    headers = {name: value for name, value in given.items() if value != "-"}

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(case.content or b""), 16_384):
            yield (case.content or b"")[start : start + 16_384]

    if case.content is None:
        del headers["Content-Type"]
    content = chunks() if case.chunked else case.content
    return await gate.http.request(case.method, case.path, content=content, headers=headers)


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
async def test_it_is_refused_exactly(
    gate: Front, tokens: Mapping[str, Mapping[str, str]], case: Case
) -> None:
    answer = await send(gate, case, tokens[case.role])
    body = answer.json()
    assert (answer.status_code, body["code"]) == (case.status, case.code), body
    assert answer.headers["content-type"] == "application/problem+json"
    if case.fault is not None:
        assert case.fault in {(one["pointer"], one["code"]) for one in body["errors"]}, body["errors"]


def test_there_are_cases_enough() -> None:
    assert len(CASES) >= 250
    assert len({case.name for case in CASES}) == len(CASES)
