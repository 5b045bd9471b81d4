"""Whether every saga's journal is a path that its definition allows: I6 and I7, by tables of the auditor's own."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from types import MappingProxyType
from typing import Final

from tests.faults.books import Books
from tests.faults.platform import Platform
from tests.faults.violation import Violation

FORWARD: Final = MappingProxyType(
    {
        "create_order": (
            "open_order",
            "grace_period",
            "validate_products",
            "reserve_inventory",
            "process_payment",
            "complete_order",
        ),
        "cancel_completed_order": (
            "begin_cancellation",
            "refund_payment",
            "release_inventory",
            "cancel_order",
        ),
    }
)
UNDO: Final = MappingProxyType(
    {
        "open_order": "cancel_order",
        "reserve_inventory": "release_inventory",
        "process_payment": "refund_payment",
    }
)
"""What undoes which step of create_order; the other saga undoes nothing."""

NO_RETURN: Final = MappingProxyType(
    {"create_order": "complete_order", "cancel_completed_order": "refund_payment"}
)
ENDS: Final = frozenset({"completed", "compensated"})
AFTERWARDS: Final = frozenset(
    {
        "late",
        "stale",
        "repeated",
        "unexpected",
        "notice_answered",
        "cancel_passed_on",
        "cancel_requested",
        "operator",
    }
)
"""What may still be written about a saga that has ended; nothing of it is sent."""

JOURNAL: Final = """
    SELECT s.id::text, s.type, s.status, s.revision, j.revision, j.seq, j.kind, j.step
    FROM sagas s LEFT JOIN saga_journal j ON j.saga_id = s.id
    WHERE s.business_key >= %s ORDER BY s.id, j.revision, j.seq
"""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a journal."""

    revision: int
    seq: int
    kind: str
    step: str | None


async def paths(platform: Platform, before: Books) -> AsyncIterator[Violation]:
    """Every saga's journal since the books were opened, judged."""
    rows = await platform.rows("order_saga", JOURNAL, [before.first_order])
    for (saga, kind, status, revision), lines in groupby(rows, key=lambda row: row[:4]):
        journal = [Line(*row[4:]) for row in lines if row[4] is not None]
        for invariant, finding in judged(kind, status, revision, journal):
            yield Violation(invariant, f"saga {saga}", finding)


def judged(saga: str, status: str, revision: int, journal: Sequence[Line]) -> list[tuple[str, str]]:
    """What is wrong with one journal."""
    if not journal:
        return [("I7", "has no journal")]
    return [
        *(("I7", finding) for finding in _numbering(revision, journal)),
        *(("I7", finding) for finding in _ending(saga, status, journal)),
        *(("I7", finding) for finding in _forward(saga, journal)),
        *(("I6", finding) for finding in _backward(saga, status, journal)),
    ]


def _numbering(revision: int, journal: Sequence[Line]) -> list[str]:
    """Revisions go up by one from 1 to the saga's own; so do the lines within one."""
    wrong: list[str] = []
    revisions = sorted({line.revision for line in journal})
    if revisions != list(range(1, revision + 1)):
        wrong.append(f"its revisions are {revisions}, its own is {revision}")
    for number in revisions:
        sequence = [line.seq for line in journal if line.revision == number]
        if sequence != list(range(sequence[0], sequence[0] + len(sequence))):
            wrong.append(f"revision {number} has the lines {sequence}")
    if journal[0].kind != "started":
        wrong.append(f"begins with {journal[0].kind}")
    return wrong


def _ending(saga: str, status: str, journal: Sequence[Line]) -> list[str]:
    """It ends once, as its status says, and nothing runs after the end."""
    ends = [number for number, line in enumerate(journal) if line.kind in ENDS]
    if status not in ENDS:
        return [f"is {status} and has ended {len(ends)} times"] if ends else []
    if [journal[number].kind for number in ends] != [status]:
        return [f"is {status}, and its journal ends {[journal[number].kind for number in ends]}"]
    after = {line.kind for line in journal[ends[0] + 1 :]} - AFTERWARDS
    wrong = [f"after its end: {sorted(after)}"] if after else []
    sent = {line.step for line in journal if line.kind == "sent"}
    if status == "completed" and FORWARD[saga][-1] not in sent:
        wrong.append(f"completed without {FORWARD[saga][-1]}")
    return wrong


def _forward(saga: str, journal: Sequence[Line]) -> list[str]:
    """Steps are sent in the definition's order, each once it may, and answered only when sent."""
    steps = FORWARD[saga]
    turned = next((n for n, line in enumerate(journal) if line.kind == "compensating"), len(journal))
    sent = [line.step for line in journal[:turned] if line.kind in {"sent", "paused"} and line.step in steps]
    expected = [step for step in steps if step in sent]
    wrong = [] if sent == expected else [f"sent {sent}"]
    gaps = [step for step in steps[: len(sent)] if step not in sent and step != "grace_period"]
    if gaps and sent and steps.index(str(sent[-1])) >= len(sent):
        wrong.append(f"sent {sent}, passing over {gaps}")
    answered = [line.step for line in journal if line.kind in {"succeeded", "refused"}]
    unasked = [
        step
        for step in answered
        if step not in {line.step for line in journal if line.kind in {"sent", "paused"}}
    ]
    wrong += [f"{step} answered without being asked" for step in unasked if step != "grace_period"]
    for before, after in pairwise(sent):
        if before not in answered and before != "grace_period":
            wrong.append(f"{after} was sent before {before} had succeeded")
    return wrong


def _backward(saga: str, status: str, journal: Sequence[Line]) -> list[str]:
    """What is undone is what was armed, the newest first, each once."""
    turned = next((n for n, line in enumerate(journal) if line.kind == "compensating"), None)
    cancelled_unseen = any(line.kind == "cancel_requested" and line.revision == 1 for line in journal)
    undoing = [line for line in journal if line.kind == "undone"]
    if turned is None and not cancelled_unseen:
        return [f"undid {[line.step for line in undoing]} without turning back"] if undoing else []
    if saga != "create_order":
        return [f"undid {[line.step for line in undoing]}"] if undoing else []
    forward = journal[: turned if turned is not None else 0]
    refused = {line.step for line in journal if line.kind == "refused"}
    armed = [
        line.step
        for line in forward
        if line.kind == "sent" and line.step in UNDO and line.step not in refused
    ]
    if cancelled_unseen:
        armed = ["open_order"]
    expected = [UNDO[str(step)] for step in reversed(armed)]
    undone = [line.step for line in undoing]
    if status == "compensated" and undone != expected:
        return [f"undid {undone}, armed were {armed}"]
    return []
