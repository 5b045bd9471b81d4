"""The kinds of faults, by what they go for."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from tests.faults.harness.kinds import deaths
from tests.faults.harness.rounds import Kind

KINDS: Final[Mapping[str, Kind]] = MappingProxyType(
    {kind.name: kind for family in (deaths.KINDS,) for kind in family}
)
