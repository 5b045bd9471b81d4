"""What a process keeps in memory, put in order for the long run."""

import asyncio
import ctypes
import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Final

LARGE_PAGE: Final = 2 << 20
LARGE_BLOCK: Final = 128 << 10
AGAIN_SECONDS: Final = 10.0
_MADV_COLLAPSE: Final = 25
_M_MMAP_THRESHOLD: Final = -3


def settle() -> None:
    """Leave what start-up made out of every later collection, collect the young less often, and use large pages.

    A batch makes some thousand objects that live as long as the batch.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    _give_back_large_blocks()
    use_large_pages()


def _give_back_large_blocks() -> None:
    """Let glibc return large blocks, and what is free behind the last used one, to the system (mallopt(3)).

    By itself it learns from the blocks that it sees freed, and keeps as much for the next: a password's hash, which
    takes 19 MiB, in each thread that makes one.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries have none, and keep nothing
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, LARGE_BLOCK)


async def stay_settled() -> None:
    """Use large pages for what was added since, now and then, until cancelled."""
    while True:
        await asyncio.sleep(AGAIN_SECONDS)
        await asyncio.to_thread(use_large_pages)


def use_large_pages() -> None:
    """Ask for large pages under what lies in memory now (madvise(2), MADV_COLLAPSE, Linux 6.1); no answer is none.

    A small batch touches most of an interpreter's modules, in pages whose addresses the processor has forgotten since
    the last one. On a virtual machine each of them is looked up twice (nested paging).
    """
    madvise = getattr(ctypes.CDLL(None), "madvise", None)
    maps = Path("/proc/self/maps")
    if madvise is None or not maps.exists():
        return
    for start, length in _large_pages(maps.read_text()):
        madvise(ctypes.c_void_p(start), ctypes.c_size_t(length), _MADV_COLLAPSE)


def _large_pages(maps: str) -> Iterator[tuple[int, int]]:
    """Where large pages fit into memory of our own that no file lies behind (proc_pid_maps(5)): address and length."""
    for line in maps.splitlines():
        addresses, permissions, _offset, _device, _inode, *name = line.split(maxsplit=5)
        if permissions == "rw-p" and name in ([], ["[heap]"]):
            start, end = (int(address, 16) for address in addresses.split("-"))
            first, behind = -(-start // LARGE_PAGE) * LARGE_PAGE, end // LARGE_PAGE * LARGE_PAGE
            if first < behind:
                yield first, behind - first
