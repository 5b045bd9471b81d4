"""What counts as a round, which kinds there are, and how a run's are chosen."""

import pytest

from tests.faults.harness.__main__ import PARTS, chosen
from tests.faults.harness.kinds import KINDS
from tests.faults.harness.kinds.nightly import pairs
from tests.faults.harness.rounds import Event, Finished, bite

A_LOG = [Event(1.0, "SIGKILL inventory"), Event(2.0, "healed")]


@pytest.mark.parametrize(
    ("placed", "accepted", "completed", "compensated", "missing"),
    [
        (100, 80, 40, 8, []),
        (100, 79, 40, 39, ["acknowledged"]),
        (100, 80, 39, 41, ["completed"]),
        (100, 80, 73, 7, ["compensated"]),
        (0, 0, 0, 0, ["acknowledged", "completed", "compensated"]),
    ],
)
def test_a_round_that_did_not_bite_says_where(
    placed: int, accepted: int, completed: int, compensated: int, missing: list[str]
) -> None:
    finished = [Finished("completed", 1.0)] * completed + [Finished("compensated", 1.0)] * compensated
    found = bite(placed, accepted, finished, A_LOG)
    assert [
        word for word in ("acknowledged", "completed", "compensated") if word in " ".join(found)
    ] == missing
    assert len(found) == len(missing)


def test_a_round_without_a_fault_does_not_count() -> None:
    finished = [Finished("completed", 1.0)] * 8 + [Finished("compensated", 1.0)] * 2
    assert bite(10, 10, finished, A_LOG[1:]) == ["the fault log shows no fault"]


def test_the_parts_are_all_kinds_each_once() -> None:
    parts = [chosen(KINDS, {"PART": str(number + 1)}) or [] for number in range(PARTS)]
    assert sorted(kind.name for part in parts for kind in part) == sorted(KINDS)


def test_kinds_are_chosen_by_name_in_the_order_given(capsys: pytest.CaptureFixture[str]) -> None:
    assert [kind.name for kind in chosen(KINDS, {"ROUNDS": "zombie,replay"}) or []] == ["zombie", "replay"]
    assert chosen(KINDS, {"KIND": "earthquake"}) is None
    assert "earthquake" in capsys.readouterr().err


def test_pairs_are_of_two_different_kinds_each_pair_once() -> None:
    halves = [tuple(pair.name.split("+")) for pair in pairs()]
    assert len(halves) == len(set(halves)) > 50
    assert all(one != other and {one, other} <= KINDS.keys() for one, other in halves)
