"""`make crash-points`: every named place once, on a stack of its own, under load; ends with 1 when anything is wrong.

P=relay.sent,cards.fed takes only those, PART=1 … PART=5 a fifth, which in turn make the whole. STACK_DIR,
STACK_PORT_OFFSET and ROUND (deaths in a round) may be set. The report is printed, and lies in the stack's
folder as crash-points.md.
"""

import asyncio
import os
import sys
import time
from pathlib import Path
from types import MappingProxyType
from typing import Final

import httpx

from bench.stack import ROOT, Stack
from tests.crashpoints.plan import Arming, chosen, rounds
from tests.crashpoints.report import table
from tests.crashpoints.rounds import Result, Round

SETTINGS: Final = MappingProxyType(
    {
        "INVENTORY_TIMEOUT_SECONDS": "20",
        "PAYMENT_TIMEOUT_SECONDS": "20",
        "PARKED_ATTEMPTS": "4",
        "PARKED_FIRST_DELAY_SECONDS": "0.5",
        "RESEND_AFTER_SECONDS": "4",
        "SETTLE_EVERY_SECONDS": "1",
    }
)
LATE_SECONDS: Final = 22.0
"""Later than the payment's time is: such a charge is captured for an order that is being cancelled."""


async def _run(armings: tuple[Arming, ...], folder: Path, offset: int, size: int) -> list[Result]:
    stack = Stack(folder, port_offset=offset, environment=SETTINGS)
    environment = {**SETTINGS, "STACK_DIR": str(folder), "STACK_PORT_OFFSET": str(offset)}
    results: list[Result] = []
    try:
        info = await stack.up()
        await _be_late(info.card_provider.url if info.card_provider else "")
        for number, some in enumerate(planned := rounds(armings, size), 1):
            result = await Round(info, folder, environment).run(some)
            results.append(result)
            _say(
                f"round {number} of {len(planned)}: {len(some)} deaths, {result.orders} orders,"
                f" {len(result.wrong)} violations",
                *(f"  {finding}" for finding in result.wrong),
            )
    finally:
        if not os.environ.get("KEEP"):
            await stack.clean()
    return results


def _say(*lines: str) -> None:
    sys.stdout.writelines(f"{line}\n" for line in lines)
    sys.stdout.flush()


async def _be_late(card_provider: str) -> None:
    async with httpx.AsyncClient(base_url=card_provider) as http:
        (await http.put("/admin/settings", json={"late_seconds": LATE_SECONDS})).raise_for_status()


def main() -> int:
    """Return the exit code."""
    environ = os.environ
    try:
        armings = chosen(environ.get("P", ""), environ.get("PART", ""))
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    folder = ROOT / (environ.get("STACK_DIR") or ".stack-crash-points")
    offset = int(environ.get("STACK_PORT_OFFSET") or "7300")
    started = time.monotonic()
    results = asyncio.run(_run(armings, folder, offset, int(environ.get("ROUND") or "16")))
    report = table(results, time.monotonic() - started)
    _say("", report)
    folder.mkdir(parents=True, exist_ok=True)  # the stack in it is gone
    (folder / "crash-points.md").write_text(report, "utf-8")
    return int(any(result.wrong for result in results))


if __name__ == "__main__":
    sys.exit(main())
