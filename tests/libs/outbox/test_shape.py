"""A batch of one travels without arrays, and does what it would have done with them."""

import re
from collections.abc import Iterator
from importlib import import_module
from pkgutil import walk_packages
from types import ModuleType

import pytest

import gateway
import inventory
import libs
import order
import order_history
import order_saga
import payment
import product
from libs.outbox.shape import set_statement

PACKAGES = (gateway, inventory, libs, order, order_history, order_saga, payment, product)
ROWS = re.compile(r"unnest\(\s*%s")
FOUND = """
    WITH moved AS (UPDATE places SET at = %s FROM unnest(%s::text[], %s::bigint[]) AS move (name, n)
                   WHERE places.name = move.name AND note <> '100 %% sure')
    INSERT INTO seen (id) SELECT unnest(%s::uuid[]) ON CONFLICT DO NOTHING
"""


def shape(statement: str, *parameters: object) -> tuple[str, tuple[int, ...], list[object]]:
    """How the statement travels with these parameters; spaces are made one."""
    known = set_statement(statement)
    assert known is not None
    (text, types), fitted = known.fitted(parameters)
    return " ".join(text.split()), types, list(fitted)


def test_a_statement_without_columns_is_none() -> None:
    assert set_statement("SELECT %s::bigint FROM unnest(ARRAY[1]) AS n WHERE n = ANY(%s::bigint[])") is None


def test_columns_of_one_row_travel_as_that_row_and_others_as_they_are() -> None:
    text, types, fitted = shape(FOUND, "now", ["a"], [None], ["one", "two"])
    assert "FROM (VALUES (%s::text, %s::bigint)) AS move (name, n)" in text
    assert "SELECT unnest(%s::uuid[])" in text
    assert (types, fitted) == ((0, 25, 20, 0), ["now", "a", None, ["one", "two"]])


def test_a_column_in_a_select_list_is_its_value() -> None:
    text, types, fitted = shape(FOUND, "now", ["a", "b"], [1, 2], ["one"])
    assert "FROM unnest(%s::text[], %s::bigint[]) AS move" in text
    assert "INSERT INTO seen (id) SELECT %s::uuid ON CONFLICT" in text
    assert (types, fitted) == ((0, 0, 0, 2950), ["now", ["a", "b"], [1, 2], "one"])


@pytest.mark.parametrize("rows", [0, 2, 3])
def test_no_row_and_several_rows_stay_arrays(rows: int) -> None:
    parameters = ["now", ["a"] * rows, [1] * rows, ["one"] * rows]
    assert shape(FOUND, *parameters) == (" ".join(FOUND.split()), (), parameters)


def test_columns_of_unlike_length_stay_arrays() -> None:
    parameters: list[object] = ["now", ["a"], [1, 2], []]
    assert shape(FOUND, *parameters) == (" ".join(FOUND.split()), (), parameters)


def test_the_row_has_its_number_and_a_name() -> None:
    counted = "SELECT a, n FROM unnest(%s::text[]) WITH ORDINALITY AS r (a, n) ORDER BY n"
    assert (
        shape(counted, ["x"])[0] == "SELECT a, n FROM (VALUES (%s::text, 1::bigint)) AS r (a, n) ORDER BY n"
    )
    nameless = "DELETE FROM t WHERE (a, b) IN (SELECT * FROM unnest(%s::uuid[], %s::text[]))"
    assert "IN (SELECT * FROM (VALUES (%s::uuid, %s::text)) AS lone)" in shape(nameless, ["u"], ["t"])[0]


def test_a_type_that_is_not_known_is_left_to_the_server() -> None:
    assert shape("SELECT * FROM unnest(%s::shelf[]) AS r (a)", ["x"])[1] == (0,)


def statements() -> Iterator[tuple[str, str]]:
    """Every constant of the services that has a set of rows in its parameters."""
    for package in PACKAGES:
        for module in modules(package):
            for name, value in vars(module).items():
                if isinstance(value, str) and name.isupper() and ROWS.search(value):
                    yield f"{module.__name__}.{name}", value


def modules(package: ModuleType) -> Iterator[ModuleType]:
    """A package's modules that hold statements."""
    for found in walk_packages(package.__path__, f"{package.__name__}."):
        if not found.name.endswith("__main__"):
            yield import_module(found.name)


def test_every_set_of_rows_in_the_services_has_a_lone_shape() -> None:
    found = dict(statements())
    assert len(found) > 25
    for name, statement in found.items():
        known = set_statement(statement)
        assert known is not None, name
        assert len(known.groups) == len(ROWS.findall(statement)), name
