"""Tries the auditor's idea of a saga's path on journals that are right, and on ones that are not."""

import pytest

from tests.faults.paths import Line, judged

GOOD = """
    started sent:open_order
    |succeeded:open_order sent:validate_products
    |succeeded:validate_products sent:reserve_inventory
    |succeeded:reserve_inventory sent:process_payment
    |succeeded:process_payment sent:complete_order
    |succeeded:complete_order completed
"""
REFUSED = """
    started sent:open_order
    |succeeded:open_order sent:validate_products
    |succeeded:validate_products sent:reserve_inventory
    |succeeded:reserve_inventory sent:process_payment
    |refused:process_payment compensating notice_sent:begin_cancellation sent:release_inventory
    |undone:release_inventory sent:cancel_order
    |notice_answered:begin_cancellation
    |undone:cancel_order compensated
"""
UNKNOWN = """
    started sent:open_order
    |succeeded:open_order sent:validate_products
    |succeeded:validate_products sent:reserve_inventory
    |unknown:reserve_inventory compensating sent:release_inventory
    |undone:release_inventory sent:cancel_order
    |undone:cancel_order compensated
"""
UNSEEN = "started cancel_requested sent:cancel_order|undone:cancel_order compensated|repeated"
TAKEN_BACK = """
    started sent:begin_cancellation
    |succeeded:begin_cancellation sent:refund_payment
    |succeeded:refund_payment sent:release_inventory
    |succeeded:release_inventory sent:cancel_order
    |succeeded:cancel_order completed
"""
REVERSED = """
    started sent:open_order
    |succeeded:open_order sent:validate_products
    |succeeded:validate_products sent:reserve_inventory
    |unknown:reserve_inventory compensating sent:cancel_order
    |undone:cancel_order sent:release_inventory
    |undone:release_inventory compensated
"""


def journal(text: str) -> list[Line]:
    """Revisions are divided by |, lines by blanks, a line's kind and step by a colon."""
    return [
        Line(revision, seq, line.partition(":")[0], line.partition(":")[2] or None)
        for revision, lines in enumerate(text.split("|"), start=1)
        for seq, line in enumerate(lines.split(), start=1)
    ]


def found(text: str, status: str, saga: str = "create_order", revision: int | None = None) -> list[str]:
    lines = journal(text)
    last = max(line.revision for line in lines)
    return [invariant for invariant, _ in judged(saga, status, revision or last, lines)]


@pytest.mark.parametrize(
    ("text", "status", "saga"),
    [
        (GOOD, "completed", "create_order"),
        (REFUSED, "compensated", "create_order"),
        (UNKNOWN, "compensated", "create_order"),
        (UNSEEN, "compensated", "create_order"),
        (TAKEN_BACK, "completed", "cancel_completed_order"),
        (GOOD + "|late:reserve_inventory|repeated", "completed", "create_order"),
    ],
)
def test_a_path_of_the_definition_is_right(text: str, status: str, saga: str) -> None:
    assert found(text, status, saga) == []


@pytest.mark.parametrize(
    ("text", "status", "invariant"),
    [
        (GOOD, "compensated", "I7"),
        (GOOD.replace("|succeeded:reserve_inventory", ""), "completed", "I7"),
        (GOOD.replace(" sent:reserve_inventory", ""), "completed", "I7"),
        (GOOD + "|sent:process_payment", "completed", "I7"),
        (GOOD + "|completed", "completed", "I7"),
        (GOOD.replace("started ", ""), "completed", "I7"),
        (GOOD.replace("open_order", "x").replace("validate_products", "open_order"), "completed", "I7"),
        (REFUSED.replace("|undone:release_inventory", ""), "compensated", "I6"),
        (REFUSED.replace("|undone:cancel_order", "|undone:refund_payment"), "compensated", "I6"),
        (
            REFUSED.replace("|undone:cancel_order", "|undone:cancel_order|undone:cancel_order"),
            "compensated",
            "I6",
        ),
        (REVERSED, "compensated", "I6"),
        (GOOD.replace(" completed", " undone:cancel_order completed"), "completed", "I6"),
    ],
)
def test_what_is_no_path_is_found(text: str, status: str, invariant: str) -> None:
    assert invariant in found(text, status)


def test_a_gap_in_the_revisions_is_found() -> None:
    assert found(GOOD, "completed", revision=9) == ["I7"]
    lines = [line for line in journal(GOOD) if line.revision != 3]
    assert "I7" in [invariant for invariant, _ in judged("create_order", "completed", 6, lines)]


def test_a_saga_without_a_journal_is_found() -> None:
    assert judged("create_order", "running", 1, []) == [("I7", "has no journal")]
