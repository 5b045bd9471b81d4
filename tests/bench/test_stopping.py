"""A benchmark that is ended by a job's time limit leaves nothing running."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from bench.stack import Stack, runs
from tests.conftest import free_offset
from tests.support.waiting import eventually

pytestmark = pytest.mark.integration

SECONDS = 60.0


async def test_a_benchmark_that_is_told_to_stop_stops_its_stack(tmp_path: Path) -> None:
    offset = free_offset()
    stack = Stack(tmp_path / "stack", port_offset=offset)
    told = {"BENCH_STACK_DIR": str(stack.folder), "BENCH_PORT_OFFSET": str(offset), "SCENARIO": "peak"}
    bench = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench", env={**os.environ, **told}, stdout=asyncio.subprocess.DEVNULL
    )

    async def started() -> bool:
        return (stack.folder / "stack.json").exists()

    try:
        await eventually(started, within=SECONDS)
        pids = stack.info.pids.values()
        bench.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(bench.wait(), SECONDS) == 128 + signal.SIGTERM
        assert pids
        assert not any(map(runs, pids))
    finally:
        await stack.clean()
