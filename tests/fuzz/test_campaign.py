"""Bad records on every topic of the running platform: one dead letter each, the partition flows on, books balance."""

import pytest

from bench.stack import StackInfo
from tests.fuzz.campaign import campaign

pytestmark = pytest.mark.journey


async def test_bad_records_are_buried_once_and_orders_go_on(info: StackInfo) -> None:
    result = await campaign(info, seed=1, count=300)
    assert result.findings == []
    assert result.sent > 360
    assert len(result.expected) > 300
