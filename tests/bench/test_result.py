"""Tries what a run is boiled down to."""

from uuid import UUID, uuid4

import pytest

from bench.counters import Counters, used
from bench.plan import Outcome, Placed
from bench.result import Ended, boiled_down, complaint, histogram, percentile

NOTHING_USED = Counters(cpu={}, memory={}, transactions={}, wal_bytes=0, kafka_bytes=0)


def placed(order: UUID, due: float, *, solvent: bool = True, error: str | None = None) -> Placed:
    return Placed(due, due + 0.005, due + 0.05, order, 202, over_http=False, solvent=solvent, error=error)


@pytest.mark.parametrize(
    ("percent", "expected"), [(1, 1.0), (50, 50.0), (95, 95.0), (99, 99.0), (100, 100.0)]
)
def test_percentile_is_the_nearest_rank(percent: float, expected: float) -> None:
    assert percentile([float(number) for number in range(1, 101)], percent) == expected


def test_percentile_of_nothing_and_of_one() -> None:
    assert percentile([], 99) == 0.0
    assert percentile([7.0], 1) == 7.0


def test_histogram_counts_every_value_once() -> None:
    counts = histogram([0.1, 5.0, 5.1, 40.0, 99_999.0])
    assert (counts["5"], counts["10"], counts["40"], counts["more"]) == (2, 1, 1, 1)
    assert sum(counts.values()) == 5


def test_the_rate_counts_what_ended_in_the_window_and_latency_what_began_in_it() -> None:
    warm, inside, late = uuid4(), uuid4(), uuid4()
    orders = (placed(warm, 99.0), placed(inside, 100.5), placed(late, 101.9))
    ends = {
        warm: Ended(100.1, "completed", None),
        inside: Ended(100.6, "completed", None),
        late: Ended(102.4, "completed", None),
    }
    outcome = Outcome(100.0, 102.0, orders, cpu_seconds=0.3, reconnects=0, worst_lag_ms=0.0)
    result = boiled_down("peak", "1", outcome, ends, NOTHING_USED, [])
    assert result.sagas_per_s == 1.0
    assert (result.p50_ms, result.p99_ms) == (100.0, 500.0)
    assert (result.orders, result.completed, result.errors) == (3, 3, 0)
    assert result.generator_cpu_ms_per_saga == 100.0
    assert result.sagas_by_second == (2, 0)


@pytest.mark.parametrize(
    ("solvent", "status", "wrong"),
    [
        (True, "completed", False),
        (True, "compensated", True),
        (False, "compensated", False),
        (False, "completed", True),
    ],
)
def test_an_order_must_end_as_its_customer_can_pay(solvent: bool, status: str, wrong: bool) -> None:
    order = uuid4()
    found = complaint(placed(order, 1.0, solvent=solvent), {order: Ended(2.0, status, "x")})
    assert (found is not None) == wrong


def test_an_order_without_an_end_and_one_with_an_error_are_complaints() -> None:
    order = uuid4()
    assert "has not ended" in str(complaint(placed(order, 1.0), {}))
    assert "refused" in str(
        complaint(placed(order, 1.0, error="refused"), {order: Ended(2.0, "completed", None)})
    )


def test_a_process_that_was_started_again_began_at_nothing() -> None:
    before = Counters({"a": 5.0, "b": 1.0}, {}, {"x": 10}, 100, 7)
    after = Counters({"a": 2.0, "b": 4.0}, {"a": 1}, {"x": 25}, 150, 9)
    assert used(before, after) == Counters({"a": 2.0, "b": 3.0}, {"a": 1}, {"x": 15}, 50, 2)


def test_statements_and_requests_are_told_by_saga() -> None:
    ended, other = uuid4(), uuid4()
    ends = {ended: Ended(100.6, "completed", None), other: Ended(100.7, "completed", None)}
    outcome = Outcome(100.0, 102.0, (placed(ended, 100.5), placed(other, 100.5)), 0.1, 0, 0.0)
    counted = Counters(
        {}, {}, {}, 0, 0, statements={"order": 30.0, "order_saga": 12.0}, kafka_requests={"order": 5.0}
    )
    result = boiled_down("peak", "1", outcome, ends, counted, [])
    assert (result.statements_per_saga, result.kafka_requests_per_saga) == (21.0, 2.5)
    assert result.statements_by_service == {"order": 15.0, "order_saga": 6.0}
