"""What must not be in a log: I15."""

import asyncio
from collections.abc import AsyncIterator, Collection
from pathlib import Path

from tests.faults.violation import Violation


async def secrets(folder: Path, canaries: Collection[str]) -> AsyncIterator[Violation]:
    """Every log file under a folder that holds one of the canaries."""
    for file in await asyncio.to_thread(lambda: sorted(folder.rglob("*.log"))):
        text = await asyncio.to_thread(file.read_text, errors="replace")
        for canary in canaries:
            if canary in text:
                yield Violation("I15", file.name, "holds a secret")
