"""The kinds of faults, by what they go for."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from tests.faults.harness.kinds import (
    databases,
    deaths,
    messages,
    network,
    servers,
    surroundings,
    zombies,
)
from tests.faults.harness.rounds import Kind

FAMILIES: Final = (deaths, network, servers, zombies, messages, databases, surroundings)
KINDS: Final[Mapping[str, Kind]] = MappingProxyType(
    {kind.name: kind for family in FAMILIES for kind in family.KINDS}
)
