"""Which partition a key belongs to, as the Java client computes it."""

import struct
from functools import lru_cache
from typing import Final

_SEED: Final = 0x9747B28C
_M: Final = 0x5BD1E995
_32_BITS: Final = 0xFFFFFFFF


@lru_cache(maxsize=2_048)
def key_hash(key: str) -> int:
    """The positive murmur2 hash of a record key; `key_hash(key) % partitions` is its partition.

    What the Java client does with keyed records (`Utils.toPositive(Utils.murmur2(key))`). Cached,
    because all the messages of an order under way have the same key.
    """
    return murmur2(key.encode("utf-8")) & 0x7FFFFFFF


def murmur2(data: bytes) -> int:
    """Austin Appleby's MurmurHash2 with the Java client's seed, as an unsigned number of 32 bits."""
    whole = len(data) // 4
    h = _SEED ^ len(data)
    for word in struct.unpack_from(f"<{whole}I", data):
        k = word * _M & _32_BITS
        h = (h * _M & _32_BITS) ^ ((k ^ k >> 24) * _M & _32_BITS)
    if tail := data[whole * 4 :]:
        h = (h ^ int.from_bytes(tail, "little")) * _M & _32_BITS
    h = (h ^ h >> 13) * _M & _32_BITS
    return h ^ h >> 15
