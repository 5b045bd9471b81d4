"""The benchmark's own path, small: a filled shop, a load in a process of its own, counters, result and report."""

import json
from pathlib import Path

from bench.measure import measured
from bench.plan import Plan
from bench.report import header, row, stored
from bench.shop import buyers, filled
from bench.stack import Stack, StackInfo


async def a_plan(stack: Stack, info: StackInfo, folder: Path) -> Plan:
    """Sixty orders, at most ten under way; a third of them wait for their end over HTTP."""
    shop = await filled(info, folder, products=6, customers=6, broke=1)
    return Plan(
        gateway_url=info.gateway_url,
        kafka_bootstrap=info.kafka_bootstrap,
        buyers=await buyers(info, folder),
        products=shop.products,
        loop="closed",
        seconds=60.0,
        in_flight=10,
        orders=60,
        seen_share=0.33,
    )


async def test_a_small_load_is_measured_without_a_fault(
    stack: Stack, info: StackInfo, tmp_path: Path
) -> None:
    result = await measured("smoke", "10", stack, await a_plan(stack, info, tmp_path))
    assert (result.errors, result.complaints, result.books) == (0, [], [])
    assert result.orders == 60
    assert result.completed + result.refused == 60
    assert sum(result.histogram.values()) == 60
    assert 0 < result.post_p50_ms < result.p50_ms <= result.p95_ms <= result.p99_ms
    assert result.seen_p50_ms > 0
    assert result.transactions_per_saga > 0
    assert result.wal_bytes_per_saga > 0
    assert result.cpu_ms_by_process.keys() >= {"gateway", "order_saga", "postgres", "kafka"}
    assert result.records_per_batch.keys() >= {"order_saga", "inventory", "order_history"}
    assert all(memory > 10 for memory in result.memory_mb_by_process.values())
    assert header().split()[0] == "scenario"
    assert "balance" in row(result)
    file = stored([result], tmp_path / "results", {"cores": 2})
    [kept] = json.loads(file.read_text())["results"]
    assert kept["sagas_per_s"] == result.sagas_per_s
    assert kept.keys() >= {"sagas_per_s", "p50_ms", "p95_ms", "p99_ms", "cpu_ms_per_saga", "errors"}
    assert {png.name.rsplit("-", 1)[1] for png in file.parent.glob("*.png")} == {"latency.png", "cpu.png"}


async def test_an_open_loop_keeps_its_schedule(stack: Stack, info: StackInfo, tmp_path: Path) -> None:
    closed = await a_plan(stack, info, tmp_path)
    plan = Plan(
        gateway_url=closed.gateway_url,
        kafka_bootstrap=closed.kafka_bootstrap,
        buyers=closed.buyers,
        products=closed.products,
        loop="open",
        rate=50.0,
        seconds=30.0,
        orders=40,
        seed=7,
    )
    result = await measured("smoke", "50/s", stack, plan)
    assert (result.errors, result.orders, result.books) == (0, 40, [])
