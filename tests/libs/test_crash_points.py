"""Crash points: the names and the places in the code are the same, and an armed place ends the process there and then."""

import ast
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from libs.crash_points import NAMES, VARIABLE, Armed

ROOT = Path(__file__).parents[2]
FOLDERS = ("gateway", "order_saga", "order", "product", "inventory", "payment", "order_history", "libs")
THRICE = """
from libs.crash_points import reach
for name in ("relay.sent", "relay.deleted", "relay.sent", "relay.sent"):
    print(name, flush=True)
    reach(name)
"""


def places() -> Counter[str]:
    """How often each name is reached in the code."""
    found: Counter[str] = Counter()
    for file in (file for folder in FOLDERS for file in sorted((ROOT / folder).rglob("*.py"))):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            match node:
                case ast.Call(func=ast.Name(id="reach"), args=[ast.Constant(value=str(name))]):
                    found[name] += 1
                case ast.Call(func=ast.Name(id="reach") | ast.Attribute(attr="reach")):
                    raise AssertionError(f"{file}:{node.lineno}: a name that cannot be read off")
    return found


def run(armed: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", THRICE],
        cwd=ROOT,
        env={**os.environ, VARIABLE: armed},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


def test_every_name_is_at_one_place_and_every_place_has_a_name() -> None:
    assert places() == Counter(NAMES)


def test_there_are_enough_of_them() -> None:
    assert len(NAMES) >= 40


@pytest.mark.parametrize(
    ("armed", "passes"), [("relay.sent", 1), ("relay.deleted", 2), ("relay.sent:2", 3), ("relay.sent:3", 4)]
)
def test_the_process_ends_at_the_pass_that_is_armed(armed: str, passes: int) -> None:
    ended = run(armed)
    assert ended.returncode == -signal.SIGKILL
    assert len(ended.stdout.splitlines()) == passes
    assert f'"crash_point": "{armed.partition(":")[0]}"' in ended.stderr


@pytest.mark.parametrize("armed", ["", "relay.sent:4", "handover.done"])
def test_a_place_that_is_not_armed_costs_nothing(armed: str) -> None:
    ended = run(armed)
    assert (ended.returncode, len(ended.stdout.splitlines())) == (0, 4)


@pytest.mark.parametrize("armed", ["relay.snet", "relay.sent:0", "relay.sent:x", ":3"])
def test_what_is_no_place_is_refused_at_once(armed: str) -> None:
    ended = run(armed)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert armed in ended.stderr


def test_what_is_armed_is_read_off_the_variable() -> None:
    assert Armed.of("relay.sent:3") == Armed("relay.sent", 3)
    assert Armed.of("") is None
