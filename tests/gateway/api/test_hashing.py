"""What hashing passwords leaves behind."""

import subprocess
import sys

from devstack.layout import CHECKOUT
from gateway.api.hashing import MEMORY_KIB

KEPT_KIB = """
import asyncio, pathlib, re
from gateway.api.hashing import PasswordHashing
from libs.service import memory

def private():
    return int(re.search(r"Pss_Anon:\\s+(\\d+)", pathlib.Path("/proc/self/smaps_rollup").read_text())[1])

async def hash_some():
    memory.settle()
    hashing = PasswordHashing(threads=2, queue=10)
    before = private()
    await asyncio.gather(*(hashing.hash("a long enough phrase") for _ in range(6)))
    print(private() - before)

asyncio.run(hash_some())
"""


def test_the_memory_of_a_hash_is_given_back() -> None:
    done = subprocess.run(
        [sys.executable, "-c", KEPT_KIB], cwd=CHECKOUT, capture_output=True, text=True, timeout=60, check=True
    )
    assert int(done.stdout) < MEMORY_KIB // 4
