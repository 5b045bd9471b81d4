"""What must not grow without end: I16."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final

from tests.faults.violation import Violation

ALLOWED_PER_HOUR: Final = 64 * 1024 * 1024
FEWEST: Final = 10
"""Fewer samples than this say nothing about a slope."""

Samples = Sequence[tuple[float, float]]
"""Seconds and bytes."""


async def memory(samples: Mapping[str, Samples]) -> AsyncIterator[Violation]:
    """Every process whose memory grows faster than an hour of it would bear; the first third is warm-up."""
    for process, taken in samples.items():
        settled = taken[len(taken) // 3 :]
        if len(settled) >= FEWEST and (per_hour := slope(settled) * 3_600) > ALLOWED_PER_HOUR:
            yield Violation("I16", process, f"grows by {per_hour / 1_048_576:.0f} MiB an hour")


def slope(samples: Samples) -> float:
    """The least-squares slope, in bytes per second."""
    count = len(samples)
    mean_x = sum(x for x, _ in samples) / count
    mean_y = sum(y for _, y in samples) / count
    spread = sum((x - mean_x) ** 2 for x, _ in samples)
    return sum((x - mean_x) * (y - mean_y) for x, y in samples) / spread if spread else 0.0
