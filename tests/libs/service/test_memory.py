"""A process whose start is over: what it keeps lies in large pages, and no collection looks at its start again."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest

from libs.service.command import SERVICES

LARGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage")
KEPT_MIB = 32
SCRIPT = f"""
import asyncio
import gc
from pathlib import Path
from libs.service import memory

def large():
    text = Path("/proc/self/smaps_rollup").read_text()
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("AnonHugePages"))

kept = [bytearray(256) for _ in range({KEPT_MIB} * 4096)]
before, collected = large(), len(gc.get_objects())
memory.settle()
settled, fewer = large(), len(gc.get_objects()) < collected // 10
kept += [bytearray(256) for _ in range({KEPT_MIB} * 4096)]
grown = large()

async def later():
    settling = asyncio.create_task(memory.stay_settled())
    while large() <= grown:
        await asyncio.sleep(0.01)
    settling.cancel()

memory.AGAIN_SECONDS = 0.01
asyncio.run(asyncio.wait_for(later(), 30))
print(before, settled, fewer, grown, large())
"""


def _can_collapse() -> bool:
    release = tuple(int(number) for number in platform.release().split("-")[0].split(".")[:2])
    return LARGE_PAGES.exists() and release >= (6, 1)


def said(script: str) -> str:
    """What a new interpreter prints."""
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout


@pytest.mark.skipif(not _can_collapse(), reason="the kernel makes no large pages when asked (Linux 6.1)")
def test_what_is_kept_lies_in_large_pages_and_what_start_up_made_is_left_out_of_collections() -> None:
    before, settled, fewer, grown, later = said(SCRIPT).split()

    assert int(settled) - int(before) >= KEPT_MIB // 2 * 1024
    assert fewer == "True"
    assert int(later) - int(grown) >= KEPT_MIB // 2 * 1024


@pytest.mark.parametrize("service", SERVICES)
def test_what_only_the_schema_needs_is_in_no_services_memory(service: str) -> None:
    script = f"import sys, libs.service.command, {service}.app; print(sorted({{'sqlalchemy', 'alembic'}} & set(sys.modules)))"

    assert said(script).strip() == "[]"


def test_what_development_tools_install_is_in_no_services_memory() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "libs.service"],
        capture_output=True,
        text=True,
        check=False,
    )

    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert {"httpx", "structlog.dev"} <= loaded
    # A module that was looked for in vain is named, too: rich is, and nothing within it.
    assert loaded.isdisjoint({"rich.console", "pygments"})
