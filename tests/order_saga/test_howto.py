"""Executes the how-tos: the diff is applied to a copy of the tree and its test run, the examples are run as they are."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# They need no database, but the seconds of a copied tree: the slower tier is where they belong.
pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
HOWTO = ROOT / "docs" / "howto"
COPIED = (
    *("libs", "order_saga", "order", "product", "inventory", "payment", "pyproject.toml"),
    *("tests/__init__.py", "tests/libs/__init__.py", "tests/libs/saga", "tests/order_saga", "tests/support"),
)


def blocks(page: str, language: str) -> list[str]:
    """The code blocks of a how-to."""
    text = (HOWTO / page).read_text(encoding="utf-8")
    return re.findall(rf"(?ms)^```{language}\n(.*?)^```$", text)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The sources, where they can be changed."""
    for name in COPIED:
        source, target = ROOT / name, tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    return tmp_path


def run(tree: Path, *arguments: str, text: str | None = None) -> str:
    """Run a program in the tree; what it said."""
    done = subprocess.run(
        arguments,
        cwd=tree,
        input=text,
        text=True,
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(tree), "GIT_CEILING_DIRECTORIES": str(tree.parent)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_step_is_added_by_the_diff_of_the_howto(tree: Path) -> None:
    diff = "".join(blocks("add_a_saga_step.md", "diff"))
    touched = re.findall(r"(?m)^\+\+\+ b/(.*)$", diff)
    assert len([name for name in touched if not name.startswith("tests/")]) == 4
    run(tree, "git", "apply", "-", text=diff)
    new = [name for name in touched if name.startswith("tests/")]
    told = run(
        tree,
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        *new,
        "tests/order_saga/test_commands.py",
    )
    assert "passed" in told
    assert "failed" not in told
    run(tree, sys.executable, "-m", "order_saga.diagrams", "diagrams")
    assert (
        "check_limits --> cancel_order: LimitsExceeded" in (tree / "diagrams" / "create_order.md").read_text()
    )


@pytest.mark.parametrize("number", range(len(blocks("test_a_saga.md", "python"))))
def test_the_examples_run(number: int) -> None:
    example = blocks("test_a_saga.md", "python")[number]
    exec(compile(example, f"example {number}", "exec"), {})  # noqa: S102 - they are the document's own


def test_the_words_of_the_kit_are_all_explained() -> None:
    from libs.saga.testing import Dialogue  # noqa: PLC0415

    told = (HOWTO / "test_a_saga.md").read_text(encoding="utf-8")
    words = [name for name in vars(Dialogue) if not name.startswith("_") and name != "reply"]
    assert [word for word in words if f"`{word}" not in told] == []
