"""The independent auditor: reads databases and topics with its own SQL, imports nothing of the platform.

    python -m tests.faults.auditor open  .stack > books.json
    python -m tests.faults.auditor audit .stack books.json

prints what it finds, a line each, and ends with 1 when there is anything. As a library: `opened` before,
`audit` after. The invariants are those of the reliability promises, I1 to I16; I3 and I9 hold at quiet only.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from uuid import UUID

from tests.faults import books, bounds, commands, eyes, logs, outcomes, paths, topics
from tests.faults.books import Books
from tests.faults.bounds import Samples
from tests.faults.eyes import Eyes
from tests.faults.platform import CONSUMERS, DATABASES, Platform, databases_at, platform
from tests.faults.violation import Violation

__all__ = ["Books", "Eyes", "Given", "Violation", "audit", "inspect", "opened"]


@dataclass(frozen=True, slots=True)
class Given:
    """What only those who made the load know.

    `acknowledged` are the orders that were answered 202, `keys` the order that each idempotency key was answered
    with (several when it was answered differently), `poison` the places of records that must be dead letters,
    `canaries` secrets that must show up nowhere, `log_folder` where the services' logs lie, `memory` what each
    process used over time, `taken_from_cards` what the card provider says that it holds, in minor units, `eyes`
    customers of the gateway at `gateway_url`, and which orders are theirs.
    """

    acknowledged: frozenset[UUID] = frozenset()
    keys: Mapping[str, frozenset[UUID]] | None = None
    poison: frozenset[tuple[str, int, int]] = frozenset()
    canaries: frozenset[str] = frozenset()
    log_folder: Path | None = None
    taken_from_cards: int | None = None
    memory: Mapping[str, Samples] = field(default_factory=dict)
    eyes: Sequence[Eyes] = ()
    gateway_url: str = ""


NOTHING = Given()


async def opened(admin_dsn: str, *, dsns: Mapping[str, str] | None = None) -> Books:
    """The books as they stand now; to be taken at quiet, before the load."""
    async with platform(dsns or databases_at(admin_dsn)) as seen:
        [(now,)] = await seen.rows("order_saga", "SELECT clock_timestamp()")
        buried = {
            service: await seen.scalar(service, "SELECT coalesce(max(id), 0) FROM dead_letters")
            for service in CONSUMERS
        }
        return Books(now, await books.read_stock(seen), buried, await bounds.rows(seen))


async def audit(
    admin_dsn: str,
    before: Books,
    given: Given = NOTHING,
    *,
    bootstrap: str | None = None,
    prefix: str = "",
    dsns: Mapping[str, str] | None = None,
    deep: bool = True,
) -> list[Violation]:
    """Everything that is wrong, sorted; what needs the topics is left out where no broker is named.

    `deep` false leaves out what reads every journal line and every record.
    """
    async with platform(dsns or databases_at(admin_dsn), bootstrap, prefix) as seen:
        return await inspect(seen, before, given, deep=deep)


async def inspect(
    seen: Platform, before: Books, given: Given = NOTHING, *, deep: bool = True
) -> list[Violation]:
    """The same on sessions that are open already."""
    checks = [
        books.money(seen),
        books.cards(seen, given.taken_from_cards),
        books.stock(seen, before),
        outcomes.orders(seen, before, given.acknowledged),
        _quiet(seen),
        _keys(seen, given),
        bounds.memory(given.memory),
        bounds.tables(seen, before),
        eyes.see(given.gateway_url, given.eyes),
    ]
    if deep:
        checks.append(paths.paths(seen, before))
    if given.log_folder is not None:
        checks.append(logs.secrets(given.log_folder, given.canaries))
    if seen.has_topics:
        checks += [topics.lag(seen), topics.dead_letters(seen, before, given.poison)]
    if seen.has_topics and deep:
        checks += [
            topics.read_model(seen, before),
            topics.secrets(seen, given.canaries),
            commands.commands(seen, before),
        ]
    return sorted([violation for check in checks async for violation in check])


async def _quiet(seen: Platform) -> AsyncIterator[Violation]:
    """I9: nothing waits to be sent, and nothing is parked."""
    for service in DATABASES:
        waiting = await seen.scalar(service, "SELECT count(*) FROM outbox")
        if waiting:
            yield Violation("I9", service, f"{waiting} rows in the outbox")
    for service in CONSUMERS:
        parked = await seen.scalar(service, "SELECT count(*) FROM parked_messages")
        if parked:
            yield Violation("I9", service, f"{parked} parked messages")


async def _keys(seen: Platform, given: Given) -> AsyncIterator[Violation]:
    """I12: one order per idempotency key, and one key per order."""
    for key, orders in (given.keys or {}).items():
        if len(orders) > 1:
            yield Violation("I12", f"key {key}", f"was answered with {sorted(map(str, orders))}")
    doubled = await seen.rows(
        "gateway",
        "SELECT order_id::text, count(*) FROM idempotency_keys WHERE route LIKE 'POST /api/orders'"
        " GROUP BY order_id HAVING count(*) > 1",
    )
    for order, count in doubled:
        yield Violation("I12", f"order {order}", f"has {count} idempotency keys")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.auditor")
    actions = parser.add_subparsers(dest="action", required=True)
    both = [actions.add_parser("open"), actions.add_parser("audit")]
    for one in both:
        one.add_argument("stack", type=Path, help="the stack's folder, with stack.json in it")
    both[1].add_argument("books", type=Path, help="what `open` printed before the load")
    return parser.parse_args()


def _main() -> int:
    arguments = _arguments()
    stack = json.loads((arguments.stack / "stack.json").read_text())
    if arguments.action == "open":
        now = asyncio.run(opened(stack["postgres_admin"]))
        kept = {
            "since": now.since.isoformat(),
            "stock": now.stock,
            "dead_letters": now.dead_letters,
            "rows": now.rows,
        }
        sys.stdout.write(json.dumps(kept) + "\n")
        return 0
    kept = json.loads(arguments.books.read_text())
    since = datetime.fromisoformat(kept["since"])
    before = Books(since, kept["stock"], kept["dead_letters"], kept["rows"])
    found = asyncio.run(audit(stack["postgres_admin"], before, bootstrap=stack["kafka_bootstrap"]))
    sys.stdout.writelines(f"{violation}\n" for violation in found)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(_main())
