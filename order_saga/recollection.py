"""Sagas as this process left them, so that what they know need not be read again."""

from collections import OrderedDict
from collections.abc import Iterable
from datetime import datetime
from typing import Final, NamedTuple

from libs.contracts.values import SagaId
from libs.saga.instance import Instance
from order_saga.domain import Desk

MOST: Final = 5_000


class Left(NamedTuple):
    """A saga as a batch committed it, and when."""

    instance: Instance[object]
    at: datetime


class Recollection:
    """The sagas that this process committed last, as long as they are under way.

    A saga's revision and the moment of its commit name one state of it: whoever finds both in the
    row, which is locked, may go on from what is kept here. A commit whose outcome is not known is
    not taken in, and what another process has changed since does not fit.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._kept: OrderedDict[SagaId, Left] = OrderedDict()

    def of(self, ids: Iterable[SagaId]) -> dict[SagaId, Left]:
        """What is kept of these sagas."""
        return {saga_id: left for saga_id in ids if (left := self._kept.get(saga_id)) is not None}

    def note(self, desk: Desk) -> None:
        """Take in a committed batch."""
        for case in (*desk.opened(), *desk.altered()):
            if case.instance.finished:
                self._kept.pop(case.instance.id, None)
            else:
                self._kept[case.instance.id] = Left(case.instance, desk.now)
                self._kept.move_to_end(case.instance.id)
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)
