"""The compatibility gate: a message version never changes so that somebody who knows the old one breaks."""

import json
import shutil
import subprocess
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any, Final

import pytest
from jsonschema import Draft202012Validator

from libs.contracts.catalogue import CONTRACTS
from libs.contracts.schemas import FOLDER, breaks, schema, text, write

ROOT: Final = Path(__file__).parents[3]
GOLDEN: Final = Path(__file__).parent / "golden"
VALIDATED: Final = "product.ProductsValidated.v1"
Change = Callable[[dict[str, Any]], Any]


def now(wire: str = VALIDATED) -> dict[str, Any]:
    """The schema as it is."""
    return deepcopy(schema(CONTRACTS[wire]))


def changed(change: Change, wire: str = VALIDATED) -> dict[str, Any]:
    """The schema after a change."""
    made = now(wire)
    change(made)
    return made


@pytest.mark.parametrize("wire", sorted(CONTRACTS))
def test_the_committed_schema_is_the_one_that_is_made_now(wire: str) -> None:
    committed = (FOLDER / f"{wire}.json").read_text("utf-8")
    assert committed == text(CONTRACTS[wire]), "run `python -m libs.contracts.schemas`"


def test_no_schema_is_left_of_a_message_that_is_gone() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == set(CONTRACTS)


@pytest.mark.parametrize("wire", sorted(CONTRACTS))
def test_the_golden_message_fits_its_schema(wire: str) -> None:
    golden = json.loads((GOLDEN / f"{wire}.json").read_text("utf-8"))
    Draft202012Validator.check_schema(now(wire))
    Draft202012Validator(now(wire)).validate(golden)


@pytest.mark.parametrize("wire", sorted(CONTRACTS))
def test_it_breaks_nothing_that_was_ever_committed(wire: str) -> None:
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("no history here")

    def ask(*arguments: str) -> str:
        done = subprocess.run([git, *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
        return done.stdout

    path = f"docs/schemas/{wire}.json"
    for commit in ask("log", "--format=%H", "--diff-filter=AM", "--", path).split():
        then = json.loads(ask("show", f"{commit}:{path}"))
        assert breaks(then, now(wire)) == [], f"since {commit[:10]}; make a new version of the message"


HARMLESS: Final[dict[str, Change]] = {
    "nothing": lambda s: s,
    "a new optional field": lambda s: s["properties"].update(note={"type": "string"}),
    "another description": lambda s: s.update(description="Otherwise said."),
    "another title": lambda s: s["properties"]["lines"].update(title="Positions"),
    "an example": lambda s: s["$defs"]["Money"].update(examples=[1]),
    "required fields in another order": lambda s: s["required"].reverse(),
    "another name of a definition": lambda s: (
        s["$defs"].update(Amount=s["$defs"].pop("Money")),
        s["properties"].update(total={"$ref": "#/$defs/Amount"}),
        s["$defs"]["PricedLine"]["properties"].update(price={"$ref": "#/$defs/Amount"}),
    ),
}
BREAKING: Final[dict[str, tuple[Change, str]]] = {
    "a field is gone": (
        lambda s: (s["properties"].pop("total"), s["required"].remove("total")),
        "/total: is gone",
    ),
    "a field is new and required": (
        lambda s: (s["properties"].update(tax={"type": "integer"}), s["required"].append("tax")),
        "/tax: is new and required",
    ),
    "a field is no longer required": (
        lambda s: s["required"].remove("total"),
        "/total: is no longer required",
    ),
    "a field has another type": (
        lambda s: s["$defs"]["PricedLine"]["properties"]["name"].update(type="integer"),
        "/lines[]/name: type",
    ),
    "a field may be null": (
        lambda s: s["properties"].update(total={"anyOf": [s["properties"]["total"], {"type": "null"}]}),
        "/total",
    ),
    "more lines": (lambda s: s["properties"]["lines"].update(maxItems=100), "/lines: maxItems"),
    "fewer lines": (lambda s: s["properties"]["lines"].update(maxItems=10), "/lines: maxItems"),
    "a smaller quantity": (
        lambda s: s["$defs"]["PricedLine"]["properties"]["quantity"].update(maximum=10),
        "/lines[]/quantity: maximum",
    ),
    "a bound is gone": (
        lambda s: s["$defs"]["Money"]["properties"]["amount_minor"].pop("minimum"),
        "/total/amount_minor: minimum",
    ),
    "another pattern": (
        lambda s: s["$defs"]["Money"]["properties"]["currency"].update(pattern="^[A-Z]{2}$"),
        "/total/currency: pattern",
    ),
    "another format": (lambda s: s["properties"]["order_id"].pop("format"), "/order_id: format"),
    "an enumeration": (
        lambda s: s["$defs"]["Money"]["properties"]["currency"].update(enum=["EUR"]),
        "/total/currency: enum",
    ),
    "unknown fields are forbidden": (lambda s: s.update(additionalProperties=False), "additionalProperties"),
    "a nested field is new and required": (
        lambda s: (
            s["$defs"]["Money"]["properties"].update(exponent={"type": "integer"}),
            s["$defs"]["Money"]["required"].append("exponent"),
        ),
        "/total/exponent: is new and required",
    ),
}


@pytest.mark.parametrize("change", HARMLESS.values(), ids=HARMLESS.keys())
def test_what_breaks_nobody(change: Change) -> None:
    assert breaks(now(), changed(change)) == []


@pytest.mark.parametrize(("change", "said"), BREAKING.values(), ids=BREAKING.keys())
def test_what_breaks_somebody_is_named(change: Change, said: str) -> None:
    for found in (breaks(now(), changed(change)),):
        assert any(said in fault for fault in found), found


@pytest.mark.parametrize(("change", "_said"), BREAKING.values(), ids=BREAKING.keys())
def test_and_so_does_its_way_back(change: Change, _said: str) -> None:
    assert breaks(changed(change), now())


def test_the_writer_leaves_a_schema_that_would_break_and_says_so(tmp_path: Path) -> None:
    assert write(tmp_path) == []
    path = tmp_path / f"{VALIDATED}.json"
    older = changed(lambda s: s["required"].remove("total"))
    path.write_text(json.dumps(older))
    (told,) = write(tmp_path)
    assert told.startswith(f"{VALIDATED}: /total: is required now")
    assert json.loads(path.read_text()) == older
