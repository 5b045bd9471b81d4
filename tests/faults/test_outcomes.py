"""Tries the auditor's judgement on one order's story."""

from dataclasses import replace

import pytest

from tests.faults.outcomes import Story, judged

SOLD = Story(
    create="completed",
    order="completed",
    hold="sold",
    payment="completed",
    history="completed",
    totals=(500, 500, 500),
    owners=frozenset({"ann"}),
)
REFUSED = Story(
    create="compensated",
    order="cancelled",
    hold="released",
    payment="failed",
    history="cancelled",
    owners=frozenset({"ann"}),
)
TAKEN_BACK = replace(
    SOLD, cancel="completed", order="cancelled", hold="released", payment="refunded", history="cancelled"
)


@pytest.mark.parametrize("story", [SOLD, REFUSED, TAKEN_BACK, replace(REFUSED, hold=None, payment=None)])
def test_a_story_that_holds_together(story: Story) -> None:
    assert judged(story) == []


@pytest.mark.parametrize(
    ("story", "invariant"),
    [
        (replace(SOLD, create=None), "I3"),
        (replace(SOLD, create="running"), "I3"),
        (replace(SOLD, cancel="running"), "I3"),
        (replace(SOLD, parked=True), "I3"),
        (replace(SOLD, hold="held"), "I5"),
        (replace(SOLD, payment="refunded"), "I5"),
        (replace(SOLD, history="cancelling"), "I5"),
        (replace(SOLD, totals=(500, 400, 500)), "I5"),
        (replace(SOLD, owners=frozenset({"ann", "bob"})), "I14"),
        (replace(REFUSED, order="pending"), "I5"),
        (replace(REFUSED, hold="held"), "I10"),
        (replace(REFUSED, payment="completed"), "I10"),
        (replace(TAKEN_BACK, hold="sold"), "I10"),
    ],
)
def test_a_story_that_does_not(story: Story, invariant: str) -> None:
    assert invariant in [number for number, _ in judged(story)]
