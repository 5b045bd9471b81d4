"""Input that is unusual and right."""

import json
import unicodedata
from typing import Final
from uuid import uuid4

import pytest

from tests.gateway.front import Front, an_order

pytestmark = pytest.mark.integration

LIMIT: Final = 65_536


async def test_the_largest_body_is_taken(gate: Front) -> None:
    body = json.dumps(an_order()).encode()
    headers = {**await gate.bearer(), "Content-Type": "application/json", "Idempotency-Key": uuid4().hex}
    padded = body + b" " * (LIMIT - len(body))
    assert (await gate.http.post("/api/orders", content=padded, headers=headers)).status_code == 202


@pytest.mark.parametrize(
    "media_type", ["application/json; charset=utf-8", "Application/JSON", 'application/json;charset="UTF-8"']
)
async def test_other_ways_to_write_json(gate: Front, media_type: str) -> None:
    headers = {**await gate.bearer(), "Content-Type": media_type, "Idempotency-Key": uuid4().hex}
    answer = await gate.http.post("/api/orders", content=json.dumps(an_order()).encode(), headers=headers)
    assert answer.status_code == 202


async def test_names_in_every_script_are_taken_and_normalised(gate: Front) -> None:
    for name in ("Łukasz Żółć", "東京 太郎", "عمر الخيام", "Zoe\u0308", "O'Brien-Ñandú", "👩🏽‍🚀 Ada"):
        account = {"name": name, "email": f"{uuid4().hex}@example.com", "password": "difference-engine-2"}
        answer = await gate.http.post("/auth/register", json=account)
        assert answer.status_code == 201, answer.text
        assert answer.json()["name"] == unicodedata.normalize("NFC", name)


@pytest.mark.parametrize("written", ["1", "1.0", "1e0", "1E2", "0.1e1", "1000.000"])
async def test_a_whole_number_however_it_is_written(gate: Front, written: str) -> None:
    body = json.dumps(an_order()).replace('"quantity": 1', f'"quantity": {written}')
    headers = {**await gate.bearer(), "Content-Type": "application/json", "Idempotency-Key": uuid4().hex}
    answer = await gate.http.post("/api/orders", content=body, headers=headers)
    assert answer.status_code == 202, answer.text
    view = (await gate.http.get(answer.headers["location"], headers=headers)).json()
    assert view["lines"][0]["quantity"] == int(float(written))
