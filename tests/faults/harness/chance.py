"""Where all chance of a run comes from: its seed, so that the run can be had again."""

from random import Random


def chance(*of: object) -> Random:
    """A source of its own for each purpose; the same for the same names."""
    return Random(":".join(map(str, of)))  # noqa: S311 - faults, not secrets
