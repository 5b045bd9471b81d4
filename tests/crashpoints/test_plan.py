"""The plan of deaths: nothing that has a name is left out."""

import pytest

from libs.crash_points import NAMES
from tests.crashpoints.plan import ARMINGS, PARTS, chosen, rounds


def test_every_crash_point_is_armed_somewhere() -> None:
    assert {one.name for one in ARMINGS} == set(NAMES)


def test_the_parts_are_the_whole() -> None:
    parts = [chosen(part=str(number)) for number in range(1, PARTS + 1)]
    assert sorted(one.variable + one.service for part in parts for one in part) == sorted(
        one.variable + one.service for one in ARMINGS
    )


def test_rounds_leave_nobody_out() -> None:
    planned = rounds(ARMINGS, 16)
    assert sorted(one.variable + one.service for each in planned for one in each) == sorted(
        one.variable + one.service for one in ARMINGS
    )
    assert max(map(len, planned)) <= 16


def test_names_choose() -> None:
    assert {one.name for one in chosen("relay.sent, cards.fed")} == {"relay.sent", "cards.fed"}


@pytest.mark.parametrize(("names", "part"), [("relay.snet", ""), ("", "6"), ("", "x")])
def test_what_is_not_there_cannot_be_chosen(names: str, part: str) -> None:
    with pytest.raises(ValueError, match=r"must be|There is no"):
        chosen(names, part)
