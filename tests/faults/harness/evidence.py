"""What is known of orders that something is wrong with: their rows in every database and their records."""

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

from psycopg.rows import dict_row

from tests.faults.harness import sql
from tests.faults.harness.stage import Stage
from tests.faults.platform import COMMAND_TOPICS, EVENT_TOPICS, databases_at, platform

AN_ID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
MOST: Final = 8
TABLES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "gateway": (
            "SELECT * FROM idempotency_keys WHERE order_id = ANY(%s)",
            "SELECT * FROM order_intents WHERE order_id = ANY(%s)",
        ),
        "order_saga": (
            "SELECT * FROM sagas WHERE business_key = ANY(%s)",
            (
                "SELECT j.* FROM saga_journal j JOIN sagas s ON s.id = j.saga_id WHERE s.business_key = ANY(%s)"
                " ORDER BY j.saga_id, j.revision, j.seq"
            ),
        ),
        "order": ("SELECT * FROM orders WHERE id = ANY(%s)",),
        "inventory": ("SELECT * FROM holds WHERE order_id = ANY(%s)",),
        "payment": (
            "SELECT * FROM payments WHERE order_id = ANY(%s)",
            "SELECT * FROM payment_attempts WHERE order_id = ANY(%s)",
            "SELECT * FROM ledger_entries WHERE order_id = ANY(%s)",
        ),
        "order_history": (
            "SELECT * FROM orders WHERE order_id = ANY(%s)",
            "SELECT * FROM order_timeline WHERE order_id = ANY(%s)",
        ),
    }
)


async def evidence(stage: Stage, findings: Iterable[str]) -> dict[str, Any]:
    """Everything about the first few orders that are named; by table, and the records in their order."""
    named = dict.fromkeys(UUID(found) for text in findings for found in AN_ID.findall(text))
    orders = list(named)[:MOST]
    if not orders:
        return {}
    gathered: dict[str, Any] = {}
    for service, queries in TABLES.items():
        async with sql.session(stage.admin_dsn, service) as session:
            for query in queries:
                cursor = session.cursor(row_factory=dict_row)
                await cursor.execute(query.encode(), [orders])
                gathered[f"{service}: {query.partition('FROM ')[2]}"] = await cursor.fetchall()
    keys = {str(order).encode() for order in orders}
    async with platform(databases_at(stage.admin_dsn), stage.bootstrap) as seen:
        gathered["records"] = [
            {
                "place": f"{record.topic}/{record.partition}@{record.offset}",
                "key": record.key.decode() if record.key else None,
                "headers": dict(record.headers),
                "value": (record.value or b"").decode(errors="replace"),
            }
            async for record in seen.records((*COMMAND_TOPICS, *EVENT_TOPICS))
            if record.key in keys
        ]
    return gathered
