"""What the topics tell: the read model is the fold of the events, nothing lags, dead letters are the known ones."""

import json
from collections import defaultdict
from collections.abc import AsyncIterator, Collection
from datetime import datetime
from typing import Final
from uuid import UUID

from tests.faults.books import Books
from tests.faults.commands import moment
from tests.faults.fold import COLUMNS, MEANINGS, Folded
from tests.faults.platform import COMMAND_TOPICS, CONSUMERS, EVENT_TOPICS, Lain, Platform
from tests.faults.violation import Violation

HISTORY: Final = """
    SELECT order_id, status, rank, user_id::text, payment_method_id::text, created_at, updated_at, lines,
           total_minor, currency, reason_code, reason, payment_id::text, payment_rank
    FROM orders WHERE order_id >= %s
"""
TIMELINE: Final = "SELECT order_id, event, ce_id::text, at, detail FROM order_timeline WHERE order_id >= %s"
UNREAD: Final = 'SELECT topic, partition, "offset" FROM dead_letters WHERE redriven_at IS NULL'
OFFSETS: Final = "SELECT topic, partition, next_offset FROM consumer_offsets"
DEAD: Final = 'SELECT topic, partition, "offset", reason FROM dead_letters WHERE id > %s ORDER BY id'


async def read_model(platform: Platform, before: Books) -> AsyncIterator[Violation]:
    """I8: every order and every line of its timeline is, field by field, what the events from zero on tell.

    What the read model could not read, and buried, tells nothing.
    """
    folded = await _folded(platform, before)
    shown = {row[0]: row[1:] for row in await platform.rows("order_history", HISTORY, [before.first_order])}
    timelines: dict[UUID, dict[str, tuple[str, datetime, object]]] = defaultdict(dict)
    for order, event, message, at, detail in await platform.rows(
        "order_history", TIMELINE, [before.first_order]
    ):
        timelines[order][event] = (message, at, detail)
    for order in folded.keys() - shown.keys():
        yield Violation("I8", f"order {order}", "has events and no history")
    for order, row in shown.items():
        told = folded.get(order)
        if told is None:
            yield Violation("I8", f"order {order}", "has a history and no events")
            continue
        for name, is_shown in zip(COLUMNS, row, strict=True):
            if is_shown != (tells := told.row()[name]):
                yield Violation("I8", f"order {order}", f"{name} is {is_shown!r}, its events tell {tells!r}")
        for event in sorted(timelines[order].keys() | told.timeline.keys()):
            line, entry = timelines[order].get(event), told.timeline.get(event)
            if line != entry:
                yield Violation("I8", f"order {order}", f"{event} is {line!r}, its events tell {entry!r}")


async def _folded(platform: Platform, before: Books) -> dict[UUID, Folded]:
    unread = {tuple(row) for row in await platform.rows("order_history", UNREAD)}
    folded: dict[UUID, Folded] = defaultdict(Folded)
    async for record in platform.records(EVENT_TOPICS):
        body, order, at = _body(record), _order(record), moment(record.headers.get("ce_time"))
        wire = record.headers.get("ce_type", "")
        if wire not in MEANINGS or (record.topic, record.partition, record.offset) in unread:
            continue
        if body is not None and at is not None and order is not None and order >= before.first_order:
            folded[order].see(wire, record.headers.get("ce_id", "").lower(), at, body)
    return dict(folded)


async def lag(platform: Platform) -> AsyncIterator[Violation]:
    """I13: every consumer has read its topics to the end."""
    ends = await platform.ends((*COMMAND_TOPICS, *EVENT_TOPICS))
    for service in CONSUMERS:
        for topic, partition, following in await platform.rows(service, OFFSETS):
            end = ends.get((topic, partition))
            if end is not None and following != end:
                yield Violation("I13", f"{service} {topic}/{partition}", f"is at {following} of {end}")


async def dead_letters(
    platform: Platform, before: Books, poison: Collection[tuple[str, int, int]]
) -> AsyncIterator[Violation]:
    """I11: each injected poison is a dead letter of somebody, and nothing else is one."""
    found: set[tuple[str, int, int]] = set()
    for service in CONSUMERS:
        known = before.dead_letters.get(service, 0)
        for topic, partition, offset, reason in await platform.rows(service, DEAD, [known]):
            place = (topic, partition, offset)
            found.add(place)
            if place not in poison:
                yield Violation("I11", f"{service} {topic}/{partition}@{offset}", f"died of {reason}")
    for topic, partition, offset in set(poison) - found:
        yield Violation("I11", f"{topic}/{partition}@{offset}", "poison that nobody buried")


async def secrets(platform: Platform, canaries: Collection[str]) -> AsyncIterator[Violation]:
    """I15, in the topics: no canary in any record."""
    if not canaries:
        return
    dead = tuple(f"{service.replace('_', '-')}-dead-letters" for service in CONSUMERS)
    async for record in platform.records((*COMMAND_TOPICS, *EVENT_TOPICS, *dead)):
        text = (record.value or b"").decode(errors="replace") + " ".join(record.headers.values())
        for canary in canaries:
            if canary in text:
                yield Violation("I15", f"{record.topic}/{record.partition}@{record.offset}", "holds a secret")


def _order(record: Lain) -> UUID | None:
    try:
        return UUID((record.key or b"").decode())
    except ValueError:
        return None


def _body(record: Lain) -> dict[str, object] | None:
    try:
        body = json.loads(record.value or b"")
    except ValueError:
        return None
    return body if isinstance(body, dict) else None
