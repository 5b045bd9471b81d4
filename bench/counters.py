"""What a running stack has used so far: CPU and memory by process, transactions, statements, WAL, Kafka requests and bytes."""

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psycopg
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from bench.http import Client, ConnectionLostError
from bench.stack import StackInfo

TICKS: Final = os.sysconf("SC_CLK_TCK")
PAGE: Final = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Counters:
    """One reading; CPU in seconds, memory and bytes in bytes; the rest as services count it."""

    cpu: Mapping[str, float]
    memory: Mapping[str, int]
    transactions: Mapping[str, int]
    wal_bytes: int
    kafka_bytes: int
    records: Mapping[str, float] = field(default_factory=dict)
    batches: Mapping[str, float] = field(default_factory=dict)
    statements: Mapping[str, float] = field(default_factory=dict)
    kafka_requests: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stat:
    """What /proc tells of one process."""

    parent: int
    own: int
    with_dead_children: int
    resident: int


async def read(info: StackInfo) -> Counters:
    """Read everything once."""
    table = _processes()
    children: dict[int, list[int]] = defaultdict(list)
    for pid, stat in table.items():
        children[stat.parent].append(pid)
    named: dict[int, list[str]] = defaultdict(list)
    for name, pid in info.pids.items():
        named[pid].append(name)
    trees = {" + ".join(names): list(_tree(pid, table, children)) for pid, names in named.items()}
    transactions, wal_bytes = await _postgres(info.postgres_admin)
    metrics = {name: await _metrics(url) for name, url in info.service_urls.items()}
    return Counters(
        cpu={name: _cpu(tree, table) for name, tree in trees.items()},
        memory={name: _memory(tree, table) for name, tree in trees.items()},
        transactions=transactions,
        wal_bytes=wal_bytes,
        kafka_bytes=await _kafka_bytes(info.kafka_bootstrap),
        records=_figure("batch_records_sum", metrics),
        batches=_figure("batch_records_count", metrics),
        statements=_figure("postgres_statements_total", metrics),
        kafka_requests=_figure("kafka_requests_total", metrics),
    )


def used(before: Counters, after: Counters) -> Counters:
    """What was used between two readings; memory is the later reading's."""
    return Counters(
        cpu=_each_since(before.cpu, after.cpu),
        memory=after.memory,
        transactions={
            name: count - before.transactions.get(name, 0) for name, count in after.transactions.items()
        },
        wal_bytes=after.wal_bytes - before.wal_bytes,
        kafka_bytes=after.kafka_bytes - before.kafka_bytes,
        records=_each_since(before.records, after.records),
        batches=_each_since(before.batches, after.batches),
        statements=_each_since(before.statements, after.statements),
        kafka_requests=_each_since(before.kafka_requests, after.kafka_requests),
    )


def _figure(name: str, metrics: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """One figure of every service; nothing where a service did not answer or does not count it."""
    return {service: found.get(name, 0.0) for service, found in metrics.items()}


def _each_since(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    return {name: _since(before.get(name, 0.0), count) for name, count in after.items()}


def _since(before: float, after: float) -> float:
    """What was used since; a process that was started again began at nothing."""
    return after - before if after >= before else after


def _processes() -> dict[int, Stat]:
    table: dict[int, Stat] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended while the folder was read
        user, system, dead_user, dead_system = (int(field) for field in fields[11:15])
        table[int(entry.name)] = Stat(
            parent=int(fields[1]),
            own=user + system,
            with_dead_children=user + system + dead_user + dead_system,
            resident=int(fields[21]) * PAGE,
        )
    return table


def _tree(pid: int, table: Mapping[int, Stat], children: Mapping[int, list[int]]) -> Iterable[int]:
    if pid in table:
        yield pid
        for child in children.get(pid, []):
            yield from _tree(child, table, children)


def _cpu(tree: Iterable[int], table: Mapping[int, Stat]) -> float:
    """The whole tree, and the children that it has already buried: PostgreSQL's backends come and go."""
    return sum(table[pid].with_dead_children for pid in tree) / TICKS


def _memory(tree: list[int], table: Mapping[int, Stat]) -> int:
    """Proportional set size, which counts PostgreSQL's shared buffers once; resident size where it is hidden."""
    return sum(_proportional(pid) or table[pid].resident for pid in tree)


def _proportional(pid: int) -> int | None:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), None)


async def _postgres(admin_dsn: str) -> tuple[dict[str, int], int]:
    async with await psycopg.AsyncConnection.connect(admin_dsn, autocommit=True) as session:
        cursor = await session.execute(
            "SELECT datname, xact_commit FROM pg_stat_database WHERE datname IS NOT NULL"
            " AND datname NOT IN ('postgres', 'template0', 'template1')"
        )
        transactions = {str(name): int(count) for name, count in await cursor.fetchall()}
        cursor = await session.execute("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint")
        row = await cursor.fetchone()
        return transactions, int(row[0]) if row else 0


async def _metrics(url: str) -> dict[str, float]:
    """A service's figures without labels; none where it does not answer."""
    client = Client(url)
    try:
        text = (await client.request("GET", "/metrics")).body.decode()
    except (OSError, ConnectionLostError, TimeoutError):
        return {}
    finally:
        client.close()
    lines = [line.split() for line in text.splitlines() if not line.startswith("#")]
    return {line[0]: float(line[1]) for line in lines if len(line) == 2 and "{" not in line[0]}  # noqa: PLR2004


async def _kafka_bytes(bootstrap: str) -> int:
    """The size of the broker's segments on this machine; 0 where they lie elsewhere."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        described = await admin.describe_configs([ConfigResource(ConfigResourceType.BROKER, "1")])
        settings = {entry[0]: entry[1] for entry in described[0].resources[0][4]}
        folders = str(settings.get("log.dirs") or settings.get("log.dir") or "").split(",")
    finally:
        await admin.close()
    return sum(_segments(Path(folder)) for folder in folders if folder)


def _segments(folder: Path) -> int:
    total = 0
    for segment in folder.glob("*/*.log"):
        if segment.parent.name.startswith("__"):
            continue
        try:
            total += segment.stat().st_size
        except FileNotFoundError:
            continue  # retention took it
    return total
