"""A reader that nobody waits for takes more at once while there is more."""

import pytest

from libs.service.pace import Pace


@pytest.mark.parametrize(
    ("records", "every", "expected"),
    [(1, 0.1, 0.02), (10, 0.02, 0.02), (40, 0.04, 0.04), (500, 0.1, 0.05), (5_000, 0.1, 0.05)],
    ids=["a few", "500/s", "1,000/s", "5,000/s", "50,000/s"],
)
def test_batches_are_further_apart_the_faster_records_come(
    records: int, every: float, expected: float
) -> None:
    pace = Pace(0.02)
    pace.rest(records, 100.0, 100.0)

    assert pace.rest(records, 100.0 + every, 100.0 + every) == pytest.approx(expected)


def test_the_time_that_a_batch_took_counts() -> None:
    assert Pace(0.02).rest(1, 100.0, 100.015) == pytest.approx(0.005)


def test_who_keeps_no_pace_never_rests() -> None:
    assert Pace(0.0).rest(10_000, 100.0, 100.001) < 0
