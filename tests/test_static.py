"""What is looked at without running anything: locks name every file's hash, and no exception is swallowed unseen."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LOCKS = sorted(ROOT.glob("requirements*.lock"))
CODE = (
    *("gateway", "order_saga", "order", "product", "inventory", "payment", "order_history"),
    *("libs", "migrations", "devstack", "bench", "tests"),
)
SWALLOWING = {"S110", "S112", "BLE001", "E722", "SIM105"}
"""ruff's words for it: try-except-pass, try-except-continue, blind and bare except."""


def handlers() -> Iterator[tuple[Path, ast.ExceptHandler]]:
    """Every `except` of the project."""
    for file in (file for folder in CODE for file in sorted((ROOT / folder).rglob("*.py"))):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.ExceptHandler):
                yield file.relative_to(ROOT), node


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: str(lock.name))
def test_every_locked_package_has_its_version_and_its_hashes(lock: Path) -> None:
    text = re.sub(r"(?m)^\s*#.*$", "", lock.read_text("utf-8")).replace("\\\n", " ")
    packages = [line for line in text.splitlines() if line.strip() and not line.startswith("--")]
    assert packages
    assert [line.split()[0] for line in packages if "==" not in line or "--hash=sha256:" not in line] == []


def test_no_exception_is_passed_over() -> None:
    silent = [
        f"{file}:{handler.lineno}"
        for file, handler in handlers()
        if all(
            isinstance(statement, ast.Pass)
            or (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant))
            for statement in handler.body
        )
    ]
    assert silent == []


def test_the_linter_looks_for_it_everywhere() -> None:
    lint = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["ruff"]["lint"]
    ignored = {*lint["ignore"], *(code for codes in lint["per-file-ignores"].values() for code in codes)}
    assert lint["select"] == ["ALL"]
    assert SWALLOWING & ignored == set()


def test_nobody_tells_the_linter_to_look_away_without_a_reason() -> None:
    bare = [
        f"{file.relative_to(ROOT)}:{number}"
        for folder in CODE
        for file in sorted((ROOT / folder).rglob("*.py"))
        for number, line in enumerate(file.read_text("utf-8").splitlines(), 1)
        if re.search(r"# noqa: (S110|S112|BLE001|E722)\b(?! - )", line)
    ]
    assert bare == []
