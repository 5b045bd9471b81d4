"""The whole stack by the commands that users type: up, status, down, clean, on ports of its own."""

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from devstack.layout import CHECKOUT, SERVICE_PORTS, TOGETHER, Layout
from devstack.processes import ProcessId
from devstack.readiness import port_is_free
from devstack.server_account import socket_folder
from libs.messaging.topics import create_topics

pytestmark = pytest.mark.integration

SERVERS = {"postgres", "kafka"}


@dataclass(frozen=True, slots=True)
class Stack:
    """A stack's folder and environment, and the commands on it."""

    folder: Path
    offset: int

    @property
    def environ(self) -> dict[str, str]:
        """The caller's, without what would point the stack at other servers."""
        others = ("POSTGRES_URL", "KAFKA_BOOTSTRAP_SERVERS", "BROKERS", "LAYOUT")
        inherited = {name: value for name, value in os.environ.items() if name not in others}
        return {**inherited, "STACK_DIR": str(self.folder), "STACK_PORT_OFFSET": str(self.offset)}

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, and to the end of everybody who holds its output open."""
        return subprocess.run(
            [sys.executable, "-m", "devstack", *arguments],
            cwd=CHECKOUT,
            env={**self.environ, **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def up(self, **environment: str) -> str:
        """Bring the stack up and return what was printed."""
        done = self.run("up", **environment)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @property
    def file(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.folder / "stack.json").read_text())
        return content

    @property
    def processes(self) -> dict[str, ProcessId]:
        kept = json.loads((self.folder / "processes.json").read_text())
        return {name: ProcessId(**process) for name, process in kept.items()}


def _free_offset() -> int:
    """An offset at which every port of a stack is free."""
    while True:
        layout = Layout(Path(), offset := 2_000 + secrets.randbelow(20_000))  # below the ephemeral ports
        ports = [layout.service_port(service) for service in SERVICE_PORTS]
        ports += [layout.card_provider_port, layout.postgres_port, *_kafka_ports(layout)]
        if all(map(port_is_free, ports)):
            return offset


def _kafka_ports(layout: Layout) -> list[int]:
    return [port for node in layout.nodes(1) for port in (node.port, node.controller_port)]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    made = Stack(tmp_path_factory.mktemp("stack") / "it", _free_offset())
    try:
        made.up()
        yield made
    finally:
        made.run("clean")


async def _kill(process: ProcessId) -> None:
    handle = os.pidfd_open(process.pid)
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(handle, ended.set)
    signal.pidfd_send_signal(handle, signal.SIGKILL)
    await asyncio.wait_for(ended.wait(), 10)
    loop.remove_reader(handle)
    os.close(handle)


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
        yield client


async def test_everything_is_ready_and_stack_json_says_where(stack: Stack, http: httpx.AsyncClient) -> None:
    told = stack.file
    assert told.keys() >= {
        *("gateway_url", "service_urls", "kafka_bootstrap", "postgres", "postgres_admin", "pids", "operator")
    }
    assert told["service_urls"].keys() == told["postgres"].keys() == SERVICE_PORTS.keys()
    assert told["pids"].keys() == SERVERS | SERVICE_PORTS.keys()
    assert told["gateway_url"] == told["service_urls"]["gateway"]
    assert stack.folder.joinpath("stack.json").stat().st_mode & 0o077 == 0
    for url in told["service_urls"].values():
        assert (await http.get(f"{url}/readyz")).status_code == 200
    for service, pid in told["pids"].items():
        if service not in SERVERS:  # the working process, not a wrapper
            assert Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[2:4] == [
                b"libs.service",
                service.encode(),
            ]
    for dsn in (*told["postgres"].values(), told["postgres_admin"]):
        async with await psycopg.AsyncConnection.connect(dsn) as session:
            await session.execute("SELECT 1")
    assert await create_topics(told["kafka_bootstrap"], partitions=3) == []


async def test_the_shop_has_goods_and_an_operator(stack: Stack, http: httpx.AsyncClient) -> None:
    told = stack.file
    async with await psycopg.AsyncConnection.connect(told["postgres"]["product"]) as session:
        cursor = await session.execute(
            "SELECT count(*), count(DISTINCT category_id) FROM products WHERE active AND currency = 'EUR'"
        )
        products, categories = await cursor.fetchone() or (0, 0)
    assert products >= 30
    assert categories >= 2
    login = await http.post(f"{told['gateway_url']}/auth/login", json=told["operator"])
    assert login.status_code == 200, login.text


async def test_up_brings_back_only_what_is_dead(stack: Stack, http: httpx.AsyncClient) -> None:
    before = stack.processes
    await _kill(before["inventory"])
    status = stack.run("status")
    assert status.returncode == 1
    assert [line.split()[0] for line in status.stdout.splitlines() if " dead " in line] == ["inventory"]
    assert all(process.alive for name, process in before.items() if name != "inventory")

    printed = stack.up()

    after = stack.processes
    assert {name for name in after if after[name] != before[name]} == {"inventory"}
    assert "1 processes started" in printed
    assert stack.file["pids"]["inventory"] == after["inventory"].pid
    assert (await http.get(f"{stack.file['service_urls']['inventory']}/readyz")).status_code == 200
    assert stack.run("status").returncode == 0
    login = await http.post(f"{stack.file['gateway_url']}/auth/login", json=stack.file["operator"])
    assert login.status_code == 200


async def test_a_dead_postgres_comes_back_under_the_running_services(stack: Stack) -> None:
    before = stack.processes
    await _kill(before["postgres"])
    stack.up()
    after = stack.processes
    assert {name for name in after if after[name] != before[name]} == {"postgres"}
    assert stack.run("status").returncode == 0


async def test_data_and_passwords_survive_down_and_up_and_nothing_is_left_between(stack: Stack) -> None:
    before, told = stack.processes, stack.file
    (stack.folder / "demo.json").write_text("[]")
    async with await psycopg.AsyncConnection.connect(told["postgres"]["product"], autocommit=True) as session:
        await session.execute("UPDATE products SET price_minor = 123 WHERE name = 'Espresso cup'")

    down = stack.run("down")

    assert down.returncode == 0
    assert "killed" not in down.stdout
    assert not any(process.alive for process in before.values())
    assert not (stack.folder / "stack.json").exists()
    assert not socket_folder(stack.folder / "postgres").exists()
    assert (stack.folder / "demo.json").exists()
    layout = Layout(stack.folder, stack.offset)
    assert all(map(port_is_free, [layout.postgres_port, layout.card_provider_port, *_kafka_ports(layout)]))
    assert "Nothing runs" in stack.run("down").stdout

    stack.up()

    again = stack.file
    assert {name: again[name] for name in ("postgres", "postgres_admin", "operator")} == {
        name: told[name] for name in ("postgres", "postgres_admin", "operator")
    }
    async with await psycopg.AsyncConnection.connect(again["postgres"]["product"]) as session:
        cursor = await session.execute("SELECT price_minor FROM products WHERE name = 'Espresso cup'")
        assert await cursor.fetchone() == (123,)


def test_a_taken_port_is_named_before_anything_starts(tmp_path: Path) -> None:
    other = Stack(tmp_path / "other", _free_offset())
    port = Layout(other.folder, other.offset).service_port("payment")
    with socket.create_server(("127.0.0.1", port)):
        refused = other.run("up")
    assert refused.returncode == 1
    assert f"port {port} (payment)" in refused.stderr
    assert "STACK_PORT_OFFSET" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not (other.folder / "processes.json").exists()


def test_another_stacks_port_is_named_too(stack: Stack, tmp_path: Path) -> None:
    refused = Stack(tmp_path / "twin", stack.offset).run("up")
    assert refused.returncode == 1
    assert "8081" not in refused.stderr or stack.offset == 0
    assert str(stack.offset + 8081) in refused.stderr


def test_a_running_stack_is_not_moved_to_other_ports(stack: Stack) -> None:
    refused = stack.run("up", STACK_PORT_OFFSET=str(stack.offset + 1))
    assert refused.returncode == 1
    assert "other ports" in refused.stderr


def test_one_service_runs_in_the_foreground_of_the_stack(stack: Stack) -> None:
    background = stack.processes["product"]
    foreground = subprocess.Popen(
        [sys.executable, "-m", "devstack", "run", "product"],
        cwd=CHECKOUT,
        env=stack.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        with contextlib.closing(foreground.stdout) as printed:  # type: ignore[type-var]
            assert printed is not None
            assert any("service.started" in line for line in printed)
            assert not background.alive
            assert stack.processes["product"].pid == foreground.pid == stack.file["pids"]["product"]
            foreground.terminate()
            assert foreground.wait(timeout=15) == 0
    finally:
        foreground.kill()
        foreground.wait()
    stack.up()
    assert stack.processes["product"].pid != foreground.pid


def test_commands_run_in_a_services_environment(stack: Stack) -> None:
    for service in ("payment", "order_history"):
        done = stack.run("in", service, "libs.service", "dead-letters", service)
        assert done.returncode == 0, done.stderr


def test_a_service_that_is_not_there_is_named(stack: Stack) -> None:
    for service, words in (("", "Which service"), ("warehouse", "no service warehouse")):
        refused = stack.run("run", service)
        assert refused.returncode == 1
        assert words in refused.stderr


def test_migrating_again_changes_nothing(stack: Stack) -> None:
    for arguments in (["migrate"], ["migrate", "inventory"]):
        done = stack.run(*arguments)
        assert done.returncode == 0, done.stderr


def test_commands_that_need_a_stack_say_so(tmp_path: Path) -> None:
    for arguments in (
        ["run", "inventory"],
        ["migrate"],
        ["in", "inventory", "libs.service", "dead-letters", "inventory"],
    ):
        refused = Stack(tmp_path / "none", 0).run(*arguments)
        assert refused.returncode == 1
        assert "make up" in refused.stderr


def test_clean_removes_the_stack_and_nothing_else(stack: Stack) -> None:
    kept = stack.folder / "mine.txt"
    kept.write_text("not the stack's")
    processes = stack.processes
    assert stack.run("clean").returncode == 0
    assert not any(process.alive for process in processes.values())
    assert list(stack.folder.iterdir()) == [kept]


def test_a_checkout_that_was_deleted_leaves_nothing_in_the_way_of_the_next(stack: Stack) -> None:
    stack.up()
    assert stack.run("down").returncode == 0
    shutil.rmtree(stack.folder)
    stack.up()


async def test_services_share_a_process_where_they_are_told_to(stack: Stack, http: httpx.AsyncClient) -> None:
    stack.up()
    refused = stack.run("up", LAYOUT="together")
    assert refused.returncode == 1
    assert "make down" in refused.stderr
    assert stack.run("down").returncode == 0
    stack.up(LAYOUT="together")
    try:
        told = stack.file
        assert told["pids"].keys() == SERVERS | SERVICE_PORTS.keys()
        assert {told["pids"][service] for service in TOGETHER} == {stack.processes["shared"].pid}
        for url in told["service_urls"].values():
            assert (await http.get(f"{url}/readyz")).status_code == 200
        lines = map(json.loads, (stack.folder / "logs" / "shared.log").read_text().splitlines())
        started = {line["service"] for line in lines if line["event"] == "service.started"}
        assert started == set(TOGETHER)
        alone = stack.run("run", "inventory")
        assert alone.returncode == 1
        assert "shares a process" in alone.stderr
        await _kill(stack.processes["shared"])
        assert "dead" in stack.run("status").stdout
        stack.up()  # without a word, as it was
        assert {stack.file["pids"][service] for service in TOGETHER} == {stack.processes["shared"].pid}
    finally:
        down = stack.run("down")
    assert "killed" not in down.stdout
    stack.up()
    assert stack.processes.keys() >= SERVICE_PORTS.keys()
