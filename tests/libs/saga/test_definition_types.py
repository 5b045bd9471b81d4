"""Tries that the type checker refuses a definition that could not work."""

from pathlib import Path

import pytest
from mypy import api

# It needs no database, but the seconds of a type checker: the slower tier is where it belongs.
pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[3]

RIGHT = """
from libs.contracts.inventory import InventoryReserved
from libs.contracts.product import ProductsValidated
from libs.saga.definition import Saga, compensable, pivot, retriable
from order_saga.create_order import (
    OrderSheet, begin_cancellation, cancel_order, complete_order, keep_payment, keep_prices, open_order,
    process_payment, refund_payment, release_inventory, reserve_inventory, validate_products,
)
"""

ACCEPTED = [
    "compensable(open_order, undo=cancel_order)",
    "compensable(validate_products, undo=None, keep=keep_prices)",
    "compensable(process_payment, undo=refund_payment, keep=keep_payment)",
    "pivot(process_payment, keep=keep_payment)",
    "retriable(complete_order)",
    "Saga[OrderSheet]('s', version=1, steps=[retriable(complete_order)], on_compensation=begin_cancellation)",
]
REFUSED = [
    # an undo that may be refused
    ("compensable(open_order, undo=begin_cancellation)", "arg-type"),
    # a retriable step that may be refused
    ("retriable(reserve_inventory)", "arg-type"),
    # keep takes the event of another step
    ("compensable(reserve_inventory, undo=None, keep=keep_prices)", "arg-type|misc|type-var"),
    ("pivot(reserve_inventory, keep=keep_payment)", "arg-type|misc|type-var"),
    # no word about what undoes it
    ("compensable(open_order)", "call-arg"),
    # a saga of other data
    ("Saga[int]('s', version=1, steps=[compensable(open_order, undo=cancel_order)])", "list-item|arg-type"),
    # an undo takes the reason too
    ("compensable(open_order, undo=open_order)", "arg-type"),
]


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[int, str]:
    """What mypy says, by line; one run for all snippets."""
    lines = [*RIGHT.splitlines(), *ACCEPTED, *(snippet for snippet, _ in REFUSED)]
    folder = tmp_path_factory.mktemp("snippets")
    snippets = folder / "snippets.py"
    snippets.write_text("\n".join(lines) + "\n")
    out, err, _ = api.run(
        [
            "--config-file",
            str(ROOT / "pyproject.toml"),
            "--cache-dir",
            str(ROOT / ".mypy_cache" / "snippets"),
            "--no-error-summary",
            "--hide-error-context",
            str(snippets),
        ]
    )
    assert not err
    found: dict[int, str] = {}
    for line in out.splitlines():
        place, _, said = line.partition(": ")
        number = place.rpartition(":")[2]
        if number.isdigit() and "error" in said:
            found[int(number)] = found.get(int(number), "") + said
    return found


def line_of(number: int) -> int:
    return len(RIGHT.splitlines()) + number + 1


@pytest.mark.parametrize("number", range(len(ACCEPTED)), ids=lambda n: ACCEPTED[n][:60])
def test_what_works_is_accepted(verdicts: dict[int, str], number: int) -> None:
    assert line_of(number) not in verdicts


@pytest.mark.parametrize("number", range(len(REFUSED)), ids=lambda n: REFUSED[n][0][:60])
def test_what_could_not_work_is_refused(verdicts: dict[int, str], number: int) -> None:
    said = verdicts.get(line_of(len(ACCEPTED) + number), "nothing")
    assert any(f"[{code}]" in said for code in REFUSED[number][1].split("|")), said
