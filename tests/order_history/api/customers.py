"""Customers who ask for their orders."""

from collections.abc import Mapping
from datetime import timedelta

from libs.contracts.values import UserId
from tests.order_history.rows import folded
from tests.order_history.stories import Story, told
from tests.support.api import bearer
from tests.support.databases import Database


def mine(user_id: UserId) -> Mapping[str, str]:
    """The headers of a signed-in customer."""
    return bearer("customer", user_id=user_id)


async def three_orders(history: Database, user_id: UserId) -> list[Story]:
    """A completed order of 10.00, a cancelled one of 20.00, a pending one of 30.00; an hour apart."""
    stories = [Story(user_id=user_id, lines=1, cents=cents) for cents in (1_000, 2_000, 3_000)]
    tellings = [
        stories[0].completes(),
        stories[1].runs_short(),
        told(stories[2].created(), stories[2].validated()),
    ]
    for hour, messages in enumerate(tellings):
        await folded(history, [m._replace(time=m.time + timedelta(hours=hour)) for m in messages])
    return stories
