"""`python -m bench`: runs the scenarios on a stack of its own and prints and stores what they show.

SCENARIO names one, or several with commas; DURATION is the length of each load in seconds. The stack lies
in BENCH_STACK_DIR and listens BENCH_PORT_OFFSET above the usual ports; it is stopped at the end, and its
data is kept, with the customers that were made once, unless BENCH_FRESH=1 asks for an empty one. Services share
processes as LAYOUT says.
"""

import asyncio
import os
import platform
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from bench.report import header, row, stored
from bench.result import Result
from bench.scenarios import SCENARIOS, Bench
from bench.shop import filled
from bench.stack import ROOT, Stack

LAYOUT: Final = "together"
"""What is measured where nobody chose: the layout that the most goes through (docs/adr/0017)."""


async def main(environ: Mapping[str, str] = os.environ) -> int:
    """Run what was asked for; 1 when an order was lost or the books are off."""
    names = [name for name in environ.get("SCENARIO", "").split(",") if name] or list(SCENARIOS)
    unknown = [name for name in names if name not in SCENARIOS]
    if unknown:
        print(f"SCENARIO={','.join(unknown)}: there are {', '.join(SCENARIOS)}.", file=sys.stderr)
        return 2
    seconds = float(environ.get("DURATION", "30"))
    folder = Path(environ.get("BENCH_STACK_DIR", ROOT / ".stack-bench"))
    layout = environ.get("LAYOUT") or LAYOUT
    offset = int(environ.get("BENCH_PORT_OFFSET", "7000"))
    stack = Stack(folder, port_offset=offset, environment={"LAYOUT": layout})
    if environ.get("BENCH_FRESH") == "1":
        await stack.clean()
    results: list[Result] = []
    try:
        bench = await _prepared(stack, seconds, environ)
        print(header(), flush=True)
        for name in names:
            async for result in SCENARIOS[name](bench):
                results.append(result)
                print(row(result), flush=True)
    finally:
        await stack.down()
        if results:
            cores = float(os.cpu_count() or 0)
            about = {"machine": platform.platform(), "cores": cores, "seconds": seconds, "layout": layout}
            print(f"stored in {stored(results, ROOT / 'bench' / 'results', about)}")
    return int(any(result.errors or result.books for result in results))


async def _prepared(stack: Stack, seconds: float, environ: Mapping[str, str]) -> Bench:
    print("starting the stack …", flush=True)
    info = await stack.up()
    products, customers = int(environ.get("PRODUCTS", "1000")), int(environ.get("CUSTOMERS", "1000"))
    print(f"filling the shop: {products} products, {customers} customers …", flush=True)
    shop = await filled(
        info, stack.folder, products=products, customers=customers, broke=max(1, customers // 10)
    )
    bench = Bench(stack, shop, seconds)
    in_flight = tuple(int(depth) for depth in environ.get("IN_FLIGHT", "").split(",") if depth)
    return Bench(
        stack,
        shop,
        seconds,
        in_flight=in_flight or bench.in_flight,
        backlog_orders=int(environ.get("BACKLOG_ORDERS", bench.backlog_orders)),
        grown_orders=int(environ.get("GROWN_ORDERS", bench.grown_orders)),
    )


async def _until_told_to_stop() -> int:
    """Run, and take SIGTERM, a job's time limit, like Ctrl-C: nothing of the stack goes on."""
    if (task := asyncio.current_task()) is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        return await main()
    except asyncio.CancelledError:
        return 128 + signal.SIGTERM


if __name__ == "__main__":
    sys.exit(asyncio.run(_until_told_to_stop()))
