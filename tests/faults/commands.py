"""What was really sent: I6 by the command topics, whatever the journal says about it."""

from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Final

from tests.faults.books import Books
from tests.faults.platform import COMMAND_TOPICS, EVENT_TOPICS, Platform
from tests.faults.violation import Violation

UNDONE_BY: Final = MappingProxyType(
    {
        "order.CreateOrder.v1": "order.CancelOrder.v1",
        "inventory.ReserveInventory.v1": "inventory.ReleaseInventory.v1",
        "payment.ProcessPayment.v1": "payment.RefundPayment.v1",
    }
)
"""What undoes which command, in the order in which the commands are sent."""

REFUSED_BY: Final = MappingProxyType(
    {
        "order.OrderCreateFailed.v1": "order.CreateOrder.v1",
        "inventory.InventoryReserveFailed.v1": "inventory.ReserveInventory.v1",
        "payment.PaymentFailed.v1": "payment.ProcessPayment.v1",
    }
)
BACKWARD: Final = (
    "payment.RefundPayment.v1",
    "inventory.ReleaseInventory.v1",
    "order.CancelOrder.v1",
)
COMPLETES: Final = "order.CompleteOrder.v1"
NOTICE: Final = "order.BeginCancellation.v1"
SAGAS: Final = """
    SELECT id::text, type, status, finished_at FROM sagas WHERE business_key >= %s AND finished_at IS NOT NULL
"""


DOING: Final = frozenset((*UNDONE_BY, *UNDONE_BY.values(), COMPLETES, NOTICE, "product.ValidateProducts.v1"))


@dataclass(slots=True)
class Sent:
    """What one saga sent, each command at its first time, and which steps were refused."""

    first: dict[str, datetime] = field(default_factory=dict)
    last: datetime | None = None
    refused: set[str] = field(default_factory=set)

    def see(self, wire: str, at: datetime, body: bytes = b"") -> None:
        """A command or an answer as it lies in a topic."""
        if wire in REFUSED_BY and b'"already_undone"' not in body:
            self.refused.add(REFUSED_BY[wire])
        elif wire in DOING:
            self.first[wire] = min(self.first.get(wire, at), at)
            self.last = max(self.last or at, at)


async def commands(platform: Platform, before: Books) -> AsyncIterator[Violation]:
    """I6: what was sent to undo is what was sent to do and not refused, backwards; nothing is sent after the end.

    Partitions that no longer begin with their first record tell only half of it, and are left out.
    """
    cut = await platform.cut((*COMMAND_TOPICS, *EVENT_TOPICS))
    sagas = {row[0]: row[1:] for row in await platform.rows("order_saga", SAGAS, [before.first_order])}
    sent: dict[str, Sent] = defaultdict(Sent)
    halved: set[str] = set()
    async for record in platform.records((*COMMAND_TOPICS, *EVENT_TOPICS)):
        saga = record.headers.get("saga_id", "")
        if saga not in sagas:
            continue
        if record.partition in cut:
            halved.add(saga)
        at = moment(record.headers.get("ce_time"))
        if at is not None:
            sent[saga].see(record.headers.get("ce_type", ""), at, record.value or b"")
    for saga, (kind, status, finished_at) in sagas.items():
        if saga not in halved:
            for finding in judged(kind, status, finished_at, sent[saga]):
                yield Violation("I6", f"saga {saga}", finding)


def judged(kind: str, status: str, finished_at: datetime, sent: Sent) -> list[str]:
    """What is wrong with what one saga sent."""
    wrong = []
    if sent.last is not None and sent.last > finished_at:
        wrong.append(f"sent a command at {sent.last}, had ended at {finished_at}")
    undone = [wire for wire in sent.first if wire in BACKWARD]
    order = sorted(undone, key=lambda wire: (sent.first[wire], BACKWARD.index(wire)))
    match kind, status:
        case "create_order", "completed":
            if undone or COMPLETES not in sent.first:
                wrong.append(f"completed, having sent {_names(sent.first)}")
        case "create_order", _:
            if order not in (expected := _expected(sent)):
                wrong.append(
                    f"undid {_names(order)}, was to undo {' or '.join(map(str, map(_names, expected)))}"
                )
        case _, "completed":
            if order != list(BACKWARD):
                wrong.append(f"cancelled by {_names(order)}")
        case _:
            if order:
                wrong.append(f"did not cancel, and sent {_names(order)}")
    return wrong


def _expected(sent: Sent) -> list[list[str]]:
    """What a saga that turned back may have undone; one whose start was never seen only tells the order service.

    A refusal that came after its step's deadline did not spare the step; which of both it was, the topics do not
    tell, but the journal does (paths.py).
    """
    done = [wire for wire in UNDONE_BY if wire in sent.first]
    if not done:
        return [[UNDONE_BY["order.CreateOrder.v1"]]]
    spared = [wire for wire in done if wire not in sent.refused]
    return [[UNDONE_BY[wire] for wire in reversed(these)] for these in (spared, done)]


def moment(text: str | None) -> datetime | None:
    """A time as a header has it; None where it is none."""
    try:
        return datetime.fromisoformat(text or "")
    except ValueError:
        return None


def _names(wires: Mapping[str, datetime] | Sequence[str]) -> list[str]:
    return [wire.split(".")[1] for wire in wires]
