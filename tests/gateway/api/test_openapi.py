"""The OpenAPI document is up to date, valid, and says what the API does; each problem has its page."""

import json
import re
from pathlib import Path
from typing import Any, Final

import pytest
from jsonschema import Draft202012Validator

from gateway.__main__ import openapi
from gateway.api.docs import PROBLEMS, page
from libs.saga.decision import Rejection
from tests.gateway.front import Front

ROOT: Final = Path(__file__).parents[3]
DOCUMENT: Final[dict[str, Any]] = json.loads(openapi())
OPERATIONS: Final = [
    (operation, method, path)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
]
ROOMS: Final = (
    "gateway",
    "product",
    "inventory",
    "payment",
    "order_history",
    "order_saga",
    "order",
    "libs/service",
)


def test_the_committed_document_is_the_one_that_is_made_now() -> None:
    committed = (ROOT / "docs" / "openapi.json").read_text("utf-8")
    assert committed == openapi(), "run `python -m gateway openapi > docs/openapi.json`"


def test_every_operation_is_named_described_and_tagged() -> None:
    ids = [operation["operationId"] for operation, _, _ in OPERATIONS]
    assert len(set(ids)) == len(ids) >= 27
    for operation, _, _ in OPERATIONS:
        assert re.fullmatch("[a-z][A-Za-z]+", operation["operationId"])
        assert operation["summary"]
        assert operation["description"]
        assert len(operation["tags"]) == 1


def test_every_error_is_a_problem() -> None:
    for operation, _, _ in OPERATIONS:
        refused = {status: answer for status, answer in operation["responses"].items() if status >= "400"}
        assert {"405", "429", "500", "503"} <= set(refused)
        for status, answer in refused.items():
            assert answer == {"$ref": f"#/components/responses/Problem{status}"}
    for answer in DOCUMENT["components"]["responses"].values():
        assert list(answer["content"]) == ["application/problem+json"]
    assert "HTTPValidationError" not in json.dumps(DOCUMENT)


def test_every_reference_leads_somewhere() -> None:
    for reference in re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(DOCUMENT)):
        place: Any = DOCUMENT
        for part in reference.split("/"):
            place = place[part]


def test_links_name_operations_and_their_parameters() -> None:
    known = {operation["operationId"]: operation for operation, _, _ in OPERATIONS}
    linked = [
        link
        for operation, _, _ in OPERATIONS
        for answer in operation["responses"].values()
        for link in answer.get("links", {}).values()
    ]
    assert len(linked) >= 10
    for link in linked:
        names = {parameter["name"] for parameter in known[link["operationId"]].get("parameters", [])}
        assert set(link.get("parameters", {})) <= names
        if "requestBody" in link:
            reference = known[link["operationId"]]["requestBody"]["content"]["application/json"]["schema"][
                "$ref"
            ]
            asked = DOCUMENT["components"]["schemas"][reference.rpartition("/")[2]]
            assert set(link["requestBody"]) == set(asked["required"])


def test_schemas_are_valid_and_their_examples_fit() -> None:
    tried = 0
    for name, schema in DOCUMENT["components"]["schemas"].items():
        Draft202012Validator.check_schema(schema)
        resolved = {**schema, "components": DOCUMENT["components"]}
        for example in schema.get("examples", []):
            Draft202012Validator(resolved).validate(example)
            tried += 1
        for about in schema.get("properties", {}).values():
            for example in about.get("examples", []):
                Draft202012Validator({**about, "components": DOCUMENT["components"]}).validate(example)
                tried += 1
        assert set(schema) & {"properties", "enum"}, name
    assert tried >= 25


def test_bounds_are_said_in_the_words_of_json_schema() -> None:
    said = json.dumps(DOCUMENT)
    for word in ("ge", "le", "gt", "lt", "min_length", "max_length"):
        assert f'"{word}":' not in said
    stock = DOCUMENT["components"]["schemas"]["StockChange"]["properties"]
    assert (stock["on_hand"]["minimum"], stock["adjust"]["maximum"]) == (0, 1_000_000_000)


def test_bodies_forbid_what_they_do_not_name() -> None:
    for operation, _, _ in OPERATIONS:
        body = operation.get("requestBody")
        if body is None:
            continue
        schema = body["content"]["application/json"]["schema"]
        (reference,) = re.findall(r"#/components/schemas/(\w+)", json.dumps(schema))
        assert DOCUMENT["components"]["schemas"][reference]["additionalProperties"] is False


def codes_in_the_code() -> set[str]:
    """Every problem code that the platform's Python names."""
    found = {reason.value for reason in Rejection}
    for room in ROOMS:
        for path in (ROOT / room).rglob("*.py"):
            text = path.read_text("utf-8")
            found |= set(re.findall(r'Problem\(\s*[0-9]{3},\s*"([a-z_]+)"', text))
    return found | {"bad_request", "method_not_allowed", "not_acceptable"}


def test_each_problem_has_a_page_and_each_page_a_problem() -> None:
    codes = codes_in_the_code()
    assert len(codes) >= 30
    pages = {path.stem for path in PROBLEMS.glob("*.md")} - {"README"}
    assert codes == pages
    index = (PROBLEMS / "README.md").read_text("utf-8")
    for code in codes:
        text = (PROBLEMS / f"{code}.md").read_text("utf-8")
        assert f"`/problems/{code}`" in text
        assert "## What happened" in text
        assert "## What to do" in text
        assert f"[{code}]({code}.md)" in index


def test_the_page_for_people_shows_every_operation_and_no_script() -> None:
    shown = page(DOCUMENT)
    assert "<script" not in shown
    for operation, _, path in OPERATIONS:
        assert f'id="{operation["operationId"]}"' in shown
        assert path in shown


@pytest.mark.integration
async def test_documents_and_pages_are_served(gate: Front) -> None:
    assert (await gate.http.get("/openapi.json")).json() == DOCUMENT
    docs = await gate.http.get("/docs")
    assert docs.headers["content-type"].startswith("text/html")
    assert "script-src" not in docs.headers["content-security-policy"]
    refused = await gate.http.get("/api/orders")
    told = await gate.http.get(refused.json()["type"])
    assert told.headers["content-type"].startswith("text/markdown")
    assert told.text.startswith("# Token missing")
