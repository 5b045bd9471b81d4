"""Which partition a key belongs to, as the Java client computes it."""

from functools import lru_cache

from aiokafka.partitioner import murmur2


@lru_cache(maxsize=16_384)
def key_hash(key: str) -> int:
    """The positive murmur2 hash of a record key; `key_hash(key) % partitions` is its partition.

    The Java client's `DefaultPartitioner` (KIP-480 left it unchanged for keyed records). Cached,
    because all the messages of an order have the same key.
    """
    return int(murmur2(key.encode("utf-8"))) & 0x7FFFFFFF
