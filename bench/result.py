"""What a run is boiled down to: rates, latencies, costs and errors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from bench.counters import Counters
from bench.plan import Outcome, Placed

EDGES_MS: Final = (
    5,
    10,
    15,
    20,
    25,
    30,
    40,
    50,
    75,
    100,
    150,
    200,
    300,
    400,
    600,
    800,
    1_200,
    2_000,
    5_000,
    30_000,
)
ACCEPTED: Final = 202


@dataclass(frozen=True, slots=True)
class Ended:
    """How the saga table says that an order ended; `at` is in seconds since the epoch."""

    at: float
    status: str
    reason_code: str | None


@dataclass(frozen=True, slots=True)
class Result:
    """One load of one scenario; names without a unit are counts or rates.

    `p50_ms` and its like are from POST to the saga's end by the saga table, `seen_…` to the answer that
    an HTTP client got, `post_…` those of the POST alone. `cpu_ms_per_saga` is all of the platform's
    processes, PostgreSQL and Kafka included; the load generator's stands beside it.
    """

    scenario: str
    load: str
    seconds: float
    orders: int
    completed: int
    refused: int
    errors: int
    sagas_per_s: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    post_p50_ms: float
    post_p99_ms: float
    seen_p50_ms: float
    seen_p99_ms: float
    cpu_ms_per_saga: float
    generator_cpu_ms_per_saga: float
    cpu_ms_by_process: Mapping[str, float]
    memory_mb_by_process: Mapping[str, float]
    transactions_per_saga: float
    statements_per_saga: float
    wal_bytes_per_saga: float
    kafka_requests_per_saga: float
    kafka_bytes_per_saga: float
    statements_by_service: Mapping[str, float]
    records_per_batch: Mapping[str, float]
    generator_worst_lag_ms: float
    histogram: Mapping[str, int]
    sagas_by_second: Sequence[int] = ()
    complaints: Sequence[str] = ()
    books: Sequence[str] = ()
    notes: Mapping[str, float | str] = field(default_factory=dict)


def boiled_down(
    scenario: str,
    load: str,
    outcome: Outcome,
    ends: Mapping[UUID, Ended],
    used: Counters,
    books: Sequence[str],
) -> Result:
    """Everything that one load tells; orders count from the window's start, costs from the very first."""
    seconds = outcome.window_to - outcome.window_from
    counted = [placed for placed in outcome.orders if placed.due >= outcome.window_from]
    in_window = [end for end in ends.values() if outcome.window_from <= end.at < outcome.window_to]
    latencies = sorted(
        (ends[p.order_id].at - p.due) * 1_000
        for p in counted
        if p.order_id is not None and p.order_id in ends
    )
    posts = sorted((p.answered - p.due) * 1_000 for p in counted if p.status == ACCEPTED and not p.over_http)
    seen = sorted((p.ended - p.due) * 1_000 for p in counted if p.over_http and p.ended is not None)
    complaints = [text for placed in outcome.orders if (text := complaint(placed, ends)) is not None]
    sagas = max(1, len(ends))
    return Result(
        scenario=scenario,
        load=load,
        seconds=round(seconds, 3),
        orders=len(outcome.orders),
        completed=sum(end.status == "completed" for end in ends.values()),
        refused=sum(end.status == "compensated" for end in ends.values()),
        errors=len(complaints),
        sagas_per_s=round(len(in_window) / seconds, 1) if seconds > 0 else 0.0,
        p50_ms=percentile(latencies, 50),
        p95_ms=percentile(latencies, 95),
        p99_ms=percentile(latencies, 99),
        post_p50_ms=percentile(posts, 50),
        post_p99_ms=percentile(posts, 99),
        seen_p50_ms=percentile(seen, 50),
        seen_p99_ms=percentile(seen, 99),
        cpu_ms_per_saga=round(sum(used.cpu.values()) * 1_000 / sagas, 3),
        generator_cpu_ms_per_saga=round(outcome.cpu_seconds * 1_000 / sagas, 3),
        cpu_ms_by_process={name: round(cpu * 1_000 / sagas, 3) for name, cpu in sorted(used.cpu.items())},
        memory_mb_by_process={name: round(size / 1_048_576, 1) for name, size in sorted(used.memory.items())},
        transactions_per_saga=round(sum(used.transactions.values()) / sagas, 3),
        statements_per_saga=round(sum(used.statements.values()) / sagas, 3),
        wal_bytes_per_saga=round(used.wal_bytes / sagas, 1),
        kafka_requests_per_saga=round(sum(used.kafka_requests.values()) / sagas, 3),
        kafka_bytes_per_saga=round(used.kafka_bytes / sagas, 1),
        statements_by_service={
            name: round(count / sagas, 3) for name, count in sorted(used.statements.items())
        },
        records_per_batch={
            name: round(used.records[name] / batches, 1)
            for name, batches in sorted(used.batches.items())
            if batches
        },
        generator_worst_lag_ms=round(outcome.worst_lag_ms, 1),
        histogram=histogram(latencies),
        sagas_by_second=by_second(ends, outcome),
        complaints=complaints[:20],
        books=books,
    )


def complaint(placed: Placed, ends: Mapping[UUID, Ended]) -> str | None:
    """What is wrong with an order, if anything: not accepted, not ended, or ended as it should not."""
    if placed.error is not None:
        return f"{placed.status} {placed.order_id}: {placed.error}"
    end = None if placed.order_id is None else ends.get(placed.order_id)
    if end is None:
        return f"{placed.order_id} has not ended"
    if placed.solvent != (end.status == "completed"):
        return f"{placed.order_id} ended {end.status} ({end.reason_code})"
    return None


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The smallest value that `percent` of all do not exceed (nearest rank); 0 where there are none."""
    if not ordered:
        return 0.0
    rank = max(1, -(-len(ordered) * percent // 100))
    return round(ordered[int(rank) - 1], 2)


def histogram(values: Sequence[float]) -> dict[str, int]:
    """How many values lie at or below each edge and above the one before."""
    counts = dict.fromkeys([*(str(edge) for edge in EDGES_MS), "more"], 0)
    for value in values:
        counts[next((str(edge) for edge in EDGES_MS if value <= edge), "more")] += 1
    return counts


def by_second(ends: Mapping[UUID, Ended], outcome: Outcome) -> tuple[int, ...]:
    """Sagas finished in each second of the window."""
    counts = [0] * max(1, int(outcome.window_to - outcome.window_from))
    for end in ends.values():
        second = int(end.at - outcome.window_from)
        if 0 <= second < len(counts):
            counts[second] += 1
    return tuple(counts)
