"""A process whose start is over: what it keeps lies in large pages, and no collection looks at it again."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest

LARGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage")
KEPT_MIB = 32
SCRIPT = f"""
import gc
from pathlib import Path
from libs.service.memory import settle

def large():
    text = Path("/proc/self/smaps_rollup").read_text()
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("AnonHugePages"))

kept = [bytearray(256) for _ in range({KEPT_MIB} * 4096)]
before, collected = large(), len(gc.get_objects())
settle()
print(before, large(), len(gc.get_objects()) < collected // 10)
"""


def _can_collapse() -> bool:
    release = tuple(int(number) for number in platform.release().split("-")[0].split(".")[:2])
    return LARGE_PAGES.exists() and release >= (6, 1)


@pytest.mark.skipif(not _can_collapse(), reason="the kernel makes no large pages when asked (Linux 6.1)")
def test_what_start_up_made_lies_in_large_pages_and_is_left_out_of_collections() -> None:
    said = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True).stdout

    before, after, fewer = said.split()

    assert int(after) - int(before) >= KEPT_MIB // 2 * 1024
    assert fewer == "True"
