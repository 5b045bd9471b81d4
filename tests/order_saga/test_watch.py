"""Tries what the timers take for a time in which nobody watched."""

from datetime import timedelta

from libs.saga.inputs import Gap
from libs.saga.testing import BEGINNING
from order_saga.timers import Watch

START = BEGINNING
TICK = timedelta(seconds=1)


def looked(*moments: tuple[int, int]) -> Gap | None:
    """The gap after looks at (now, read until), in seconds."""
    watch = Watch()
    for now, until in moments:
        watch.look(START + now * TICK, {0: START + until * TICK})
    return watch.gaps.get(0)


def gap(start: int, end: int) -> Gap:
    return Gap(START + start * TICK, START + end * TICK)


def test_who_reads_on_leaves_no_gap() -> None:
    assert looked((0, 0), (1, 0), (2, 1), (6, 2)) is None


def test_a_process_that_starts_sees_the_gap_before_it() -> None:
    assert looked((60, 2)) == gap(2, 60)


def test_a_gap_lasts_until_the_answers_are_read_again() -> None:
    assert looked((60, 2), (61, 2), (62, 61), (63, 62)) == gap(2, 61)


def test_a_process_that_hung_sees_its_gap_even_if_the_answers_were_read_before_it_looks() -> None:
    assert looked((0, 0), (1, 0), (40, 40)) == gap(1, 40)


def test_of_two_gaps_the_last_one_counts() -> None:
    assert looked((60, 2), (61, 61), (90, 61), (91, 91)) == gap(61, 90)


def test_partitions_have_gaps_of_their_own() -> None:
    watch = Watch()
    gaps = watch.look(START + 20 * TICK, {0: START, 1: START + 19 * TICK})
    assert set(gaps) == {0}
