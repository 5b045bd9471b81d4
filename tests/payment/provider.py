"""The real simulated card provider as a process of a test run."""

import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from devstack import processes
from devstack.processes import ProcessId
from devstack.readiness import free_port
from tests.support.http import is_ready
from tests.support.services import ROOT
from tests.support.waiting import eventually


class Provider:
    """`python -m devstack.card_provider` on a port and books of its own."""

    def __init__(self, folder: Path) -> None:
        self._port = free_port()
        self._folder = folder
        self._process: ProcessId | None = None
        self.url = f"http://127.0.0.1:{self._port}"

    async def start(self) -> None:
        """Start it, on the books that it left, and return once it answers."""
        environment = {
            **os.environ,
            "HTTP_PORT": str(self._port),
            "CARD_PROVIDER_FILE": str(self._folder / "charges.sqlite"),
        }
        self._process = processes.launch(
            [sys.executable, "-m", "devstack.card_provider"],
            log=self._folder / "provider.log",
            cwd=ROOT,
            env=environment,
        )
        await eventually(lambda: is_ready(self.url), within=20, every=0.05, what="the card provider")

    async def stop(self) -> None:
        """Kill it; its books stay."""
        process, self._process = self._process, None
        if process is not None:
            await processes.stop(process, by=signal.SIGKILL)

    async def settle(self, *, refuse_refunds: bool = False, late_seconds: float = 20.0) -> None:
        """Set its mood."""
        mood = {"refuse_refunds": refuse_refunds, "late_seconds": late_seconds}
        async with httpx.AsyncClient(base_url=self.url) as http:
            (await http.put("/admin/settings", json=mood)).raise_for_status()

    async def charges(self) -> Mapping[str, Mapping[str, Any]]:
        """Its books: what it knows under each order."""
        async with httpx.AsyncClient(base_url=self.url) as http:
            answer = await http.get("/admin/totals")
            found: Mapping[str, Mapping[str, Any]] = answer.json()["charges"]
            return found
