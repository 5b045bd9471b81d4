"""`make fuzz`: all hand-made bad records and COUNT=5000 mutated ones (SEED=1) against a stack of their own.

Ends with 1 when anything is wrong. STACK_DIR and STACK_PORT_OFFSET may be set.
"""

import asyncio
import os
import sys
import time

from bench.stack import ROOT, Stack
from tests.fuzz.campaign import Campaign, campaign

PARKING = {"PARKED_FIRST_DELAY_SECONDS": "0.2", "PARKED_ATTEMPTS": "3"}


async def _run(seed: int, count: int) -> Campaign:
    folder = ROOT / (os.environ.get("STACK_DIR") or ".stack-fuzz")
    stack = Stack(folder, port_offset=int(os.environ.get("STACK_PORT_OFFSET") or "7600"), environment=PARKING)
    try:
        return await campaign(await stack.up(), seed=seed, count=count)
    finally:
        if not os.environ.get("KEEP"):
            await stack.clean()


def main() -> int:
    """Return the exit code."""
    started = time.monotonic()
    result = asyncio.run(_run(int(os.environ.get("SEED") or "1"), int(os.environ.get("COUNT") or "5000")))
    sys.stdout.writelines(f"{finding}\n" for finding in result.findings)
    sys.stdout.write(
        f"{result.sent:,} records sent, {len(result.expected):,} dead letters owed, {result.orders} orders in between"
        f" ({result.completed} completed), {len(result.findings)} violations, {time.monotonic() - started:.0f} s\n"
    )
    return int(bool(result.findings))


if __name__ == "__main__":
    sys.exit(main())
