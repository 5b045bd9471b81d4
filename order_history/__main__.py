"""`python -m order_history rebuild`: make the read model anew from the events, while it is in use.

DATABASE_OWNER_URL and KAFKA_BOOTSTRAP_SERVERS say where; without them the stack of STACK_DIR is meant. The
events are the truth: where the live tables differ, the difference is shown and goes away with the swap. Only
when rows would be lost, because the topics no longer hold their events, nothing is changed.
"""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from libs.messaging.errors import MessagingError
from order_history.rebuild import Rebuild, RebuildRefused, Report
from order_history.rebuild.progress import Progress
from order_history.store.shadow import Difference


@dataclass(frozen=True, slots=True)
class Place:
    """Where the read model and its events are."""

    dsn: str
    bootstrap_servers: str
    topic_prefix: str


def main() -> int:
    """Return the exit code: 0 when the tables were swapped or, only compared, are equal."""
    parser = argparse.ArgumentParser(prog="python -m order_history", description=__doc__)
    parser.add_argument("action", choices=["rebuild"])
    parser.add_argument(
        "--compare-only", action="store_true", help="hold both against each other and swap nothing"
    )
    parser.add_argument(
        "--accept-losses", action="store_true", help="swap even where rows would be lost or fall back"
    )
    given = parser.parse_args()
    progress = Progress(sys.stderr, "events")
    try:
        place = _place(os.environ)
        rebuild = Rebuild(place.dsn, place.bootstrap_servers, place.topic_prefix, progress)
        report = asyncio.run(rebuild.run(swap=not given.compare_only, accept_losses=given.accept_losses))
    except (RebuildRefused, MessagingError, psycopg.Error) as error:
        sys.stderr.write(f"\nNot rebuilt: {error}\n")
        return 1
    progress.close()
    sys.stdout.write(f"{_described(report)}\n")
    return 0 if report.swapped or not any(report.differences) else 1


def _place(environ: Mapping[str, str]) -> Place:
    prefix = environ.get("TOPIC_PREFIX", "")
    if dsn := environ.get("DATABASE_OWNER_URL"):
        return Place(dsn, environ.get("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:9092"), prefix)
    file = Path(environ.get("STACK_DIR", ".stack")) / "stack.json"
    if not file.exists():
        raise RebuildRefused("DATABASE_OWNER_URL is not set, and no stack is running here.")
    stack = json.loads(file.read_text())
    dsn = make_conninfo(stack["postgres_admin"], dbname="order_history")
    return Place(dsn, stack["kafka_bootstrap"], prefix)


def _described(report: Report) -> str:
    waited = f"folding waited {report.held_seconds * 1_000:.0f} ms for the comparison"
    lines = [f"{report.records:,} events folded in {report.seconds:.1f} s; {waited}."]
    if report.left_out:
        lines.append(f"{report.left_out:,} records were left out: nobody can read them.")
    lines += [_difference(one) for one in report.differences if one]
    equal = "" if any(report.differences) else "Row for row equal. "
    lines.append(equal + ("Swapped." if report.swapped else "Nothing was swapped."))
    return "\n".join(lines)


def _difference(found: Difference) -> str:
    counts = f"{found.added:,} rows added, {found.changed:,} changed, {found.lost:,} lost or taken back"
    return f"{found.table}: {counts}; for instance of {', '.join(found.examples)}"


if __name__ == "__main__":
    sys.exit(main())
