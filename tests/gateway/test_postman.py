"""The Postman collection asks every route and names every end that an order can have."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from gateway.__main__ import openapi
from libs.contracts import reasons

COLLECTION: Final = Path(__file__).parents[2] / "docs" / "postman" / "order-platform.postman_collection.json"
DOCUMENT: Final[Mapping[str, Any]] = json.loads(COLLECTION.read_text("utf-8"))
ENDS: Final = {
    reasons.PRODUCTS_UNKNOWN,
    reasons.PRODUCTS_UNAVAILABLE,
    reasons.OUT_OF_STOCK,
    reasons.PAYMENT_REFUSED,
    reasons.PAYMENT_TIMEOUT,
    reasons.INVENTORY_TIMEOUT,
    reasons.CANCELLED_BY_CUSTOMER,
}


def requests(items: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for item in items:
        if "item" in item:
            yield from requests(item["item"])
        else:
            yield item


def test_every_operation_is_asked() -> None:
    asked = set()
    for item in requests(DOCUMENT["item"]):
        path = item["request"]["url"]["raw"].removeprefix("{{base_url}}").partition("?")[0]
        asked.add((item["request"]["method"], re.sub(r"\{\{[^}]+\}\}", "{}", path)))
    known = {
        (method.upper(), re.sub(r"\{[^}]+\}", "{}", path))
        for path, methods in json.loads(openapi())["paths"].items()
        for method in methods
    }
    assert known <= asked
    assert asked <= known, "and nothing that is not there"


def test_every_end_of_an_order_is_expected() -> None:
    scripts = json.dumps(DOCUMENT)
    assert {end for end in ENDS if f"cancelled: {end}" in scripts or f"cancelling: {end}" in scripts} == ENDS
    assert 'pm.test(\\"completed\\"' in scripts


def test_every_request_is_tested_and_keeps_no_secret() -> None:
    for item in requests(DOCUMENT["item"]):
        scripts = [event["script"]["exec"] for event in item["event"] if event["listen"] == "test"]
        assert any("pm.response.to.have.status" in line for script in scripts for line in script), item[
            "name"
        ]
    values = {variable["key"]: variable["value"] for variable in DOCUMENT["variable"]}
    assert values["operator_password"] == ""
