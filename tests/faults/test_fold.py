"""Holds the auditor's own fold against the read model's, on any events: two that know nothing of each other agree."""

import json
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from libs.contracts.message import Contract
from libs.messaging.message import Message
from order_history.domain.history import Histories
from order_history.store import fold as store
from tests.faults.fold import Folded
from tests.order_history.stories import retold, tellings
from tests.order_history.test_domain import fold

SAVED = (
    *("status", "rank", "updated_at", None, "user_id", "payment_method_id", "created_at", None, "lines"),
    *("total_minor", "currency", None, "reason_code", "reason", None, "payment_id", "payment_rank"),
)
"""What the store's row holds after the order's id and whether it was loaded; provenance is its own affair."""


def audited(messages: list[Message[Contract]]) -> Folded:
    folded = Folded()
    for message in messages:
        body = json.loads(message.body.model_dump_json())
        folded.see(message.body.wire, str(message.id), message.time, body)
    return folded


def rows(histories: Histories) -> dict[str, object]:
    [(order_id, history)] = histories.orders.items()
    saved = dict(zip(SAVED, store._row(order_id, False, history)[2:], strict=True))
    lines = saved["lines"]
    plain = {name: str(value) if isinstance(value, UUID) else value for name, value in saved.items() if name}
    return plain | {"lines": None if lines is None else json.loads(str(lines))}


@given(st.data())
def test_both_fold_alike(data: st.DataObject) -> None:
    messages = data.draw(tellings())
    mine, theirs = audited(data.draw(retold(messages))), fold(messages)
    assert mine.row() == rows(theirs)
    entries = {
        entry.event: (str(entry.ce_id), entry.at, None if entry.detail is None else json.loads(entry.detail))
        for entry in theirs.entries.values()
    }
    assert mine.timeline == entries
