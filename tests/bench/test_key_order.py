"""Tries whether an overtaken message is seen in the topics."""

from collections.abc import AsyncIterator
from uuid import UUID

import pytest

from bench.key_order import found_in
from tests.faults.platform import Lain

FIRST, ORDER = UUID(int=1), UUID(int=2)


async def lying(*records: tuple[str, str, int], key: UUID = ORDER) -> AsyncIterator[Lain]:
    """Records of one topic: the type, the message's id and the partition of each."""
    for offset, (name, message_id, partition) in enumerate(records):
        headers = {"ce_type": f"order.{name}.v1", "ce_id": message_id}
        yield Lain("order-commands", partition, offset, str(key).encode(), b"{}", headers)


CREATE, COMPLETE, CANCEL = ("CreateOrder", "a", 0), ("CompleteOrder", "b", 0), ("CancelOrder", "c", 0)


@pytest.mark.parametrize(
    ("records", "wrong"),
    [
        ((CREATE, COMPLETE, CANCEL), []),
        ((CREATE, COMPLETE, CREATE), []),  # sent again, under the same id
        ((COMPLETE, CREATE), [f"{ORDER}: CreateOrder overtaken by CompleteOrder in order-commands"]),
        ((CREATE, ("CompleteOrder", "b", 1)), [f"{ORDER} is on partitions [0, 1]"]),
    ],
)
async def test_an_overtaken_command_and_a_key_on_two_partitions_are_seen(
    records: tuple[tuple[str, str, int], ...], wrong: list[str]
) -> None:
    assert await found_in(lying(*records), FIRST) == wrong


async def test_older_orders_are_left_out() -> None:
    assert await found_in(lying(COMPLETE, CREATE, key=FIRST), ORDER) == []
