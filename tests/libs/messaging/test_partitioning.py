"""The hash against the client library's own, which follows the Java client's."""

from uuid import UUID

from aiokafka.partitioner import murmur2 as reference
from hypothesis import given
from hypothesis import strategies as some

from libs.messaging.partitioning import key_hash, murmur2


@given(some.binary(max_size=64))
def test_the_hash_is_the_java_clients(data: bytes) -> None:
    assert murmur2(data) == reference(data) & 0xFFFFFFFF


@given(some.uuids())
def test_a_keys_hash_is_positive_and_stable(order_id: UUID) -> None:
    assert key_hash(str(order_id)) == reference(str(order_id).encode()) & 0x7FFFFFFF
