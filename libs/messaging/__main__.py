"""`python -m libs.messaging create-topics | order <order id>`: what is done to the topics from a shell.

    KAFKA_BOOTSTRAP_SERVERS     the broker, 127.0.0.1:9092 by default
    TOPIC_PREFIX                before every topic's name
    TOPIC_PARTITIONS            of a topic that is created, 3 by default
    TOPIC_COPIES                replicas of a topic that is created, 1 by default; one less of them must be in sync

`create-topics` makes what is missing and leaves the rest as it is. `order` shows an order's messages in all topics, in
order of time; with --json a line for each, headers and value included.
"""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from uuid import UUID

from libs.messaging.errors import BrokerUnavailable
from libs.messaging.topics import create_topics
from libs.messaging.trail import told, trail


async def _create(environ: Mapping[str, str]) -> None:
    copies = int(environ.get("TOPIC_COPIES") or 1)
    made = await create_topics(
        _bootstrap(environ),
        partitions=int(environ.get("TOPIC_PARTITIONS") or 3),
        replication_factor=copies,
        min_insync_replicas=max(1, copies - 1),
        prefix=environ.get("TOPIC_PREFIX", ""),
    )
    sys.stdout.write(f"{len(made)} topics created: {', '.join(made) or 'all were there'}\n")


async def _show(environ: Mapping[str, str], order_id: UUID, *, as_json: bool) -> int:
    found = await trail(_bootstrap(environ), order_id, prefix=environ.get("TOPIC_PREFIX", ""))
    if as_json:
        lines = [json.dumps(asdict(each), default=str, ensure_ascii=False) for each in found]
    else:
        lines = list(told(order_id, found))
    sys.stdout.writelines(f"{line}\n" for line in lines)
    return 0 if found else 1


def _bootstrap(environ: Mapping[str, str]) -> str:
    return environ.get("KAFKA_BOOTSTRAP_SERVERS") or "127.0.0.1:9092"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m libs.messaging")
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("create-topics", help="create what is missing")
    order = actions.add_parser("order", help="the messages of one order")
    order.add_argument("id", type=UUID)
    order.add_argument("--json", action="store_true", help="a line of JSON for each, with headers and value")
    return parser


def main(arguments: Sequence[str], environ: Mapping[str, str] = os.environ) -> int:
    """Do what the command line says; 1 when the broker is away, or has nothing of the order."""
    given = _parser().parse_args(arguments)
    try:
        if given.action == "create-topics":
            asyncio.run(_create(environ))
            return 0
        return asyncio.run(_show(environ, given.id, as_json=given.json))
    except (BrokerUnavailable, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
