"""What start-up leaves in memory, put in order for the long run."""

import ctypes
import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Final

LARGE_PAGE: Final = 2 << 20
_MADV_COLLAPSE: Final = 25


def settle() -> None:
    """Leave what start-up made out of every later collection, collect the young less often, and use large pages.

    A batch makes some thousand objects that live as long as the batch.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    use_large_pages()


def use_large_pages() -> None:
    """Ask for large pages under what lies in memory now (madvise(2), MADV_COLLAPSE, Linux 6.1); no answer is none.

    A small batch touches most of an interpreter's modules, in pages whose addresses the processor has forgotten since
    the last one. On a virtual machine each of them is looked up twice (nested paging).
    """
    madvise = getattr(ctypes.CDLL(None), "madvise", None)
    if madvise is None:
        return
    for start in _large_pages():
        madvise(ctypes.c_void_p(start), ctypes.c_size_t(LARGE_PAGE), _MADV_COLLAPSE)


def _large_pages() -> Iterator[int]:
    """Where a large page fits into memory of our own that no file lies behind (proc_pid_maps(5))."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        addresses, permissions, _offset, _device, _inode, *name = line.split(maxsplit=5)
        if permissions == "rw-p" and name in ([], ["[heap]"]):
            start, end = (int(address, 16) for address in addresses.split("-"))
            yield from range(-(-start // LARGE_PAGE) * LARGE_PAGE, end - LARGE_PAGE + 1, LARGE_PAGE)
