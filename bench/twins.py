"""Second processes of a service, beside the one that devstack started: same settings, another HTTP port."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.http import Client, ConnectionLostError
from bench.stack import ROOT, Stack, gone
from devstack.readiness import free_port

START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 15.0
OK: Final = 200


@dataclass(frozen=True, slots=True)
class Twin:
    """A process that is not in stack.json, and where its metrics are."""

    pid: int
    url: str


@asynccontextmanager
async def twins(stack: Stack, services: tuple[str, ...]) -> AsyncIterator[dict[str, Twin]]:
    """One more process of each service, ready, by name. They are stopped at the end."""
    async with AsyncExitStack() as started:
        yield {
            f"{service}_twin": await started.enter_async_context(_twin(stack, service))
            for service in services
        }


@asynccontextmanager
async def _twin(stack: Stack, service: str) -> AsyncIterator[Twin]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    ports = {"HTTP_PORT": str(port), f"{service.upper()}_HTTP_PORT": str(port)}
    environment = _environment_of(stack.info.pids[service]) | ports
    log = await asyncio.to_thread(_log, stack.folder / "logs" / f"{service}-twin.log")
    try:
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "libs.service",
            service,
            cwd=ROOT,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    finally:
        os.close(log)
    try:
        async with asyncio.timeout(START_SECONDS):
            await _ready(url)
        yield Twin(child.pid, url)
    finally:
        if child.returncode is None:
            child.send_signal(signal.SIGTERM)
            await gone(child.pid, within=STOP_SECONDS)
            await child.wait()


def _environment_of(pid: int) -> dict[str, str]:
    entries = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    return dict(entry.split("=", 1) for entry in entries if "=" in entry)


def _log(file: Path) -> int:
    return os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)


async def _ready(url: str) -> None:
    client = Client(url)
    try:
        while not await _says_so(client):  # noqa: ASYNC110 - only asking tells
            await asyncio.sleep(0.1)
    finally:
        client.close()


async def _says_so(client: Client) -> bool:
    try:
        return (await client.request("GET", "/readyz")).status == OK
    except (OSError, ConnectionLostError):
        return False
